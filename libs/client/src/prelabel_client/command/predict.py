"""`prelabel predict TEXT`."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from .exits import DATA, Ended
from .options import Json, Profile, Project
from .output import Out, clean
from .regions import line_of
from .session import meant, session

if TYPE_CHECKING:
    from ..models import Prediction


def predict(
    text: Annotated[str, typer.Argument(help="The text; - reads standard input.")],
    project: Project = None,
    field: Annotated[str, typer.Option("--field", help="The field of the data that the text is.")] = "text",
    wait: Annotated[float, typer.Option("--wait", min=0, max=60, help="Seconds to wait at most.")] = 30.0,
    profile: Profile = None,
    json: Json = False,
) -> None:
    """Say what every model says about a text, at once.

    \b
    Example:
      prelabel predict "Raises TypeError when asyncio.run() is given no coroutine."
      echo "Call me at once" | prelabel predict - --project mails --json
    """
    out = Out(json=json)
    if text == "-":
        text = sys.stdin.read().rstrip("\n")
    with session(profile) as client:
        said = client.predict(meant(client, project), text, field=field, wait=wait)
    if json:
        out.value(said)
    elif said.predictions is None:
        out.note(f"it takes longer than {wait:g} s; look later: prelabel predictions {said.task}")
    else:
        out.line(clean(text))
        for prediction in said.predictions:
            show(out, prediction, text)
    if said.predictions is None or any(one.outcome != "created" for one in said.predictions):
        raise Ended(DATA)


def show(out: Out, prediction: "Prediction", text: str) -> None:
    """One model's answer, for people."""
    out.line()
    out.line(clean(f"{prediction.model} ({prediction.version or prediction.provider})"))
    if prediction.outcome != "created":
        why = " ".join(word for word in (prediction.reason, prediction.detail) if word)
        out.line(clean(f"  {prediction.outcome} {why}".rstrip()).join(("  ", "")))
        return
    for region in prediction.regions:
        out.line(line_of(region.model_dump(), text))
    if not prediction.regions:
        out.line("  (nothing)")
