"""`prelabel webhook listen`: receive on this machine while one develops."""

import queue
import signal
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import PrelabelError
from .exits import say
from .options import Json, Profile
from .output import Out, cell, clean
from .session import session

if TYPE_CHECKING:
    from .receiver import Received

LOOK_EVERY = 0.5
"""Seconds from Ctrl-C until it is noticed, at most."""


def listen(
    forward: Annotated[
        str | None, typer.Option("--forward", help="Hand each event on to this address, as it came.", metavar="URL")
    ] = None,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="To listen on; 0 takes a free one.")] = 0,
    url: Annotated[
        str | None, typer.Option("--url", help="Where Prelabel reaches this, if it runs elsewhere (a tunnel).")
    ] = None,
    type_: Annotated[
        list[str] | None, typer.Option("--type", "-t", help="An event type, or noun.*; may be repeated; else all.")
    ] = None,
    project: Annotated[
        list[str] | None, typer.Option("--project", "-p", help="A project; may be repeated; else all.")
    ] = None,
    profile: Profile = None,
    json: Json = False,
) -> None:
    """Receive, verify and print events while you develop.

    Until Ctrl-C, each on one line. It subscribes itself, and removes the subscription at the end. With --forward each
    event is handed on, and what that answers is what Prelabel is answered.

    \b
    Example:
      prelabel webhook listen
      prelabel webhook listen --forward http://localhost:3000/hook --type 'prediction.*'
    """
    from .receiver import receiver

    out = Out(json=json)
    printed: queue.SimpleQueue[Received] = queue.SimpleQueue()
    with session(profile) as client, receiver(printed, forward, port) as server:
        here = url or f"http://127.0.0.1:{server.server_port}/"
        made = client.create_subscription(here, types=type_ or (), projects=project or (), description="listen")
        server.secret = made.secret
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        if not json:
            out.line(f"listening at {here}; Ctrl-C ends it")
            sys.stdout.flush()
        try:
            while True:
                _print(out, next_of(printed))
        except KeyboardInterrupt:
            return
        finally:
            try:
                client.delete_subscription(made.id)
            except PrelabelError as error:
                say(f"the subscription {made.id} could not be removed ({error}): prelabel webhook remove {made.id}")


def next_of(printed: "queue.SimpleQueue[Received]") -> "Received":
    """What came in next. Raises KeyboardInterrupt when it is to end.

    A wait without an end may outlast a signal: one that comes as it begins, or in another thread, does not wake it.
    """
    while True:
        try:
            return printed.get(timeout=LOOK_EVERY)
        except queue.Empty:
            continue


def _print(out: Out, received: "Received") -> None:
    event = received.event
    if event is None:
        say(f"not verified: {received.why}")
        return
    if out.json:
        out.value({"id": event.id, "type": event.type, "timestamp": event.timestamp, "data": event.data})
    else:
        data = event.data
        about = "/".join(str(data[word]) for word in ("project", "task", "run") if data.get(word))
        named = [str(data[word]) for word in ("id", "model", "outcome", "reason") if data.get(word)]
        labels = sorted({str(label) for region in data.get("regions") or () for label in region.get("labels", ())})
        answer = "" if received.status == 204 else f"-> {received.status} {received.why}".rstrip()
        again = "(again)" if received.again else ""
        words = [event.timestamp[11:19], event.type, about, *named, cell(labels), again, answer]
        out.line("  ".join(clean(word) for word in words if word))
    sys.stdout.flush()
