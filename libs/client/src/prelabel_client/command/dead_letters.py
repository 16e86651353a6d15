"""`prelabel deadletters`, `prelabel replay`, `prelabel audit`: what could not be handled, and what people decided."""

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import Refused
from .exits import DATA, Ended
from .options import Json, Limit, Profile
from .output import Out, clean, moment, progress
from .session import session
from .webhook import moment_of

if TYPE_CHECKING:
    from ..client import Client
    from ..models_operations import DeadLetter, Replay

Group = Annotated[str | None, typer.Option("--group", help="Only of this consumer group.")]
Reason = Annotated[str | None, typer.Option("--reason", help="Only for this reason.")]
SETTLE_SECONDS = 30.0
"""How long a watched replay waits for the group to say that it handled the records."""
_LOOK_EVERY = 0.3


def deadletters(
    letter: Annotated[str | None, typer.Argument(help="One dead letter, in full.", metavar="ID")] = None,
    group: Group = None,
    reason: Reason = None,
    state: Annotated[str | None, typer.Option("--state", help="open, replayed or discarded.")] = None,
    discard: Annotated[
        str | None, typer.Option("--discard", help="Decide that the one named is not needed, and why.", metavar="WHY")
    ] = None,
    limit: Limit = 20,
    profile: Profile = None,
    json: Json = False,
) -> None:
    """List what could not be handled; show or discard one.

    \b
    Example:
      prelabel deadletters --state open
      prelabel deadletters ID
      prelabel deadletters ID --discard "sent by a test"
    """
    out = Out(json=json)
    if discard is not None and letter is None:
        raise Refused("--discard: name the dead letter")
    with session(profile) as client:
        if letter is not None:
            _one(out, client.dead_letter(letter) if discard is None else client.discard(letter, discard))
            return
        found = client.dead_letters(group=group, reason=reason, state=_state(state), limit=limit)
        if json:
            for one in found:
                out.value(one)
            return
        rows = ((d.id, moment(d.at_ms), d.group, d.reason, d.task, d.state, d.result) for d in found)
        out.rows(("dead letter", "at", "group", "reason", "task", "state", "result"), rows, nothing="none")


def replay(
    letters: Annotated[list[str] | None, typer.Argument(help="Dead letters, by their ids.", metavar="[ID]...")] = None,
    group: Group = None,
    reason: Reason = None,
    all_: Annotated[bool, typer.Option("--all", help="All open ones.")] = False,
    rate: Annotated[float | None, typer.Option("--rate", min=0.1, help="At most so many a second.")] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Wait for what becomes of them.")] = False,
    profile: Profile = None,
    json: Json = False,
) -> None:
    """Hand dead letters to the groups that failed, once more.

    Those that are named, or all open ones of a group, of a reason, or altogether.

    \b
    Example:
      prelabel replay ID --watch
      prelabel replay --group inference.spacy --reason unavailable --rate 50
    """
    out = Out(json=json)
    if bool(letters) + bool(group or reason) + all_ != 1:
        raise Refused("name dead letters, or --group and --reason, or --all")
    with session(profile) as client:
        begun = client.replay(ids=letters or None, group=group, reason=reason, rate=rate)
        found = _watched(client, begun, quiet=json) if watch else begun
    if json:
        out.value(found)
    else:
        said: dict[str, Any] = {"replay": found.replay, "state": found.state, "replayed": found.replayed}
        if watch:
            again, waiting = found.dead_lettered_again, found.waiting
            said |= {"succeeded": found.succeeded, "failed again": again, "not handled yet": waiting}
        out.fields(said)
    if found.state == "failed" or found.failed or found.dead_lettered_again:
        raise Ended(DATA)


def audit(
    project: Annotated[str | None, typer.Option("--project", "-p", help="Of this project.")] = None,
    actor: Annotated[str | None, typer.Option("--actor", help="By this key (its id).")] = None,
    action: Annotated[str | None, typer.Option("--action", help="Only this: project.put, key.make, …")] = None,
    since: Annotated[
        str | None, typer.Option("--since", help="2026-01-31, or 24h: so long ago.", metavar="TIME")
    ] = None,
    limit: Limit = 20,
    profile: Profile = None,
    json: Json = False,
) -> None:
    """Say who changed what, newest first.

    \b
    Example:
      prelabel audit --since 24h
    """
    out = Out(json=json)
    with session(profile) as client:
        since_ms = moment_of(since) if since is not None else None
        found = client.audit(project=project, actor=actor, action=action, since=since_ms, limit=limit)
        if json:
            for one in found:
                out.value(one)
            return
        rows = ((moment(a.at_ms), a.actor, a.action, a.project, a.subject) for a in found)
        out.rows(("at", "who", "action", "project", "subject"), rows, nothing="none")


def _watched(client: "Client", found: "Replay", *, quiet: bool) -> "Replay":
    with progress(quiet=quiet) as bar:
        shown = bar.add_task("replaying", total=found.total, said="")
        until: float | None = None
        while not found.over or (found.waiting and (until is None or time.monotonic() < until)):
            time.sleep(_LOOK_EVERY)
            found = client.replay_state(found.replay)
            bar.update(shown, completed=found.done, total=found.total, said=f"{found.done:,}")
            if found.over and until is None:
                until = time.monotonic() + SETTLE_SECONDS
        return found


def _state(state: str | None) -> Any:
    if state not in (None, "open", "replayed", "discarded"):
        raise Refused(f"--state {state}: use open, replayed or discarded")
    return state


def _one(out: Out, found: "DeadLetter") -> None:
    if out.json:
        out.value(found)
        return
    origin = found.original
    out.fields(
        {
            "dead letter": found.id,
            "group": found.group,
            "reason": found.reason,
            "detail": found.detail,
            "at": moment(found.at_ms),
            "attempts": found.attempts,
            "was": f"{origin.get('topic')}/{origin.get('partition')} at {origin.get('offset')}",
            "type": found.type,
            "project": found.project,
            "task": found.task,
            "state": " ".join(word for word in (found.state, found.result) if word),
        }
    )
    record = found.record
    if record is None:
        return
    for header in record.get("headers", ()):
        out.line(clean(f"{header.get('name')}: {header.get('text') if header.get('text') is not None else header}"))
    out.line()
    text = record.get("text")
    out.line(clean(text) if isinstance(text, str) else f"base64: {record.get('value')}")
