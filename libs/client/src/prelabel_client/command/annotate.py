"""`prelabel annotate`: hand in what people said."""

import getpass
import json as _json
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import PrelabelError, Refused
from .exits import DATA, Ended
from .options import Json, Profile, Project
from .output import Out, counted
from .session import meant, session

BATCH = 200
"""Annotations in one request."""


def annotate(
    task: Annotated[str | None, typer.Argument(help="The task, by its id or uid.")] = None,
    choose: Annotated[
        list[str] | None,
        typer.Option("--choose", help="A label of the text as a whole; may be repeated.", metavar="[QUESTION=]LABEL"),
    ] = None,
    span: Annotated[
        list[str] | None,
        typer.Option("--span", help="A label of a part; may be repeated.", metavar="[QUESTION=]LABEL:START-END"),
    ] = None,
    accept: Annotated[
        str | None, typer.Option("--accept", help="What this model said is right.", metavar="MODEL")
    ] = None,
    file: Annotated[
        str | None,
        typer.Option("--file", help="Annotations as JSONL; - for standard input.", metavar="FILE"),
    ] = None,
    annotator: Annotated[
        str | None,
        typer.Option("--annotator", help="Who says so; else your user name, but the key's in a file or for a labeler."),
    ] = None,
    project: Project = None,
    profile: Profile = None,
    json: Json = False,
) -> None:
    """Hand in annotations, in words or from a file.

    \b
    Example:
      prelabel annotate mail-17 --choose urgent
      prelabel annotate mail-17 --span PERSON:0-12
      prelabel annotate mail-17 --accept words
      prelabel annotate --file annotations.jsonl
    """
    out = Out(json=json)
    if (task is None) == (file is None):
        raise Refused("name a task, or a file of annotations by --file")
    with session(profile) as client:
        where = meant(client, project)
        if task is not None:
            regions, parent = _regions(client, where, task, choose or [], span or [], accept)
            one = {"task": task, **_by(client, annotator), "regions": regions}
            (uid,) = client.annotate(where, one if parent is None else {**one, "parent_prediction": parent})
            if json:
                out.value({"annotation": uid})
            out.note("taken")
            return
        taken, refused = 0, 0
        for batch in _batches(str(file), annotator):
            uids, wrong = _handed_in(client, where, batch)
            taken += len(uids)
            refused += len(wrong)
            for uid in uids if json else ():
                out.value({"annotation": uid})
            for line in wrong:
                out.note(line)
    out.note(f"{counted(taken, 'annotation')} taken" + (f", {refused} refused" if refused else ""))
    if refused:
        raise Ended(DATA)


def _handed_in(client: Any, project: str, batch: list[dict[str, Any]]) -> tuple[list[str], list[str]]:
    """Uids of what was taken, and why the others were not: a request is taken whole or not at all."""
    try:
        return list(client.annotate(project, *batch)), []
    except Refused as error:
        if len(batch) == 1:
            return [], [f"  task {batch[0].get('task')}: {error.detail}"]
    except PrelabelError:
        raise
    uids, wrong = [], []
    for one in batch:
        taken, refused = _handed_in(client, project, [one])
        uids += taken
        wrong += refused
    return uids, wrong


def _by(client: Any, annotator: str | None) -> dict[str, str]:
    """Who says so. A labeler's key speaks for itself, by whatever name the service knows it."""
    if annotator is None and client.me().role == "labeler":
        return {}
    return {"annotator": annotator or getpass.getuser()}


def _batches(file: str, annotator: str | None) -> Iterator[list[dict[str, Any]]]:
    with nullcontext(sys.stdin) if file == "-" else Path(file).open(encoding="utf-8") as lines:
        read = (_annotation(file, number, line, annotator) for number, line in enumerate(lines, 1) if line.strip())
        while batch := list(islice(read, BATCH)):
            yield batch


def _annotation(file: str, number: int, line: str, annotator: str | None) -> dict[str, Any]:
    try:
        value = _json.loads(line)
    except ValueError as error:
        raise Refused(f"{file}, line {number} is no JSON: {error}") from None
    if not isinstance(value, dict):
        raise Refused(f"{file}, line {number} is no JSON object")
    return value if annotator is None else {"annotator": annotator, **value}


def _regions(
    client: Any, project: str, task: str, choose: list[str], spans: list[str], accept: str | None
) -> tuple[list[dict[str, Any]], str | None]:
    """Regions from words, and the prediction that they are from."""
    if accept is not None:
        said = next((p for p in client.task(project, task).predictions or () if p.model == accept), None)
        if said is None or said.outcome != "created":
            raise Refused(f"the model {accept} has not predicted {task}")
        return [region.model_dump(mode="json", exclude_none=True) for region in said.regions], said.request
    questions = client.project(project).label_set.get("questions", ())
    regions = [_choice(questions, one) for one in choose]
    return [*regions, *(_span(questions, one) for one in spans)], None


def _choice(questions: Any, said: str) -> dict[str, Any]:
    question, label = _asked(questions, said, "choice")
    return {"kind": "choice", "question": question["name"], "field": question["field"], "labels": [label]}


def _span(questions: Any, said: str) -> dict[str, Any]:
    words, _, place = said.rpartition(":")
    start, _, end = place.partition("-")
    if not (words and start.isdigit() and end.isdigit()):
        raise Refused(f"--span {said}: write LABEL:START-END, counted in characters from 0")
    question, label = _asked(questions, words, "span")
    place_ = {"start": int(start), "end": int(end)}
    return {"kind": "span", "question": question["name"], "field": question["field"], "labels": [label], **place_}


def _asked(questions: Any, said: str, kind: str) -> tuple[dict[str, Any], str]:
    """The question that is meant, and the label."""
    name, _, label = said.rpartition("=")
    meant = [q for q in questions if (q["name"] == name if name else kind in (q["kind"], *q.get("also", ())))]
    if not meant and not name:
        raise Refused(f"{said}: the project asks for no {kind}; it asks {_listed(questions)}")
    if len(meant) != 1:
        raise Refused(f"which question? Write QUESTION=LABEL; the project asks {_listed(questions)}")
    return meant[0], label


def _listed(questions: Any) -> str:
    return ", ".join(f"{question['name']} ({question['kind']})" for question in questions) or "nothing"
