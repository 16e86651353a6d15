"""`prelabel rebuild`: build what is shown anew from the log."""

import time
from typing import TYPE_CHECKING, Annotated

import typer

from .exits import DATA, Ended
from .options import Json, Profile
from .output import Out, progress
from .session import session

if TYPE_CHECKING:
    from ..client import Client
    from ..models_operations import Rebuild

_LOOK_EVERY = 0.5


def rebuild(
    known: Annotated[
        str | None,
        typer.Argument(help="One that is under way, to watch; else one is begun.", metavar="[REBUILD]"),
    ] = None,
    compare: Annotated[bool, typer.Option("--compare", help="Only say how the two differ; switch to none.")] = False,
    watch: Annotated[bool, typer.Option(help="Wait until it is done.")] = True,
    profile: Profile = None,
    json: Json = False,
) -> None:
    """Build what is shown anew from the log, and switch to it.

    The projection is built beside the live one, and the two are compared. Everything goes on meanwhile. It is refused
    where the log does not reach back, naming the first missing offset.

    \b
    Example:
      prelabel rebuild --compare
      prelabel rebuild
    """
    out = Out(json=json)
    with session(profile) as client:
        found = client.rebuild_state(known) if known else client.rebuild(mode="compare" if compare else "switch")
        if watch:
            found = _watched(client, found, quiet=json)
    if json:
        out.value(found)
    else:
        _tell(out, found)
    if found.state == "failed" or (found.mode == "compare" and found.equal is False):
        raise Ended(DATA)


def _watched(client: "Client", found: "Rebuild", *, quiet: bool) -> "Rebuild":
    with progress(quiet=quiet) as bar:
        shown = bar.add_task(found.step, total=found.total, said="")
        while not found.over:
            time.sleep(_LOOK_EVERY)
            found = client.rebuild_state(found.rebuild)
            said = f"{found.done:,}" + (f", {found.rate:,.0f}/s" if found.rate else "")
            bar.update(shown, completed=found.done, total=found.total, description=found.step, said=said)
        return found


def _tell(out: Out, found: "Rebuild") -> None:
    said = {"rebuild": found.rebuild, "state": found.state, "step": found.step, "records": found.done}
    if found.equal is not None:
        said["compared"] = "equal" if found.equal else "they differ"
    if isinstance(found.error, dict):
        said["error"] = found.error.get("detail") or found.error
    out.fields(said)
    for kind, difference in found.differences.items():
        if isinstance(difference, dict) and not difference.get("equal"):
            out.line(f"  {kind}: {', '.join(f'{name} {value}' for name, value in difference.items())}")
