"""`prelabel train` and `prelabel trainings`: models learn from what people submitted."""

from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import Refused
from .drawing import draw
from .exits import DATA, Ended
from .following import ended, judged, later, loaded, newest, state_of
from .options import Json, Limit, Profile
from .output import Out, clean, moment
from .session import meant, session

if TYPE_CHECKING:
    from ..client import Client
    from ..models_learning import AskedTraining, Training, Version

Named = Annotated[
    str | None,
    typer.Argument(help="The project; else PRELABEL_PROJECT, the profile's, or the only one.", metavar="[PROJECT]"),
]
OfModel = Annotated[
    str | None, typer.Option("--model", "-m", help="The model; not needed where there is only one.", metavar="NAME")
]
ALREADY = "already"
"""Why a training that is under way is the answer to a wish for one: it has been given all there is."""


def train(
    project: Named = None,
    model: OfModel = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Wait until its version is judged, and loaded.")] = False,
    profile: Profile = None,
    json: Json = False,
) -> None:
    """Train a model on what people have submitted so far.

    Whether the version serves is decided by the gate: only if it is not worse than what serves. While another training
    of the model is under way this one starts after it, with what has come meanwhile; if nothing has, the one under way
    is meant. With --watch the learning curve is drawn at the end. The exit code is 1 if it came to no version.

    \b
    Example:
      prelabel train mails --watch
      prelabel train mails --model topics --json
    """
    out = Out(json=json)
    with session(profile) as client:
        where = meant(client, project)
        name = the_model(client, where, model)
        before = newest(client, where, name)
        asked = client.train(where, name)
        if not watch:
            if json:
                out.value(asked)
                return
            if asked.training is None:
                out.line(asked.why.sentence)
            else:
                out.fields(_shown(asked.training))
                _tell_already(out, asked)
                out.note(f"follow it: prelabel trainings {where}; its log: prelabel trainings --log {name}/NUMBER")
            return
        _tell_already(out, asked)
        begun = asked.training or later(out, client, where, name, before, asked.why.sentence)
        over = ended(out, client, begun)
        version, said = judged(client, over), ""
        if version is not None and version.state == "serving":
            version, said = loaded(out, client, where, version)
        curve = client.curve(where, name) if out.terminal and not json else None
    if json:
        out.value({**over.json_value(), "judged": None if version is None else version.json_value()})
    else:
        out.fields({**_shown(over), **_decided(version)})
        if said:
            out.note(clean(said))
        if curve is not None:
            out.line()
            draw(out, curve)
    if over.state != "trained":
        raise Ended(DATA)


def trainings(
    project: Named = None,
    model: OfModel = None,
    log: Annotated[str | None, typer.Option("--log", help="The log of one.", metavar="MODEL/NUMBER")] = None,
    cancel: Annotated[str | None, typer.Option("--cancel", help="Cancel one.", metavar="MODEL/NUMBER")] = None,
    limit: Limit = 20,
    profile: Profile = None,
    json: Json = False,
) -> None:
    """List trainings, newest first; show a log, cancel one.

    \b
    Example:
      prelabel trainings mails
      prelabel trainings mails --log topics/3
      prelabel trainings mails --cancel topics/4
    """
    out = Out(json=json)
    with session(profile) as client:
        where = meant(client, project)
        if cancel is not None:
            found = [client.cancel_training(where, *one_of(cancel))]
        elif log is not None:
            for line in client.training_log(where, *one_of(log)):
                if json:
                    out.value(line)
                else:
                    out.line(f"{moment(line.at_ms)}  {clean(line.line)}")
            return
        else:
            found = list(islice(client.trainings(where, model=model, limit=limit), limit))
    if json:
        for one in found:
            out.value(one)
        return
    rows = (
        (f"{t.model}/{t.number}", state_of(t), moment(t.requested_ms), t.examples, t.version, t.detail or t.reason)
        for t in found
    )
    out.rows(("training", "state", "requested", "examples", "version", "why"), rows, nothing="no trainings yet")


def the_model(client: "Client", project: str, name: str | None) -> str:
    """The model that is meant. Raises `Refused` where that is not clear."""
    if name is not None:
        return name
    known = [str(one["name"]) for one in client.project(project).models]
    if len(known) == 1:
        return known[0]
    if not known:
        raise Refused(f"the project {project} has no model")
    raise Refused(f"which model of the project {project}? Say --model; there are {', '.join(known[:10])}")


def one_of(text: str) -> tuple[str, int]:
    """A training's model and number. Raises `Refused`."""
    model, slash, number = text.rpartition("/")
    if not slash or not number.isdecimal():
        raise Refused(f"{text!r} is no training: say MODEL/NUMBER, as the list shows it")
    return model.rpartition("/")[2], int(number)


def _tell_already(out: Out, asked: "AskedTraining") -> None:
    if asked.why.reason == ALREADY:
        out.note(clean(asked.why.sentence))


def _shown(training: "Training") -> dict[str, Any]:
    told: dict[str, Any] = {"training": training.training, "state": state_of(training), "examples": training.examples}
    told["held out"] = training.holdout
    if training.started_ms and training.ended_ms:
        told["seconds"] = (training.ended_ms - training.started_ms) / 1000
    if training.reason:
        told["why"] = training.detail or training.reason
    return told


def _decided(version: "Version | None") -> dict[str, Any]:
    if version is None:
        return {}
    return {"version": version.version, "verdict": version.verdict.outcome, "said": version.verdict.text} | (
        {"serves": version.state == "serving"}
    )
