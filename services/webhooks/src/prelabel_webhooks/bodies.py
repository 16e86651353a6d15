"""What callers send: checked as a whole, each error with the field it is about."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from prelabel_contract.base import Milliseconds, Model, Slug
from prelabel_contract.errors import FieldError, InvalidEvent
from prelabel_runtime.egress import EgressPolicy, Forbidden, check_headers, check_url
from prelabel_runtime.http.problems import Problem
from pydantic import Field, ValidationError, field_validator

from .handlers import TYPES

B = TypeVar("B", bound=Model)

_NOUNS = tuple(sorted({kind.partition(".")[0] for kind in TYPES}))
_SENDERS = frozenset({"content-type", "user-agent"})
MAX_OVERLAP_SECONDS = 30 * 86_400

Url = Annotated[str, Field(min_length=1, max_length=2048)]
Types = Annotated[tuple[str, ...], Field(max_length=100)]
Projects = Annotated[tuple[Slug, ...], Field(max_length=1000)]
Headers = Annotated[dict[str, str], Field(max_length=20)]
Rate = Annotated[float, Field(gt=0, le=10_000)]
Description = Annotated[str, Field(max_length=500)]


class _Filtered(Model):
    @field_validator("types", check_fields=False)
    @classmethod
    def _known(cls, types: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for kind in types or ():
            if kind not in TYPES and not (kind.endswith(".*") and kind[:-2] in _NOUNS):
                raise ValueError(
                    f"{kind!r} is no type of event; there are {', '.join(TYPES)}, and noun.* for all of one"
                )
        return types


class NewSubscription(_Filtered):
    """A webhook endpoint."""

    url: Url
    """Where events are posted to."""
    types: Types = ()
    """Types of events, such as prediction.created, or prediction.* for all about predictions. Empty: all."""
    projects: Projects = ()
    """Projects whose events are sent. Empty: all."""
    headers: Headers = Field(default_factory=dict)
    """Sent with every event; kept encrypted, and never shown again."""
    payload: Literal["full", "thin"] = "full"
    """full: all that the event says. thin: only what it is about; the rest is read over the API."""
    rate: Rate | None = None
    """At most so many events a second; null: as many as the endpoint takes."""
    signing: Literal["hmac", "ed25519"] = "hmac"
    """hmac: by a secret (v1). ed25519: verified by a public key, so that the receiver keeps no secret (v1a)."""
    ordered: bool = False
    """The events of a task in order, each kind (task.*, prediction.*, …) for itself: what follows waits."""
    description: Description = ""


class ChangedSubscription(_Filtered):
    """What is to change; what is left out stays."""

    url: Url | None = None
    types: Types | None = None
    projects: Projects | None = None
    headers: Headers | None = None
    """All headers anew."""
    payload: Literal["full", "thin"] | None = None
    rate: Rate | None = None
    """null takes the limit away."""
    description: Description | None = None
    state: Literal["disabled"] | None = None
    """disabled: send nothing until it is resumed."""


class Rotation(Model):
    """A new secret."""

    overlap_seconds: Annotated[float, Field(ge=0, le=MAX_OVERLAP_SECONDS)] | None = None
    """How long the old secrets sign beside the new one; null: as the service is set up, a day by default."""


class NewRecovery(Model):
    """Deliver again what happened in a time."""

    since_ms: Milliseconds
    """Events from this moment on, in milliseconds since 1970."""
    until_ms: Milliseconds | None = None
    """Events before this moment; null: until now."""
    deliveries: Literal["all", "failed"] = "all"
    """all: whatever the endpoint answered. failed: only what was given up."""


def validated(kind: type[B], body: Any) -> B:
    """A body as it should be. Raises `InvalidEvent`."""
    if not isinstance(body, dict):
        raise Problem(422, "invalid", "send a JSON object")
    try:
        return kind.model_validate(body, extra="forbid")
    except ValidationError as error:
        raise InvalidEvent.from_validation(error, what=kind.__doc__.partition(".")[0].lower()) from None  # type: ignore[union-attr]


def check_target(policy: EgressPolicy, url: str | None, headers: Mapping[str, str] | None) -> None:
    """Whether an endpoint may be called, as far as that shows without calling it. Raises a 422."""
    if url is not None:
        try:
            check_url(url, policy)
        except Forbidden as error:
            raise _wrong("/url", "forbidden_url", error.detail) from None
    if not headers:
        return
    try:
        check_headers(list(headers.items()))
    except Forbidden as error:
        raise _wrong("/headers", "forbidden_header", error.detail) from None
    for name in headers:
        if name.lower() in _SENDERS or name.lower().startswith("webhook-"):
            raise _wrong("/headers", "forbidden_header", f"the header {name} is set by Prelabel only")
    if len({name.lower() for name in headers}) != len(headers):
        raise _wrong("/headers", "forbidden_header", "a header is there twice: their names differ in more than case")


def _wrong(pointer: str, code: str, detail: str) -> Problem:
    return Problem(422, code, detail, [FieldError(pointer=pointer, detail=detail)])
