"""`prelabel models …`: versions of models, what serves and why, promote, roll back."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from ..models_learning import Figure
from .options import Json, Limit, Profile, Project
from .output import Out, clean, moment
from .session import meant, session
from .train import Named, OfModel, the_model

if TYPE_CHECKING:
    from ..client import Client
    from ..models_learning import Model, Version


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

    Scores are of the hold-out, with 95 % intervals.

    \b
    Example:
      prelabel models mails
      prelabel models list mails --model topics --json
    """
    out = Out(json=json)
    with session(profile) as client:
        where = meant(client, project)
        found = [one for one in client.models(where) if model in (None, one.name)]
        versions = {one.name: list(_whole(client, where, one.name, limit)) for one in found}
    if json:
        for one in found:
            out.value({**one.json_value(), "versions": [version.json_value() for version in versions[one.name]]})
        return
    rows = (row for one in found for row in _rows(one, versions[one.name]))
    out.rows(("version", "model", "state", "examples", "score", "interval", "why"), rows, nothing="no models yet")


def _whole(client: "Client", project: str, model: str, limit: int) -> "list[Version]":
    """The newest versions of a model with their reports."""
    return [client.version(project, model, one.version) for one in client.versions(project, model, limit=limit)]


def _rows(model: "Model", versions: "list[Version]") -> list[tuple[Any, ...]]:
    serving = model.serving
    rows: list[tuple[Any, ...]] = [
        (one.version, model.name, one.state, one.examples, *_score(one), one.refused or one.verdict.text)
        for one in versions
    ]
    if serving.version == "settings":
        rows.append(("settings", model.name, "serving", "", "", "", f"{model.provider}, as its settings say"))
    return rows


def _score(version: "Version") -> tuple[float | None, str]:
    figure = figure_of(version)
    interval = "" if figure.low is None or figure.high is None else f"{figure.low:.2f}-{figure.high:.2f}"
    return figure.value, interval


def figure_of(version: "Version") -> Figure:
    """The score that a version is judged by, with its interval where there was a hold-out."""
    if version.report is not None:
        return version.report.by(version.verdict.metric)
    return Figure(value=version.verdict.score)


@models.command()
def show(
    version: Version_, project: Project = None, model: OfModel = None, profile: Profile = None, json: Json = False
) -> None:
    """Show one version: the gate's verdict, and its scores by label.

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
            "why": found.refused or found.verdict.text,
            "training": found.training,
            "examples": found.examples,
            "judged": moment(found.judged_ms),
        }
    )
    if found.report is not None and found.report.labels:
        out.line()
        rows = (
            (one.label or clean(one.question), one.question, one.precision.value, one.recall.value, _of(one.f1))
            for one in found.report.labels
        )
        out.rows(("label", "question", "precision", "recall", "f1"), rows)


def _of(figure: Figure) -> str:
    if figure.value is None:
        return ""
    interval = "" if figure.low is None or figure.high is None else f" ({figure.low:.2f}-{figure.high:.2f})"
    return f"{figure.value:.2f}{interval}"


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
    _told(out, serving)


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
    _told(out, serving)


def _told(out: Out, serving: Any) -> None:
    if out.json:
        out.value(serving)
        return
    out.line(f"{clean(serving.model)} is served by {clean(serving.version)} now (epoch {serving.epoch})")
