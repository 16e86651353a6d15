"""`prelabel models …`: versions of models, what serves and why, promote, roll back."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from .drawing import draw
from .options import Json, Limit, Profile, Project
from .output import Out, clean, moment
from .session import meant, session
from .train import Named, OfModel, the_model

if TYPE_CHECKING:
    from ..models_learning import Curve, CurvePoint, Figure, Load, Model, Serving, Version


class _Listing(TyperGroup):
    """A group whose first command is meant where none is named: `prelabel models mails`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] not in ("-h", "--help")):
            args = ["list", *args]
        return super().parse_args(ctx, args)


models = typer.Typer(help="Models: which version serves, and why; promote, roll back.", cls=_Listing)
Version_ = Annotated[str, typer.Argument(help="The version's name, from the list.", metavar="VERSION")]
Reason = Annotated[str, typer.Option("--reason", help="Why, for whoever reads the audit.")]


@models.command("list")
def list_(
    project: Named = None,
    model: OfModel = None,
    limit: Limit = 10,
    profile: Profile = None,
    json: Json = False,
) -> None:
    """List versions: what serves, and why others do not.

    Scores are of the hold-out, with 95 % intervals; "few" and their number stand where fewer than 10 tasks were there
    to score it, which says little. On a terminal the curve of each model is drawn below.

    \b
    Example:
      prelabel models mails
      prelabel models list mails --model topics --json
    """
    out = Out(json=json)
    with session(profile) as client:
        where = meant(client, project)
        found = [one for one in client.models(where) if model in (None, one.name)]
        versions = {one.name: list(client.versions(where, one.name, limit=limit)) for one in found}
        curves = {one.name: client.curve(where, one.name, limit=limit) for one in found}
    if json:
        for one in found:
            listed = [version.json_value() for version in versions[one.name]]
            out.value({**one.json_value(), "versions": listed, "curve": curves[one.name].json_value()})
        return
    rows = (row for one in found for row in _rows(one, versions[one.name], curves[one.name]))
    out.rows(("version", "model", "state", "examples", "score", "interval", "why"), rows, nothing="no models yet")
    if out.terminal:
        for curve in curves.values():
            out.line()
            draw(out, curve)


def _rows(model: "Model", versions: "list[Version]", curve: "Curve") -> list[tuple[Any, ...]]:
    points = {one.version: one for one in curve.points}
    rows: list[tuple[Any, ...]] = [
        (one.version, model.name, one.state, one.examples, *_score(one, points.get(one.version)), why(one))
        for one in versions
    ]
    if model.serving.version == "settings":
        rows.append(("settings", model.name, "serving", "", "", "", f"{model.provider}, as its settings say"))
    return rows


def _score(version: "Version", point: "CurvePoint | None") -> tuple[float | None, str]:
    if point is None or point.score is None:
        return version.verdict.score, ""
    return point.score, " ".join(word for word in (interval(point.low, point.high), few(point)) if word)


def few(point: "CurvePoint") -> str:
    """A word where a version's score says little."""
    return "" if point.score is None or point.enough else f"few ({point.tasks})"


def why(version: "Version") -> str:
    """What was decided about a version, in a sentence."""
    return version.refused or version.verdict.text


def interval(low: float | None, high: float | None) -> str:
    """An interval's ends; nothing where there is none."""
    return "" if low is None or high is None else f"{low:.2f}-{high:.2f}"


@models.command()
def show(
    version: Version_, project: Project = None, model: OfModel = None, profile: Profile = None, json: Json = False
) -> None:
    """Show one version: the verdict, who has it loaded, label scores.

    \b
    Example:
      prelabel models show 3-9f86d081884c --project mails
    """
    out = Out(json=json)
    with session(profile) as client:
        where = meant(client, project)
        found = client.version(where, the_model(client, where, model), version)
    if json:
        out.value(found)
        return
    out.fields(
        {
            "version": found.version,
            "state": found.state,
            "verdict": f"{found.verdict.outcome} ({found.verdict.reason})",
            "why": why(found),
            "training": found.training,
            "examples": found.examples,
            "judged": moment(found.judged_ms),
            "answers in": [_loaded(one) for one in found.loads if one.state == "serving"],
            **{f"refused by {clean(one.host)}": one.detail for one in found.loads if one.state != "serving"},
        }
    )
    if found.report is not None and found.report.labels:
        out.line()
        rows = (
            (one.label or clean(one.question), one.question, one.precision.value, one.recall.value, _of(one.f1))
            for one in found.report.labels
        )
        out.rows(("label", "question", "precision", "recall", "f1"), rows)


def _loaded(one: "Load") -> str:
    """Where it answers, how long it took until it did, and what its process needs."""
    took = "" if one.seconds is None else f"after {one.seconds:.1f} s"
    memory = "" if one.memory_mib is None else f"{one.memory_mib:.0f} MiB"
    told = ", ".join(word for word in (took, memory) if word)
    return f"{one.host} ({told})" if told else one.host


def _of(figure: "Figure") -> str:
    if figure.value is None:
        return ""
    between = interval(figure.low, figure.high)
    return f"{figure.value:.2f} ({between})" if between else f"{figure.value:.2f}"


@models.command()
def promote(
    version: Version_,
    project: Project = None,
    model: OfModel = None,
    reason: Reason = "",
    profile: Profile = None,
    json: Json = False,
) -> None:
    """Let a version serve, whatever the gate decided.

    \b
    Example:
      prelabel models promote 3-9f86d081884c --project mails --reason "the new labels"
    """
    out = Out(json=json)
    with session(profile) as client:
        where = meant(client, project)
        serving = client.promote(where, the_model(client, where, model), version, reason=reason)
    _told(out, serving, where)


@models.command()
def rollback(
    version: Annotated[
        str | None, typer.Argument(help="The version; else the one before. `settings`: as its settings say.")
    ] = None,
    project: Project = None,
    model: OfModel = None,
    reason: Reason = "",
    profile: Profile = None,
    json: Json = False,
) -> None:
    """Let an older version serve again: the one before, or another.

    \b
    Example:
      prelabel models rollback --project mails --model topics
      prelabel models rollback settings --project mails
    """
    out = Out(json=json)
    with session(profile) as client:
        where = meant(client, project)
        serving = client.rollback(where, the_model(client, where, model), version=version, reason=reason)
    _told(out, serving, where)


def _told(out: Out, serving: "Serving", where: str) -> None:
    if out.json:
        out.value(serving)
        return
    out.line(f"{clean(serving.model)} is served by {clean(serving.version)} now (epoch {serving.epoch})")
    if serving.version != "settings":
        named = f"{clean(serving.version)} --project {clean(where)} --model {clean(serving.model)}"
        out.note(f"whether it could be loaded: prelabel models show {named}")
