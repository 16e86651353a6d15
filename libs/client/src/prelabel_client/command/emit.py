"""`prelabel emit`: hand in CloudEvents as an upstream system would."""

import json as _json
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import NotFound, Refused
from .options import Json, Profile
from .output import Out
from .session import session

if TYPE_CHECKING:
    from ..client import Client

BATCH = 100
"""Events in one request."""


def emit(
    source: Annotated[str, typer.Argument(help="The inbound source, as Prelabel's settings name it.")],
    file: Annotated[str, typer.Argument(help="Events as JSON: one, an array, or one a line; - for standard input.")],
    profile: Profile = None,
    json: Json = False,
) -> None:
    """Hand in CloudEvents as an upstream system does.

    What becomes of them is told by events.

    \b
    Example:
      prelabel emit crm tasks.jsonl
    """
    out = Out(json=json)
    taken = 0
    with session(profile) as client:
        events = iter(_events(file))
        while batch := list(islice(events, BATCH)):
            taken += _emitted(client, source, batch)
    if json:
        out.value({"accepted": taken})
    out.note(f"{taken} events taken")


def _emitted(client: "Client", source: str, batch: list[dict[str, Any]]) -> int:
    try:
        return client.emit(source, *batch)
    except NotFound as error:
        do = "Prelabel is told its sources at its start, by PRELABEL_INGESTION_INBOUND"
        raise NotFound(f"{error.detail}: {do}", code=error.code, status=error.status) from None


def _events(file: str) -> Iterator[dict[str, Any]]:
    text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    try:
        whole = _json.loads(text)
    except ValueError:
        yield from (_event(f"{file}, line {number}", line) for number, line in _lines(text))
        return
    for one in whole if isinstance(whole, list) else [whole]:
        yield _object(file, one)


def _lines(text: str) -> Iterator[tuple[int, str]]:
    return ((number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip())


def _event(where: str, line: str) -> dict[str, Any]:
    try:
        return _object(where, _json.loads(line))
    except ValueError as error:
        raise Refused(f"{where} is no JSON: {error}") from None


def _object(where: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Refused(f"{where} is no JSON object")
    return value
