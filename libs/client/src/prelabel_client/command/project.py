"""`prelabel project …`: what is asked about the data, and which models answer first."""

import json as _json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import profiles
from ..errors import Refused
from .options import Json, Profile
from .output import Out
from .session import session
from .tasks import stdin_or

if TYPE_CHECKING:
    from ..models import Project

project = typer.Typer(help="Projects: what is asked, and which models answer first.", no_args_is_help=True)
KINDS = ("choice", "span")
Id = Annotated[str, typer.Argument(help="The project's id: a-z, 0-9 and hyphens.", metavar="ID")]


@project.command()
def create(
    name: Id,
    labels: Annotated[str, typer.Option("--labels", help="The labels, between commas.", metavar="A,B,C")],
    kind: Annotated[str, typer.Option("--kind", help="choice (of the whole text) or span (a part of it).")] = "choice",
    question: Annotated[str, typer.Option("--question", help="The question's name.")] = "label",
    field: Annotated[str, typer.Option("--field", help="The field of the data that is asked about.")] = "text",
    multiple: Annotated[bool, typer.Option("--multiple", help="Several labels at once (choice).")] = False,
    model: Annotated[
        str, typer.Option("--model", help="The provider of the first model: rules, echo, …; none for none.")
    ] = "rules",
    settings: Annotated[
        str | None, typer.Option("--settings", help="The model's settings: a JSON file, or -.", metavar="FILE")
    ] = None,
    title: Annotated[str, typer.Option("--title", help="A title for people.")] = "",
    profile: Profile = None,
    json: Json = False,
) -> None:
    """Create a project from a list of labels.

    Its first model finds the labels' own words, until you say otherwise.

    \b
    Example:
      prelabel project create mails --labels urgent,later,spam
      prelabel project create names --labels PERSON,PLACE --kind span
    """
    out = Out(json=json)
    if not re.fullmatch(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?", name):
        raise Refused(
            f"{name!r} is no id of a project: use a-z, 0-9 and inner hyphens, at most 40; --title is for people"
        )
    values = [label.strip() for label in labels.split(",") if label.strip()]
    if kind not in KINDS:
        raise Refused(
            f"--kind {kind}: use {' or '.join(KINDS)}; for others write the project as JSON: prelabel project set"
        )
    if not values:
        raise Refused("--labels: name at least one")
    asked: dict[str, Any] = {"name": question, "kind": kind, "field": field, "labels": values}
    if kind == "choice":
        asked["multiple"] = multiple
    spec: dict[str, Any] = {"title": title, "label_set": {"questions": [asked]}, "models": []}
    if model != "none":
        given = _given(settings) if settings is not None else _first_settings(model, kind, values)
        spec["models"] = [{"name": model, "provider": model, "settings": given}]
    with session(profile) as client:
        if any(one.id == name for one in client.projects()):
            raise Refused(
                f"there is a project {name!r} already: change it by `prelabel project set`, or take another id"
            )
        made = client.put_project(name, spec)
    _chosen(name, profile, only_if_none=True)
    _tell(out, made, f"made; next: prelabel submit FILE --project {name} --watch")


@project.command("list")
def list_(profile: Profile = None, json: Json = False) -> None:
    """List the projects that the key reaches.

    \b
    Example:
      prelabel project list
    """
    out = Out(json=json)
    with session(profile) as client:
        found = list(client.projects())
    if json:
        for one in found:
            out.value(one)
        return
    rows = ((p.id, p.title, _questions(p), [m.get("name") for m in p.models]) for p in found)
    out.rows(("project", "title", "questions", "models"), rows, nothing="none yet: `prelabel project create`")


@project.command()
def show(name: Id, profile: Profile = None, json: Json = False) -> None:
    """Show a project, with its counts. With --json: what `set` takes back.

    \b
    Example:
      prelabel project show mails
      prelabel project show mails --json > mails.json
    """
    out = Out(json=json)
    with session(profile) as client:
        found = client.project(name)
        if json:
            out.value(found)
            return
        counts = client.counts(name)
    out.fields({"project": found.id, "title": found.title, "version": found.version, "tasks": counts.tasks})
    for question in found.label_set.get("questions", ()):
        values = [str(label.get("value")) for label in question.get("labels", ())]
        out.line(
            f"question {question.get('name')}: {question.get('kind')} of {question.get('field')}: {', '.join(values)}"
        )
    for model in found.models:
        states = counts.models.get(str(model.get("name")), {})
        said = ", ".join(f"{number} {state}" for state, number in states.items())
        out.line(f"model {model.get('name')}: {model.get('provider')}{'; ' + said if said else ''}")


@project.command("set")
def set_(
    file: Annotated[str, typer.Argument(help="A project as JSON; - for standard input.", metavar="FILE")],
    name: Annotated[str | None, typer.Option("--id", help="The project, if the file does not say it.")] = None,
    profile: Profile = None,
    json: Json = False,
) -> None:
    """Create or change a project from JSON.

    A file with a version (from `show --json`) changes only that version.

    \b
    Example:
      prelabel project show mails --json > mails.json && $EDITOR mails.json && prelabel project set mails.json
    """
    out = Out(json=json)
    try:
        spec = _json.loads(stdin_or(file))
    except ValueError as error:
        raise Refused(f"{file} is no JSON: {error}") from None
    if not isinstance(spec, dict):
        raise Refused(f"{file} holds no JSON object")
    meant = name or spec.get("id")
    if not isinstance(meant, str):
        raise Refused(f"{file} does not say the project's id: add it, or say --id")
    spec["id"] = meant
    with session(profile) as client:
        made = client.put_project(meant, spec, version=spec.get("version"))
    _tell(out, made, "is set")


@project.command()
def use(name: Id, profile: Profile = None, json: Json = False) -> None:
    """Let a project be meant where none is named.

    \b
    Example:
      prelabel project use mails
    """
    out = Out(json=json)
    with session(profile) as client:
        client.project(name)
    if not _chosen(name, profile, only_if_none=False):
        raise Refused("no profile is used that could keep it: set PRELABEL_PROJECT instead")
    if json:
        out.value({"project": name})
    out.note(f"{name} is meant where no project is named")


def _chosen(name: str, profile: str | None, *, only_if_none: bool) -> bool:
    """Keep the project in the profile that is used; False where none is."""
    used = profiles.connection(profile=profile)
    if used.profile is None:
        return False
    known = profiles.read()
    kept = known.profiles[used.profile]
    if not only_if_none or kept.project is None:
        profiles.keep(used.profile, replace(kept, project=name), default=known.default == used.profile)
    return True


def _given(file: str) -> Any:
    try:
        return _json.loads(stdin_or(file))
    except ValueError as error:
        raise Refused(f"--settings: {file} is no JSON: {error}") from None


def _first_settings(provider: str, kind: str, labels: list[str]) -> dict[str, Any]:
    """Settings that do something at once: the rules provider looks for the labels' own words."""
    if provider != "rules":
        return {}
    return {
        "rules": [{"label": one, "words": [one], **({"as": "choice"} if kind == "choice" else {})} for one in labels]
    }


def _questions(found: "Project") -> list[str]:
    return [f"{q.get('name')} ({q.get('kind')})" for q in found.label_set.get("questions", ())]


def _tell(out: Out, made: "Project", what: str) -> None:
    if out.json:
        out.value(made)
    else:
        out.line(f"{made.id}, version {made.version}, {what}")
