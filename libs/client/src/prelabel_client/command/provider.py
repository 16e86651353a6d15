"""`prelabel provider …`: write a model provider, and try it."""

import contextlib
import json as _json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import Refused
from .exits import DATA, Ended
from .options import Json, Profile
from .output import Out, clean
from .regions import line_of
from .session import session
from .tasks import stdin_or

if TYPE_CHECKING:
    from prelabel_provider.base import Failed

provider = typer.Typer(help="Providers: what hosts models. Write one, try one.", no_args_is_help=True)
POINTS = "prelabel.providers"
REMOTE_POINTS = "prelabel.remote_providers"
PATIENCE = 60.0
"""Seconds that a model may take to load, and to answer."""


@provider.command("list")
def list_(profile: Profile = None, json: Json = False) -> None:
    """List the providers that have announced themselves.

    \b
    Example:
      prelabel provider list
    """
    out = Out(json=json)
    with session(profile) as client:
        found = list(client.providers())
    if json:
        for one in found:
            out.value(one)
        return
    rows = ((p.provider, p.state, p.package, p.kinds, list(p.settings_schema.get("properties", {}))) for p in found)
    out.rows(("provider", "state", "version", "kinds", "settings"), rows, nothing="none has announced itself")


@provider.command()
def new(
    name: Annotated[str, typer.Argument(help="Its name: a-z, 0-9 and hyphens, at most 40.", metavar="NAME")],
    folder: Annotated[Path | None, typer.Option("--folder", help="Where to write it; else ./NAME.")] = None,
    json: Json = False,
) -> None:
    """Write a folder with a provider that works.

    Change what it loads and predicts, and it is yours.

    \b
    Example:
      prelabel provider new shout
      prelabel provider try shout "Call me now"
    """
    out = Out(json=json)
    if not re.fullmatch(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?", name):
        raise Refused(f"{name!r} is no name of a provider: use a-z, 0-9 and inner hyphens, at most 40")
    target = folder if folder is not None else Path(name)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise Refused(f"{target} is there already: name another folder by --folder")
    written = _write(target, name)
    if json:
        out.value({"folder": str(target), "files": written})
        return
    for path in written:
        out.line(str(target / path))
    out.note(f'try it: prelabel provider try {target} "some text"; {target}/README.md says how to go on')


@provider.command("try")
def try_(
    folder: Annotated[Path, typer.Argument(help="The provider's folder.")],
    text: Annotated[str, typer.Argument(help="The text; - reads standard input.")],
    settings: Annotated[
        str | None, typer.Option("--settings", help="The model's settings: a JSON file, or the JSON itself.")
    ] = None,
    field: Annotated[str, typer.Option("--field", help="The field of the data that the text is.")] = "text",
    python: Annotated[
        str | None, typer.Option("--python", help="The interpreter that has its dependencies; else this one.")
    ] = None,
    json: Json = False,
) -> None:
    """Load a provider from its folder, and print what it says.

    In a worker process, as in production; nothing needs to be installed. A provider whose models are called
    (prelabel.remote_providers) calls its service once, with secrets from the environment.

    \b
    Example:
      prelabel provider try ./shout "Call me now"
      prelabel provider try ./shout "Help me" --settings '{"words": {"help": "CALL"}}'
    """
    out = Out(json=json)
    if find_spec("prelabel_provider") is None:
        raise Refused("this needs the package prelabel-provider beside this one: pip install it")
    said = stdin_or("-").decode().rstrip("\n") if text == "-" else text
    version, answer = _tried(folder, _settings(settings), {field: said}, field, python or sys.executable)
    _tell(out, version, answer, said)


def _write(target: Path, name: str) -> list[str]:
    """The template, filled in; the files that were written."""
    package = f"prelabel_inference_{name.replace('-', '_')}"
    cls = "".join(part.capitalize() for part in name.split("-"))
    cls = f"P{cls}" if cls[0].isdigit() else cls
    words = {"@name@": name, "@package@": package, "@distribution@": package.replace("_", "-"), "@Class@": cls}
    written = []
    for inside, template in sorted(_templates()):
        for word, meant in words.items():
            inside, template = inside.replace(word, meant), template.replace(word, meant)  # noqa: PLW2901
        path = target / inside
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(template)
        written.append(inside)
    return written


def _templates() -> Iterator[tuple[str, str]]:
    """Paths and contents; `.txt` keeps tools from taking templates for code."""
    root = files("prelabel_client") / "templates" / "provider"
    rest: list[tuple[str, Any]] = [("", root)]
    while rest:
        place, folder = rest.pop()
        for item in folder.iterdir():
            inside = f"{place}{item.name}"
            if item.is_dir():
                rest.append((f"{inside}/", item))
            elif item.name.endswith(".txt"):
                yield inside.removesuffix(".txt"), item.read_text()


def _settings(given: str | None) -> dict[str, Any]:
    if given is None:
        return {}
    try:
        value = _json.loads(given if given.lstrip().startswith("{") else stdin_or(given))
    except ValueError as error:
        raise Refused(f"--settings is no JSON: {error}") from None
    if not isinstance(value, dict):
        raise Refused("--settings: write a JSON object")
    return value


def _tried(
    folder: Path, settings: dict[str, Any], data: dict[str, str], field: str, python: str
) -> "tuple[str, bytes | Failed]":
    import asyncio

    from prelabel_provider.base import BadSettings, Input
    from prelabel_provider.predictor import CannotStart, Told, key_of
    from prelabel_provider.worker.worker import ModelWorker, WorkerError, WorkerLimits

    async def ask(name: str, path: str) -> "tuple[str, bytes | Failed]":
        limits = WorkerLimits(start_seconds=PATIENCE, batch_seconds=PATIENCE)
        worker = ModelWorker(name, python=python, limits=limits, environment={"PYTHONPATH": path})
        try:
            description = await worker.load(settings)
            answers = await worker.predict_each(key_of(settings), [Input("task", data, field)])
            answer = answers[0]
            return description.version, answer.regions if isinstance(answer, Told) else answer
        finally:
            await worker.stop()

    with _uninstalled(folder) as (name, path, remote):
        if remote:
            return _called(folder, name, {"settings": settings, "data": data, "field": field}, python, path)
        try:
            return asyncio.run(ask(name, path))
        except BadSettings as error:
            raise Refused(f"--settings: {name} does not take them: {error}") from None
        except (CannotStart, WorkerError) as error:
            raise Refused(f"{name} in {folder} does not work: {error}") from None


def _called(folder: Path, name: str, question: dict[str, Any], python: str, path: str) -> "tuple[str, bytes | Failed]":
    """What a provider says whose models are called: in a process of its own too, which may import anything."""
    from prelabel_provider.base import Failed

    command = [python, "-m", "prelabel_provider.remote.once", name]
    environment = {**os.environ, "PYTHONPATH": path}
    try:
        done = subprocess.run(  # noqa: S603 - the interpreter is the user's own
            command, input=_json.dumps(question), env=environment, stdout=subprocess.PIPE, timeout=PATIENCE, check=True,
            text=True,
        )  # fmt: skip
        said = _json.loads(done.stdout.splitlines()[-1])
    except OSError as error:
        raise Refused(f"cannot run {python}: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise Refused(f"{name} in {folder} does not answer within {PATIENCE:g} s") from None
    except (subprocess.CalledProcessError, ValueError, IndexError) as error:
        raise Refused(f"{name} in {folder} does not work: {error}") from None
    if "settings" in said:
        raise Refused(f"--settings: {name} does not take them: {said['settings']}")
    if "broken" in said:
        raise Refused(f"{name} in {folder} does not work: {said['broken']}")
    answer = _json.dumps(said["regions"]).encode() if "regions" in said else Failed(said["reason"], said["detail"])
    return said["version"], answer


@contextlib.contextmanager
def _uninstalled(folder: Path) -> Iterator[tuple[str, str, bool]]:
    """The provider's name, a PYTHONPATH on which its folder counts as installed, and whether its models are called.

    Raises `Refused`.
    """
    try:
        project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
        points = project["entry-points"]
        group = REMOTE_POINTS if REMOTE_POINTS in points else POINTS
        ((name, where),) = points[group].items()
        distribution = str(project["name"])
    except OSError as error:
        raise Refused(f"{folder} is no provider's folder: pyproject.toml: {error.strerror}") from None
    except (KeyError, ValueError, AttributeError, TypeError):
        raise Refused(
            f"{folder}/pyproject.toml names no entry point {POINTS} or {REMOTE_POINTS}: see `prelabel provider new`"
        ) from None
    source = folder / "src" if (folder / "src").is_dir() else folder
    with tempfile.TemporaryDirectory(prefix="prelabel-provider-") as place:
        info = Path(place) / f"{distribution.replace('-', '_')}-0.dist-info"
        info.mkdir()
        metadata = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {project.get('version', '0')}\n"
        (info / "METADATA").write_text(metadata)
        (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {where}\n")
        yield name, os.pathsep.join((place, str(source.resolve()))), group == REMOTE_POINTS


def _tell(out: Out, version: str, answer: "bytes | Failed", text: str) -> None:
    if not isinstance(answer, bytes):
        if out.json:
            out.value({"version": version, "outcome": "failed", "reason": answer.reason, "detail": answer.detail})
        else:
            out.line(clean(f"{version}: failed: {answer.reason} {answer.detail}".rstrip()))
        raise Ended(DATA)
    regions = _json.loads(answer)
    if out.json:
        out.value({"version": version, "outcome": "created", "regions": regions})
        return
    out.line(clean(version))
    for region in regions:
        out.line(line_of(region, text))
    if not regions:
        out.line("  (nothing)")
