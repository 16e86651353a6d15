"""`prelabel trace TASK`: where a task has been, and what it waits for."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import NoAccess, NotFound
from .options import Json, Profile, Project
from .output import Out, clean, moment
from .session import meant, session

if TYPE_CHECKING:
    from ..client import Client
    from ..models_operations import DeadLetter, Hop, Trace, Waiting

Step = tuple[int, str, str]
"""When, in ms since 1970; what; about it."""
SEARCHED = 500
"""Dead letters among which those of the task are looked for."""


def trace(
    task: Annotated[str, typer.Argument(help="The task, by its id or uid.")],
    project: Project = None,
    profile: Profile = None,
    json: Json = False,
) -> None:
    """Show each step of a task, with times, and what it waits for.

    \b
    Example:
      prelabel trace mail-17 --project mails
    """
    out = Out(json=json)
    with session(profile) as client:
        found = client.trace(meant(client, project), task)
        letters = [one for one in _allowed(client.dead_letters(limit=SEARCHED)) if one.task == found.task]
        delivered = list(_deliveries(client, found.task))
    if json:
        more = {"dead_letters": [one.json_value() for one in letters], "deliveries": delivered}
        out.value({**found.json_value(), **more})
        return
    out.rows(("at", "after", "hop", "about"), _timed(steps(found, letters, delivered)))
    for one in found.waiting:
        out.line(clean(_waits(found, one)))
    if found.hops and found.hops[0].hop != "submitted":
        out.note("when it was handed in is not known: the log no longer holds it, or may not be read")


def steps(found: "Trace", letters: "Sequence[DeadLetter]", delivered: Sequence[dict[str, Any]]) -> list[Step]:
    """All that happened, by time alone: what was in the same millisecond stays in the order in which it is told."""
    hops = [(hop.at_ms, hop.hop, _about(hop)) for hop in found.hops]
    hops += [(one.at_ms or 0, "dead letter", f"{one.group}: {one.reason} ({one.state}), {one.id}") for one in letters]
    hops += [(int(one["at_ms"] or 0), f"webhook {one['state']}", f"{one['type']} to {one['url']}") for one in delivered]
    return sorted(hops, key=lambda hop: hop[0])


def _allowed(items: Iterator[Any]) -> Iterator[Any]:
    """What the key may see; nothing where it may not, or where the server has none."""
    try:
        yield from items
    except (NoAccess, NotFound):
        return


def _deliveries(client: "Client", task: str) -> Iterator[dict[str, Any]]:
    for subscription in _allowed(client.subscriptions(limit=50)):
        for one in _allowed(client.deliveries(subscription.id, task=task, limit=20)):
            yield {**one.json_value(), "url": subscription.url}


def _timed(hops: list[Step]) -> Iterator[tuple[str, str, str, str]]:
    before: int | None = None
    for at_ms, hop, about in hops:
        yield _precisely(at_ms), "" if before is None else took(at_ms - before), hop, about
        before = at_ms


def _about(hop: "Hop") -> str:
    value = hop.json_value()
    words = [value.get(name) for name in ("model", "version", "annotator", "door", "lane", "reason", "detail")]
    return " ".join(str(word) for word in words if word)


def _waits(found: "Trace", one: "Waiting") -> str:
    since = took(found.now_ms - one.since_ms)
    if one.group is None:
        return f"waits for the model {one.model} ({one.provider}), since {since}"
    if one.behind is None:
        before = "how much stands before it is not known"
    elif one.behind <= 1:
        before = "nothing else stands before it: is the provider running, and the model loaded?"
    else:
        before = f"{one.behind:,} records stand before it or are being predicted"
    return f"waits for the model {one.model} ({one.provider}), since {since}: group {one.group}, {before}"


def took(ms: int) -> str:
    """A span of time, for people."""
    if ms < 1000:
        return f"{ms} ms"
    if ms < 120_000:
        return f"{ms / 1000:.1f} s"
    return f"{ms / 60_000:.0f} min"


def _precisely(ms: int) -> str:
    return f"{moment(ms)[:-1]}.{ms % 1000:03d}Z"
