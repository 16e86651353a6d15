"""`prelabel tasks`, `predictions`, `export`: what is there."""

import json as _json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import Refused
from .options import Json, Limit, Profile, Project
from .output import Out, clean, counted, moment
from .predict import show
from .session import meant, session

if TYPE_CHECKING:
    from prelabel_contract.blobs import BlobRef

    from ..models import Prediction, Task

Run = Annotated[str | None, typer.Option("--run", help="Only of this run.", metavar="RUN")]
Model = Annotated[str | None, typer.Option("--model", help="Only with an outcome of this model; needs --state.")]
State = Annotated[
    str | None,
    typer.Option("--state", help="Only with an outcome in this state: created, pending, failed, cancelled, expired."),
]

_SHOWN = 200
"""Characters of a task's data in a table."""


def tasks(
    task: Annotated[str | None, typer.Argument(help="One task, by its id or uid, with all that was said.")] = None,
    project: Project = None,
    run: Run = None,
    model: Model = None,
    state: State = None,
    limit: Limit = 20,
    profile: Profile = None,
    json: Json = False,
) -> None:
    """List tasks in the order in which they came, or show one.

    \b
    Example:
      prelabel tasks --project mails --limit 5
      prelabel tasks --state failed --model words --json
      prelabel tasks mail-17
    """
    out = Out(json=json)
    with session(profile) as client:
        where = meant(client, project)
        if task is not None:
            _one(out, client.task(where, task))
            return
        found = client.tasks(where, run=run, model=model, state=state, predictions=True, limit=limit)
        if json:
            for one in found:
                out.value(one)
            return
        rows = ((one.id or one.task, moment(one.accepted_ms), _said(one), data(one)) for one in found)
        out.rows(("task", "accepted", "predictions", "data"), rows, nothing="no tasks yet: `prelabel submit FILE`")


def predictions(
    task: Annotated[str | None, typer.Argument(help="One task, by its id or uid.")] = None,
    project: Project = None,
    run: Run = None,
    model: Model = None,
    state: State = None,
    limit: Limit = 20,
    profile: Profile = None,
    json: Json = False,
) -> None:
    """Show what the models said, of one task or of many.

    Where it is asked, of --model only, and in --state only.

    \b
    Example:
      prelabel predictions mail-17
      prelabel predictions --project mails --json | jq .regions
    """
    out = Out(json=json)
    with session(profile) as client:
        where = meant(client, project)
        if task is not None:
            found: Iterator[Task] = iter([client.task(where, task)])
        else:
            found = client.tasks(where, run=run, model=model, state=state, predictions=True, limit=limit)
        said = ((one, prediction) for one in found for prediction in asked_for(one, model, state))
        if json:
            for one, prediction in said:
                out.value({"task": one.task, "id": one.id, **prediction.json_value()})
            return
        rows = ((t.id or t.task, p.model, p.outcome, labels(p), p.version or "") for t, p in said)
        out.rows(("task", "model", "outcome", "labels", "version"), rows, nothing="no predictions yet")


def export(
    project: Project = None,
    output: Annotated[
        str, typer.Option("--output", "-o", help="The file to write; - is standard output.", metavar="FILE")
    ] = "-",
    run: Run = None,
    model: Model = None,
    state: State = None,
    profile: Profile = None,
    json: Json = False,
) -> None:
    """Write tasks with all that was said, one JSON object a line.

    The file appears when it is complete: an export that breaks off leaves what was there before.

    \b
    Example:
      prelabel export --project mails > mails.jsonl
      prelabel export -o mails.jsonl --state created --model words
    """
    out = Out(json=json)
    with session(profile) as client:
        lines = client.export(meant(client, project), run=run, model=model, state=state)
        if output == "-":
            for line in lines:
                out.value(line)
            return
        written = _write(Path(output), lines)
    if json:
        out.value({"file": output, "tasks": written})
    out.note(f"{counted(written, 'task')} in {output}")


def _write(path: Path, lines: Iterator[dict[str, Any]]) -> int:
    if path.is_dir():
        raise Refused(f"{path} is a folder: name a file")
    draft = path.with_name(f".{path.name}.part")
    written = 0
    try:
        with draft.open("w", encoding="utf-8") as file:
            for line in lines:
                file.write(_json.dumps(line, ensure_ascii=False) + "\n")
                written += 1
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return written


def _one(out: Out, task: "Task") -> None:
    if out.json:
        out.value(task)
        return
    out.fields({"task": task.task, "id": task.id, "accepted": moment(task.accepted_ms), "data": data(task)})
    for prediction in task.predictions or ():
        show(out, prediction, "")
    for annotation in task.annotations or ():
        out.line()
        out.line(clean(f"annotated by {annotation.annotator}, {moment(annotation.at_ms)}"))
        for region in annotation.regions:
            out.line(
                f"  {clean(', '.join(region.labels)):<12} {clean(str(getattr(region, 'text', '') or ''))}".rstrip()
            )


def labels(prediction: "Prediction") -> str:
    """The labels of a prediction in a few words."""
    if prediction.outcome != "created":
        return " ".join(word for word in (prediction.reason, prediction.detail) if word)
    return ", ".join(_counted([label for region in prediction.regions for label in region.labels]))


def _counted(words: Sequence[str]) -> list[str]:
    return [word if (times := words.count(word)) == 1 else f"{word} x{times}" for word in dict.fromkeys(words)]


def _said(task: "Task") -> str:
    return "; ".join(f"{one.model}: {labels(one) or one.outcome}" for one in task.predictions or ())


def asked_for(task: "Task", model: str | None, state: str | None) -> "Iterator[Prediction]":
    """Predictions of a task: of one model, in one state, or all."""
    for one in task.predictions or ():
        if model in (None, one.model) and state in (None, one.outcome):
            yield one


def data(task: "Task") -> str:
    """A task's fields in a line: its text if that is all there is; of a field that is too large, its beginning."""
    fields = {name: _begun(value, task.blobs.get(name)) for name, value in task.data.items()}
    texts = [value for value in fields.values() if isinstance(value, str)]
    text = texts[0] if len(fields) == 1 and texts else _json.dumps(fields, ensure_ascii=False)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def _begun(value: Any, blob: "BlobRef | None") -> Any:
    if value is not None or blob is None:
        return value
    return f"{blob.preview}…" if blob.preview else f"({blob.bytes} bytes)"


def stdin_or(path: str) -> bytes:
    """A file's content, or standard input's for "-"."""
    return sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
