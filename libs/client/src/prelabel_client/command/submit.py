"""`prelabel submit FILE`: hand in a file, and watch what becomes of it."""

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import Refused
from ..readers import Reading, Source, source
from .exits import DATA, Ended
from .failures import Failures, failures, tell
from .options import Json, Profile, Project
from .output import Out, clean, progress
from .session import meant, session

if TYPE_CHECKING:
    from ..client import Client
    from ..models import LineError, Progress, Receipt

SHOWN = 20
"""Refused lines that are shown."""


def submit(
    file: Annotated[str, typer.Argument(help="A file, a folder, or - for standard input.")],
    project: Project = None,
    format_: Annotated[
        str | None, typer.Option("--format", help="jsonl, json, csv, tsv or txt; else by the suffix.", metavar="FORMAT")
    ] = None,
    text_column: Annotated[
        str | None, typer.Option("--text-column", help="CSV: the column that is the text.", metavar="COLUMN")
    ] = None,
    id_column: Annotated[
        str | None, typer.Option("--id-column", help="CSV: the column that is the task's id.", metavar="COLUMN")
    ] = None,
    field: Annotated[str, typer.Option("--field", help="The field of the data that a text becomes.")] = "text",
    delimiter: Annotated[str | None, typer.Option("--delimiter", help="CSV: what stands between columns.")] = None,
    whole: Annotated[bool, typer.Option("--whole", help="TXT: one task, instead of one for each line.")] = False,
    bare: Annotated[bool, typer.Option("--bare", help='JSON: each object is the data, as {"text": "…"}.')] = False,
    encoding: Annotated[str, typer.Option("--encoding", help="Of CSV, TXT and JSON.")] = "utf-8-sig",
    lane: Annotated[str, typer.Option("--lane", help="bulk or backfill (which waits for all others).")] = "bulk",
    key: Annotated[
        str | None,
        typer.Option("--key", help="Idempotency-Key; else made of the content: the same file again adds nothing."),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Wait until every model has answered.")] = False,
    profile: Profile = None,
    json: Json = False,
) -> None:
    """Hand in tasks from a file or a folder, and watch them.

    It reads JSONL, JSON, CSV, TXT, and a folder with a file for each task. Lines that are refused are shown with their
    reasons, the others are taken; the exit code is 1 then. Handing the same file in again adds nothing. With --watch it
    says too why tasks got no prediction, the commonest reasons first.

    \b
    Example:
      prelabel submit mails.csv --project mails --text-column body --watch
      prelabel submit mails.jsonl --watch --json
      printf 'Return a dict.\\nOpen a socket.\\n' | prelabel submit - --format txt
    """
    reading = Reading(
        format=_format(format_),
        field=field,
        text_column=text_column,
        id_column=id_column,
        delimiter=delimiter,
        whole=whole,
        bare=bare,
        encoding=encoding,
    )
    out = Out(json=json)
    with session(profile) as client:
        where = meant(client, project)
        tasks = source(file, reading)
        _check_columns(client, where, tasks)
        tasks.check()
        receipt = _upload(out, client, where, tasks, key, lane)
        try:
            seen = _watched(out, client, where, receipt) if watch else None
        except KeyboardInterrupt:
            out.note(f"it goes on without you: prelabel runs --project {where} {receipt.run}")
            raise
        wrong = list(islice(client.run_errors(where, receipt.run), SHOWN)) if seen and seen.rejected else receipt.errors
        missing = Failures() if seen is None else failures(client, where, seen)
    _tell(out, where, tasks, receipt, seen, list(wrong), missing)
    failed = seen is not None and (seen.state != "completed" or seen.ended > seen.outcomes.get("created", 0))
    if receipt.rejected or tasks.refused_rows or failed or (seen and seen.rejected):
        raise Ended(DATA)


def _format(name: str | None) -> Any:
    if name not in (None, "jsonl", "json", "csv", "tsv", "txt"):
        raise Refused(f"--format {name}: use jsonl, json, csv, tsv or txt")
    return name


def _check_columns(client: "Client", project: str, tasks: Source) -> None:
    """A table without the column that the project asks about would fail row by row."""
    found = client.project(project)
    columns = tasks.columns()
    if columns is None:
        return
    there = {*columns} - {tasks.reading.text_column} | ({tasks.reading.field} if tasks.reading.text_column else set())
    asked = {str(question.get("field")) for question in found.label_set.get("questions", ())}
    if missing := asked - there:
        raise Refused(
            f"the project {project} asks about {', '.join(sorted(missing))}, {tasks.name} has {', '.join(columns)}: "
            "say --text-column"
        )


def _upload(out: Out, client: "Client", project: str, tasks: Source, key: str | None, lane: str) -> "Receipt":
    with progress(quiet=out.json) as bar:
        shown = bar.add_task("handing in", total=tasks.size, said="")

        def watched() -> Iterator[bytes]:
            for line in tasks:
                yield line
                if tasks.rows % 500 == 0:
                    bar.update(shown, completed=tasks.position, said=_rate(bar, shown, tasks.rows))
            bar.update(shown, description="sent, being taken in", completed=tasks.position)

        return client.submit(project, _Again(watched), key=key or tasks.key(), lane=lane)  # type: ignore[arg-type]


class _Again:
    """An iterable that begins anew each time."""

    def __init__(self, start: Any) -> None:
        self._start = start

    def __iter__(self) -> Iterator[bytes]:
        found: Iterator[bytes] = self._start()
        return found


def _rate(bar: Any, shown: Any, done: int) -> str:
    task = bar.tasks[shown]
    share = task.completed / done if done else 0  # of what the bar counts, which may be bytes
    return f"{done:,}" + (f", {task.speed / share:,.0f}/s" if task.speed and share else "")


def _watched(out: Out, client: "Client", project: str, receipt: "Receipt") -> "Progress":
    with progress(quiet=out.json) as bar:
        shown = bar.add_task("predicting", total=None, said="")
        seen: Progress | None = None
        models = max(1, len(client.project(project).models))
        for seen in client.follow(project, receipt.run, appear=60.0):
            lines = seen.total if seen.total is not None else receipt.accepted
            total = max(seen.requested, models * max(0, lines - seen.rejected))
            bar.update(shown, completed=seen.ended, total=total, said=_rate(bar, shown, seen.ended))
        return seen if seen is not None else client.run(project, receipt.run)


def _tell(
    out: Out,
    project: str,
    tasks: Source,
    receipt: "Receipt",
    seen: "Progress | None",
    wrong: "list[LineError]",
    missing: Failures,
) -> None:
    rejected = max(receipt.rejected, seen.rejected if seen else 0) + tasks.refused_rows
    if out.json:
        here = [{"line": line, "reason": "unreadable", "errors": [{"detail": why}]} for line, why in tasks.refused]
        value = {**receipt.json_value(), "rejected": rejected, "errors": [*here, *(e.json_value() for e in wrong)]}
        failed = [one.json_value() for one in missing.reasons]
        watched = {} if seen is None else {"progress": seen.json_value(), "failures": failed}
        out.value({**value, "project": project, **watched})
        return
    for line, why in [*tasks.refused, *((error.line, error.why) for error in wrong)][:SHOWN]:
        out.note(f"  line {line}: {clean(why)}")
    if rejected > SHOWN:
        out.note(f"  … and {rejected - SHOWN} more: prelabel runs --project {project} --errors {receipt.run}")
    tell(out, project, receipt.run, missing)
    summary: dict[str, Any] = {"project": project, "run": receipt.run}
    summary |= {"accepted": seen.accepted if seen else receipt.accepted, "refused": rejected}
    if seen is not None:
        summary |= {"state": seen.state, **dict(Counter(seen.outcomes))}
        if seen.ended_ms and seen.opened_ms:
            summary["seconds"] = (seen.ended_ms - seen.opened_ms) / 1000
    out.fields(summary)
