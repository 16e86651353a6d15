"""What a remote provider is: a kind of service that is called.

A remote provider is one class in a package of its own, found by the entry point `prelabel.remote_providers`. It is
loaded into the inference process and does no I/O of its own: it turns inputs into a request, hands it to `http`, and
turns what comes back into answers.

    load(settings)        once per model; opens nothing; raises `BadSettings`
    ask(batch, http)      one attempt at some inputs; what it lets out is what `http` raised

Everything else is written once, in the engine (`calls`): how many calls at once, rates, retries, deadlines, breakers,
costs, matching. So a provider

* repeats nothing, waits for nothing, and catches no failure of `http`
* names every answer by the id of its input: the engine knows what to do about those that are missing, unknown, double
* writes secrets as `Secret`, wherever a header takes a text; it never sees one
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Generic, Self, TypeVar

from ..base import Description, Input, Prediction, ProviderSettings
from .quota import Rate
from .secrets import Secret

S = TypeVar("S", bound=ProviderSettings)


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request."""

    method: str
    url: str
    headers: tuple[tuple[str, str | Secret], ...] = ()
    content: bytes = b""


@dataclass(frozen=True, slots=True)
class Response:
    """What a target answered with a status from 200 to 299."""

    status: int
    headers: Mapping[str, str]
    """By name in lower case."""
    body: bytes


class Http(ABC):
    """How a provider calls: one attempt, within the deadline of it."""

    @abstractmethod
    async def send(self, request: Request) -> Response:
        """Call a target. Raises `CallFailed` for every answer but 2xx, and where there is none."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a call cost, as far as its answer says."""

    units: Mapping[str, float] = field(default_factory=dict)
    """By their name: input_tokens, characters, …"""
    money: Mapping[str, float] = field(default_factory=dict)
    """By currency (ISO 4217)."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What a call was answered."""

    said: Sequence[tuple[str, Prediction]]
    """Ids of inputs (`Input.task`) with what was said about them, as they came."""
    version: str | None = None
    """The model version that said it, if the target tells."""
    cost: Cost = Cost()


@dataclass(frozen=True, slots=True)
class Calling:
    """How a target is called."""

    target: str
    """What lives and dies as one: an address, with the credential that it is called with."""
    tasks_per_call: int = 1
    """Inputs in one call of `ask` at most."""
    attempt_seconds: float = 8.0
    """For one attempt, to the last byte."""
    total_seconds: float = 120.0
    """From a task's first attempt to its last."""
    attempts: int = 4
    """Attempts at one task while its target answers others."""
    concurrency: int = 128
    """Calls at once, at most; how many it really are is found by trying."""
    rate: Rate | None = None
    """What the target grants to this credential, shared by all replicas; None: nobody knows."""

    def __post_init__(self) -> None:
        """Raises ValueError: who may not be called at all would be waited for without end."""
        counts = self.tasks_per_call, self.attempts, self.concurrency
        seconds = self.attempt_seconds, self.total_seconds
        granted = 1.0 if self.rate is None else self.rate.per_second
        if min(counts) < 1 or not all(one > 0 for one in (*seconds, granted)):
            raise ValueError("tasks per call, attempts and concurrency are 1 or more, seconds and a rate more than 0")


class RemoteProvider(ABC, Generic[S]):
    """One model of a remote provider."""

    name: ClassVar[str]
    """[a-z0-9-]{1,40}, the same as the entry point's."""
    kinds: ClassVar[frozenset[str]]
    """The kinds of region that models of this provider can give."""
    Settings: ClassVar[type[ProviderSettings]]
    """Settings of one model: they draw the form, validate the API and document themselves."""

    @classmethod
    @abstractmethod
    def load(cls, settings: S) -> Self:
        """Prepare a model; calls nobody. Raises `BadSettings`."""

    @abstractmethod
    def describe(self) -> Description:
        """What it can say, and the version that answers have which tell none."""

    @abstractmethod
    def calling(self) -> Calling:
        """How its target is called; the same as long as the model is loaded."""

    @abstractmethod
    async def ask(self, batch: Sequence[Input], http: Http) -> Answers:
        """Ask about inputs with ids (`Input.task`) of their own, once. Raises what `http` raises, and `CallFailed`."""

    async def check(self, http: Http) -> None:
        """Find out whether the target is there, where that costs less than a task: asked before a probe.

        Raises `CallFailed`. By default it is taken to be there.
        """
        return
