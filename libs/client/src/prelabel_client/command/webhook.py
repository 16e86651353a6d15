"""`prelabel webhook …`: who is told what happens."""

import json as _json
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import Refused
from .exits import DATA, Ended
from .key import seconds_of
from .listen import listen
from .options import Json, Limit, Profile
from .output import Out, clean, moment, progress
from .session import session

if TYPE_CHECKING:
    from ..models_webhooks import Attempt, DeliveryInFull

webhook = typer.Typer(help="Webhooks: who is told what happens.", no_args_is_help=True)
webhook.command()(listen)
Id = Annotated[str, typer.Argument(help="The subscription's id, from the list.", metavar="ID")]
DeliveryId = Annotated[str, typer.Argument(help="The delivery's id, from `deliveries`.", metavar="DELIVERY")]
_LOOK_EVERY = 0.3


@webhook.command()
def add(
    url: Annotated[str, typer.Argument(help="Where events are posted to.")],
    type_: Annotated[
        list[str] | None,
        typer.Option("--type", "-t", help="An event type, or noun.*; may be repeated; else all.", metavar="TYPE"),
    ] = None,
    project: Annotated[
        list[str] | None, typer.Option("--project", "-p", help="A project; may be repeated; else all.")
    ] = None,
    header: Annotated[
        list[str] | None,
        typer.Option(
            "--header",
            help="A header to send along; may be repeated. NAME: @FILE reads the value from a file, unseen.",
            metavar="NAME: VALUE",
        ),
    ] = None,
    payload: Annotated[str, typer.Option("--payload", help="full, or thin (what it is about only).")] = "full",
    rate: Annotated[float | None, typer.Option("--rate", min=0.001, help="At most so many a second.")] = None,
    description: Annotated[str, typer.Option("--description", help="For people.")] = "",
    signing: Annotated[
        str, typer.Option("--signing", help="hmac, or ed25519: verified by a public key, so nothing is kept secret.")
    ] = "hmac",
    ordered: Annotated[
        bool, typer.Option("--ordered", help="The events of a task in order; what follows one that fails waits.")
    ] = False,
    profile: Profile = None,
    json: Json = False,
) -> None:
    """Subscribe an endpoint to events from now on.

    Its secret is shown this once, alone on standard output.

    \b
    Example:
      prelabel webhook add https://example.org/hook --type 'prediction.*' --project mails > secret
    """
    out = Out(json=json)
    if payload not in ("full", "thin"):
        raise Refused(f"--payload {payload}: use full or thin")
    if signing not in ("hmac", "ed25519"):
        raise Refused(f"--signing {signing}: use hmac or ed25519")
    with session(profile) as client:
        made = client.create_subscription(
            url,
            types=type_ or (),
            projects=project or (),
            headers=headers_of(header or []),
            payload=payload,  # type: ignore[arg-type]
            rate=rate,
            description=description,
            signing=signing,  # type: ignore[arg-type]
            ordered=ordered,
        )
    if json:
        out.value(made)
        return
    out.line(made.verifier)
    out.note(f"{made.id} is subscribed; this is not shown again. Try it: prelabel webhook test {made.id}")


@webhook.command("list")
def list_(limit: Limit = 100, profile: Profile = None, json: Json = False) -> None:
    """List subscriptions.

    \b
    Example:
      prelabel webhook list
    """
    out = Out(json=json)
    with session(profile) as client:
        found = client.subscriptions(limit=limit)
        if json:
            for one in found:
                out.value(one)
            return
        rows = ((s.id, s.url, s.types or "all", s.projects or "all", s.state) for s in found)
        out.rows(
            ("subscription", "url", "types", "projects", "state"), rows, nothing="none: `prelabel webhook add URL`"
        )


@webhook.command()
def show(subscription: Id, profile: Profile = None, json: Json = False) -> None:
    """Show a subscription, without its secrets.

    \b
    Example:
      prelabel webhook show ID
    """
    out = Out(json=json)
    with session(profile) as client:
        found = client.subscription(subscription)
    if json:
        out.value(found)
        return
    expiring = [moment(one.get("expires_ms")) or "active" for one in found.secrets]
    out.fields(
        {
            "subscription": found.id,
            "url": found.url,
            "state": f"{found.state} {found.reason or ''}".rstrip(),
            "types": found.types or "all",
            "projects": found.projects or "all",
            "payload": found.payload,
            "signing": found.signing,
            "ordered": found.ordered,
            "rate": found.rate,
            "headers": list(found.headers),
            "secrets": expiring,
            "description": found.description,
        }
    )


@webhook.command()
def remove(subscription: Id, profile: Profile = None, json: Json = False) -> None:
    """Remove a subscription, with its secrets and its delivery log.

    \b
    Example:
      prelabel webhook remove ID
    """
    out = Out(json=json)
    with session(profile) as client:
        client.delete_subscription(subscription)
    if json:
        out.value({"removed": subscription})
    else:
        out.line(f"{subscription} is removed")


@webhook.command()
def rotate(
    subscription: Id,
    overlap: Annotated[
        str | None, typer.Option("--overlap", help="How long the old secret signs too: 24h, 0s.", metavar="TIME")
    ] = None,
    profile: Profile = None,
    json: Json = False,
) -> None:
    """Make a new secret; the old one signs too for a while.

    \b
    Example:
      prelabel webhook rotate ID --overlap 48h > secret
    """
    out = Out(json=json)
    seconds = seconds_of(overlap, "--overlap") if overlap is not None else None
    with session(profile) as client:
        secret = client.rotate_secret(subscription, overlap_seconds=seconds)
    if json:
        out.value({"secret": secret})
    else:
        out.line(secret)


@webhook.command("test")
def try_(subscription: Id, profile: Profile = None, json: Json = False) -> None:
    """Send a test event now; say what the endpoint answered.

    \b
    Example:
      prelabel webhook test ID
    """
    out = Out(json=json)
    with session(profile) as client:
        _tell(out, client.test_subscription(subscription))


@webhook.command()
def resume(subscription: Id, profile: Profile = None, json: Json = False) -> None:
    """Let a disabled subscription go on, from where it stopped.

    \b
    Example:
      prelabel webhook resume ID
    """
    out = Out(json=json)
    with session(profile) as client:
        found = client.resume_subscription(subscription)
    if json:
        out.value(found)
    else:
        out.line(f"{found.id} is {found.state}")


@webhook.command()
def deliveries(
    subscription: Id,
    delivery: Annotated[str | None, typer.Argument(help="One delivery, in full.", metavar="DELIVERY")] = None,
    state: Annotated[str | None, typer.Option("--state", help="pending, delivered or failed.")] = None,
    type_: Annotated[str | None, typer.Option("--type", "-t", help="Of this event type.")] = None,
    task: Annotated[str | None, typer.Option("--task", help="About this task.")] = None,
    since: Annotated[
        str | None, typer.Option("--since", help="2026-01-31, or 24h: so long ago.", metavar="TIME")
    ] = None,
    limit: Limit = 20,
    profile: Profile = None,
    json: Json = False,
) -> None:
    """List deliveries, newest first; show one in full.

    \b
    Example:
      prelabel webhook deliveries ID --state failed --since 24h
    """
    out = Out(json=json)
    with session(profile) as client:
        if delivery is not None:
            _in_full(out, client.delivery(subscription, delivery))
            return
        since_ms = moment_of(since) if since is not None else None
        found = client.deliveries(subscription, state=state, type=type_, task=task, since=since_ms, limit=limit)
        if json:
            for one in found:
                out.value(one)
            return
        rows = ((d.delivery, d.type, d.task, d.state, d.attempts, _latest(d.latest), moment(d.next_ms)) for d in found)
        columns = ("delivery", "type", "task", "state", "attempts", "latest", "next")
        out.rows(columns, rows, nothing="none")


@webhook.command()
def resend(subscription: Id, delivery: DeliveryId, profile: Profile = None, json: Json = False) -> None:
    """Send one delivery again now, under the same id.

    \b
    Example:
      prelabel webhook resend ID DELIVERY
    """
    out = Out(json=json)
    with session(profile) as client:
        _tell(out, client.resend(subscription, delivery))


@webhook.command()
def recover(
    subscription: Id,
    since: Annotated[
        str, typer.Option("--since", help="2026-01-31, 2026-01-31T12:00Z, or 24h: so long ago.", metavar="TIME")
    ],
    until: Annotated[str | None, typer.Option("--until", help="The same; else now.", metavar="TIME")] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only what was given up.")] = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Wait until it is done.")] = False,
    profile: Profile = None,
    json: Json = False,
) -> None:
    """Deliver again what happened since a time.

    Under the same ids: who has handled an event can tell.

    \b
    Example:
      prelabel webhook recover ID --since 24h --watch
    """
    out = Out(json=json)
    with session(profile) as client:
        found = client.recover(
            subscription,
            since_ms=moment_of(since),
            until_ms=moment_of(until) if until is not None else None,
            deliveries="failed" if failed else "all",
        )
        with progress(quiet=json) as bar:
            shown = bar.add_task("recovering", total=found.total, said="")
            while watch and not found.over:
                time.sleep(_LOOK_EVERY)
                found = client.recovery(subscription, found.recovery)
                bar.update(shown, completed=found.done, total=found.total, said=f"{found.done:,}")
    if json:
        out.value(found)
    else:
        out.fields({"recovery": found.recovery, "state": found.state, "done": found.done})
    if found.state == "failed":
        raise Ended(DATA)


def moment_of(text: str) -> int:
    """Milliseconds since 1970 of a date, or of a time ago. Raises `Refused`."""
    if text[-1:] in "smhdw" and text[:-1].strip().isdigit():
        return round((time.time() - seconds_of(text, "--since")) * 1000)
    try:
        return round(datetime.fromisoformat(text).astimezone().timestamp() * 1000)
    except ValueError:
        raise Refused(f"{text!r} is no time: write 2026-01-31, 2026-01-31T12:00Z, or 24h") from None


def headers_of(given: list[str]) -> dict[str, str]:
    """Headers as they were written. A command line can be seen by others: secrets are read from files."""
    found = {}
    for one in given:
        name, colon, value = one.partition(":")
        if not colon:
            raise Refused("--header: write NAME: VALUE, or NAME: @FILE")
        value = value.strip()
        found[name.strip()] = Path(value[1:]).read_text().strip() if value.startswith("@") else value
    return found


def _latest(attempt: "dict[str, object] | None") -> str:
    if attempt is None:
        return ""
    return " ".join(str(attempt[word]) for word in ("result", "status", "error") if attempt.get(word) is not None)


def _in_full(out: Out, found: "DeliveryInFull") -> None:
    if out.json:
        out.value(found)
        return
    out.fields({"delivery": found.delivery, "type": found.type, "task": found.task, "state": found.state})
    for one in found.attempts_made:
        out.line(clean(f"{moment(one.get('at_ms'))}  {_latest(one)}  {one.get('answer') or ''}".rstrip()))
    request = found.request or {}
    for name, value in (request.get("headers") or {}).items():
        out.line(clean(f"{name}: {value}"))
    out.line()
    out.line(clean(_json.dumps(request.get("body"), ensure_ascii=False)))


def _tell(out: Out, attempt: "Attempt") -> None:
    if out.json:
        out.value(attempt)
    else:
        words = [attempt.result, str(attempt.status or ""), attempt.error]
        seconds = f"{attempt.seconds:.2f} s" if attempt.seconds is not None else ""
        said = " ".join(word for word in (*words, seconds) if word)
        out.line(f"{'delivered' if attempt.delivered else 'not delivered'}: {said}")
    if not attempt.delivered:
        raise Ended(DATA)
