"""Open tasks for annotators: taken, kept longer, given back; and whether to go on."""

from typing import Any

from ..models_leases import Leased, Renewed, Stopping
from ..wire import Call, get, path, send


def lease(
    project: str,
    n: int = 1,
    *,
    strategy: str | None = None,
    ttl: float | None = None,
    annotator: str | None = None,
    model: str | None = None,
) -> Call[Leased]:
    """Take `n` open tasks (1 to 100) for `ttl` seconds; nobody else is given them. Answered ones need no giving back.

    annotator: who will answer; the key's own name unless said, and no other with a labeler's key (`NoAccess`). Who
    holds as many tasks as they may gets no more (`Refused`, code `too_many_leases`).

    strategy: mixed, uncertainty, disagreement, diversity or random. Not repeated by itself where the answer is lost:
    what was leased then is free after its time.
    """
    said = {"strategy": strategy, "ttl": ttl, "annotator": annotator, "model": model}
    body: dict[str, Any] = {"n": n, **{name: value for name, value in said.items() if value is not None}}
    return send("POST", path("projects", project, "leases"), Leased.of, body, patience=60.0)


def renew_lease(project: str, lease: str, ttl: float = 600.0) -> Call[Renewed]:
    """Keep a task for `ttl` seconds from now. `Refused` if it was given back, or to somebody else."""
    where = path("projects", project, "leases", lease, "renewal")
    return send("POST", where, Renewed.of, {"ttl": ttl}, repeatable=True)


def release_lease(project: str, lease: str) -> Call[None]:
    """Give a task back unanswered."""
    return send("DELETE", path("projects", project, "leases", lease), lambda _: None)


def stopping(project: str, *, model: str | None = None) -> Call[Stopping]:
    """Whether it is worth going on annotating, and why. Nothing is stopped by it."""
    return get(path("projects", project, "stopping"), Stopping.of, model=model)
