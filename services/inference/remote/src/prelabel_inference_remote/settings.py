"""Settings of a remote model."""

from typing import Annotated, Literal, Self

from prelabel_contract.base import Name, Slug
from prelabel_contract.regions import KINDS
from prelabel_provider.base import ProviderSettings
from prelabel_provider.remote.secrets import Secret
from prelabel_runtime.egress_policy import Forbidden, read_url
from pydantic import AfterValidator, Field, JsonValue, StringConstraints, model_validator

from .templates import Template


def _readable(url: str) -> str:
    """Raises ValueError for what nobody could call: a host or a port that is none."""
    try:
        read_url(url)
    except Forbidden as error:
        raise ValueError(error.detail) from None
    return url


Url = Annotated[
    str,
    StringConstraints(
        pattern=r"^https?://(\[[0-9A-Fa-f:.]+\]|[^\s\\@#/?:\[\]]+)(:[0-9]{1,5})?([/?][^\s\\#]*)?$", max_length=2048
    ),
    AfterValidator(_readable),
    Field(json_schema_extra={"format": "http-url"}),
]
"""An address without user name, password and fragment; the schema names its format, so that the API refuses what nobody
could call. What may be called is the installation's to say."""
HeaderName = Annotated[str, StringConstraints(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,200}$")]
HeaderValue = Annotated[str, StringConstraints(pattern=r"^[\x20-\x7e]{0,4096}$")]
PlainName = Annotated[
    str,
    StringConstraints(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,200}$"),
    Field(json_schema_extra={"not": {"pattern": "^([Aa]uthorization|[Cc]ookie|[Xx]?-?[Aa][Pp][Ii]-?[Kk][Ee][Yy])$"}}),
]
"""A header that holds no secret: the usual ones for these are refused here."""


def _known(kind: str) -> str:
    if kind not in KINDS:
        raise ValueError(f"no kind of region; kinds are {', '.join(sorted(KINDS))}")
    return kind


Kind = Annotated[str, AfterValidator(_known), Field(json_schema_extra={"enum": sorted(KINDS)})]


class RateSettings(ProviderSettings):
    """What the service grants; all replicas together stay within it."""

    calls_per_second: Annotated[float, Field(gt=0, le=100_000)]
    """Calls, on average over any second; 0.5 is one call in two seconds."""
    name: Slug | None = None
    """Models with the same name share it. By default: those of the same host and secrets."""


class RestSettings(ProviderSettings):
    """A service, by its address; docs/remote-provider.md says what it is sent and what it answers."""

    url: Url
    """Where tasks are sent, by POST."""
    health_url: Url | None = None
    """Asked, by GET, before a service that failed gets a task again."""
    tasks_per_call: Annotated[int, Field(ge=1, le=1000)] = 1
    """1: one task in one call, in the single form. More: up to so many, in the batch form."""
    headers: Annotated[dict[PlainName, HeaderValue], Field(max_length=20)] = Field(default_factory=dict)
    """Headers that anybody may read."""
    secret_headers: Annotated[dict[HeaderName, Secret], Field(max_length=20)] = Field(default_factory=dict)
    """Headers that hold a secret, by its name: {"Authorization": {"secret": "NER_TOKEN", "prefix": "Bearer "}}."""
    parameters: Annotated[dict[Name, JsonValue], Field(max_length=100)] = Field(default_factory=dict)
    """Sent along with each call."""
    request: Template | None = None
    """Makes the body that is sent, as JMESPath on {"tasks", "task", "parameters"}."""
    response: Template | None = None
    """Makes an answer of ours, as JMESPath on {"body", "tasks"}."""
    match: Literal["id", "order"] = "id"
    """How answers find their tasks: by their ids, or as the n-th to the n-th, where there are as many."""
    kinds: Annotated[tuple[Kind, ...], Field(min_length=1)] | None = None
    """The kinds of region that it gives; null: it may give any."""
    version: Name | None = None
    """The model version of answers that name none; null: a hash of these settings."""
    attempt_seconds: Annotated[float, Field(gt=0, le=600)] = 8.0
    """For one attempt, to the last byte of its answer; never longer than `total_seconds`."""
    total_seconds: Annotated[float, Field(gt=0, le=3600)] = 120.0
    """From a task's first attempt to its last; a task's own deadline may be sooner."""
    attempts: Annotated[int, Field(ge=1, le=10)] = 4
    """Attempts at a task, while others are answered."""
    concurrency: Annotated[int, Field(ge=1, le=128)] = 128
    """Calls at once from one replica, at most. How many they are is found by trying."""
    rate: RateSettings | None = None
    """What the service grants; null: nobody knows, it is found by trying."""

    @model_validator(mode="after")
    def _told_apart(self) -> Self:
        if self.match == "order" and self.response is None and self.tasks_per_call > 1:
            raise ValueError("match by order is for answers that a response template makes")
        return self
