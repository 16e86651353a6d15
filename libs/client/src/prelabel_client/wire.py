"""Requests and answers as values, and the steps that a client performs. Nothing here does I/O.

What the clients have in common is written once, as generators of steps: they yield what is to be done and are sent
what came of it. `client.py` performs the steps with blocking calls, `async_client.py` with awaited ones.

    Send(request)    -> Reply | Lost            one whole exchange
    Open(request)    -> Reply | Lost            the same, but a good answer's body is then read piece by piece
    Read()           -> bytes | None | Lost     the next piece; None at the end
    Close()          -> None                    done with what was opened
    Wait(seconds)    -> None
    Give(item)       -> None                    an item for the caller
"""

import json
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Self, TypeVar
from urllib.parse import quote

from .errors import Defect
from .lines import Lines

T = TypeVar("T")
JSON = "application/json"
NDJSON = "application/x-ndjson"


@dataclass(frozen=True, slots=True)
class Request:
    """One request, without the address and the key."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | Lines | None = None
    repeatable: bool = False
    """Sent twice, it has the same effect as sent once."""
    patience: float | None = None
    """Seconds that an answer may take, where that is more than usual."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer. The body is empty while it is still to be read piece by piece."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes = b""

    def json(self) -> Any:
        """The body. Raises `Defect` if it is no JSON."""
        try:
            return json.loads(self.body or b"null")
        except ValueError:
            kind = self.headers.get("content-type", "something without a type")
            raise Defect(
                f"what answered is no Prelabel: it sent {kind} where JSON was expected", status=self.status
            ) from None


@dataclass(frozen=True, slots=True)
class Lost:
    """No answer, or not all of it."""

    why: str
    sent: bool
    """False: nothing can have arrived."""


@dataclass(frozen=True, slots=True)
class Send:
    """Exchange a request for an answer."""

    request: Request


@dataclass(frozen=True, slots=True)
class Open:
    """Exchange a request for an answer whose body is then read."""

    request: Request


@dataclass(frozen=True, slots=True)
class Read:
    """Read the next piece of the body."""


@dataclass(frozen=True, slots=True)
class Close:
    """Close what was opened."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Do nothing for some seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Give:
    """Hand an item to the caller."""

    item: Any


Step = Send | Open | Read | Close | Wait | Give
Steps = Generator[Step, Any, T]


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """A request, and how to read its answer."""

    request: Request
    read: Callable[[Reply], T]

    def on(self, **query: str | None) -> Self:
        """The same with more in its query."""
        added = {name: value for name, value in query.items() if value is not None}
        return replace(self, request=replace(self.request, query={**self.request.query, **added}))


def path(*parts: str) -> str:
    """An address below /v1: what people named may hold anything, a slash included."""
    return "/v1/" + "/".join(quote(part, safe="") for part in parts)


def query(**values: str | int | bool | None) -> dict[str, str]:
    """A query without what is not given."""
    shown = {True: "true", False: "false"}
    return {
        name: shown[value] if isinstance(value, bool) else str(value)
        for name, value in values.items()
        if value is not None
    }


def get(where: str, read: Callable[[Any], T], **values: str | int | bool | None) -> Call[T]:
    """Read something."""
    request = Request("GET", where, query=query(**values), repeatable=True)
    return Call(request, lambda reply: read(reply.json()))


def send(
    method: str,
    where: str,
    read: Callable[[Any], T],
    body: Any = None,
    *,
    asked: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    repeatable: bool | None = None,
    patience: float | None = None,
) -> Call[T]:
    """Change something. PUT and DELETE may be repeated, POST and PATCH only where the call says so."""
    request = Request(
        method,
        where,
        query=asked or {},
        headers={**({"Content-Type": JSON} if body is not None else {}), **(headers or {})},
        body=None if body is None else encoded(body),
        repeatable=method in ("PUT", "DELETE") if repeatable is None else repeatable,
        patience=patience,
    )
    return Call(request, lambda reply: read(reply.json()))


def encoded(value: Any) -> bytes:
    """A value as JSON. Raises ValueError for what JSON cannot say."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
