"""Dead letters, replays, rebuilds, traces."""

import uuid
from collections.abc import Sequence
from typing import Any, Literal

from ..models_operations import DeadLetter, Rebuild, Replay, Trace
from ..streams import Many, Page, pages
from ..wire import Call, get, path, send

State = Literal["open", "replayed", "discarded"]


def dead_letters(
    *, group: str | None = None, reason: str | None = None, state: State | None = None, limit: int | None = None
) -> Many[DeadLetter]:
    """Records that a group could not handle."""

    def page(found: Any) -> Page[DeadLetter]:
        return Page([DeadLetter.of(one) for one in found["deadletters"]], found.get("next"))

    return pages(get("/v1/deadletters", page, group=group, reason=reason, state=state), limit=limit)


def dead_letter(letter: str) -> Call[DeadLetter]:
    """One dead letter: its bytes and headers as they were, why it is one, where it was."""
    return get(path("deadletters", letter), DeadLetter.of)


def replay_one(letter: str) -> Call[DeadLetter]:
    """Hand one to the group that failed, again, once. `Refused` if that was decided already."""
    return send("POST", path("deadletters", letter, "replay"), DeadLetter.of)


def discard(letter: str, reason: str) -> Call[DeadLetter]:
    """Let one be, with a reason."""
    return send("POST", path("deadletters", letter, "discard"), DeadLetter.of, {"reason": reason})


def replay(
    *,
    ids: Sequence[str] | None = None,
    group: str | None = None,
    reason: str | None = None,
    rate: float | None = None,
    key: str | None = None,
) -> Call[Replay]:
    """Hand many to the groups that failed, at most `rate` a second: those named, or those that a filter finds."""
    wanted = {name: value for name, value in (("group", group), ("reason", reason)) if value is not None}
    body: dict[str, Any] = {"filter": wanted} if ids is None else {"ids": list(ids)}
    if rate is not None:
        body["rate"] = rate
    headers = {"Idempotency-Key": key or str(uuid.uuid4())}
    return send("POST", "/v1/replays", Replay.of, body, headers=headers, repeatable=True)


def replay_state(replay: str) -> Call[Replay]:
    """How far a replay is."""
    return get(path("replays", replay), Replay.of)


def rebuild(*, mode: Literal["switch", "compare"] = "switch") -> Call[Rebuild]:
    """Build the projection anew from the log, beside the live one, and switch to it; or only say how they differ.

    `Refused` where the log does not reach back: it names the first offset that is missing.
    """
    return send("POST", "/v1/rebuilds", Rebuild.of, {"mode": mode})


def rebuild_state(rebuild: str) -> Call[Rebuild]:
    """How far a rebuild is."""
    return get(path("rebuilds", rebuild), Rebuild.of)


def trace(project: str, task: str) -> Call[Trace]:
    """The hops of a task with their times."""
    return get(path("projects", project, "tasks", task, "trace"), Trace.of)
