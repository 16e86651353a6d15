"""Where a provider's models live: a process of their own (`worker`), or a service that is called.

    predictor = ModelWorker("spacy")
    info = await predictor.start()
    async with predictor.turn(Lane.BULK):
        description = await predictor.load({"path": "/models/ner"})
        outcomes = await predictor.predict_each(key_of({"path": "/models/ner"}), inputs)

What keeps a model from being asked at all is told by class: `BadSettings` (with these settings it never loads),
`CannotStart` (interpreter, environment, address or provider are at fault, no input is), `CannotLoad` (a `CannotStart`
that is about this model). What one input does wrong is its own `Failed`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from prelabel_contract import names
from prelabel_contract.names import Lane
from pydantic import JsonValue

from .base import Description, Failed, Input


class CannotStart(Exception):
    """Nothing can be asked now. No input is at fault."""


class CannotLoad(CannotStart):
    """This model cannot be asked now: it dies or hangs when it is loaded."""


@dataclass(frozen=True, slots=True)
class ProviderInfo:
    """What a provider says about itself, without a model."""

    name: str
    package: str
    """Version of its package."""
    kinds: frozenset[str]
    settings_schema: Mapping[str, JsonValue]
    """JSON Schema of one model's settings."""
    writes: frozenset[str] = frozenset()
    """What files a trained version may have; none: nothing is trained for it here."""
    sources: frozenset[str] = frozenset()
    """Settings in whose place a trained version's `path` comes."""


@dataclass(frozen=True, slots=True)
class Told:
    """Regions as JSON, and what else an answer says: where that is nothing, the bytes alone are handed on."""

    regions: bytes
    version: str | None = None
    """The model's, where the answer names it: what is called may change behind its address."""
    uncertainty: float | None = None
    """0 to 1, where the provider gives it (`base.Predicted`)."""


LATE = Failed("deadline", "nobody waits for it any more")
"""Said of an input whose deadline passed. The whole of it counts: a service may say its first word of its own."""


def key_of(settings: Mapping[str, JsonValue]) -> str:
    """The name of a model within its predictor: the hash of its settings."""
    return names.content_hash(dict(settings))


class Predictor(ABC):
    """The models of one provider."""

    @abstractmethod
    async def start(self) -> ProviderInfo:
        """Get ready, and tell what the provider is. Raises `CannotStart`."""

    @abstractmethod
    async def stop(self) -> None:
        """Let go, after what is under way."""

    @abstractmethod
    def turn(self, lane: Lane, work: float = 1.0) -> AbstractAsyncContextManager[None]:
        """Hold a place for one batch of a lane, the most urgent first; as many are held at once as are worth it.

        `work` is its number of requests: lanes share by it (`lanes.Turns`).
        """

    @abstractmethod
    async def load(self, settings: Mapping[str, JsonValue]) -> Description:
        """Load a model, or tell what is known of it; its key is `key_of(settings)`.

        Raises `BadSettings` and `CannotStart`.
        """

    @abstractmethod
    def description(self, key: str) -> Description:
        """A model as it was loaded last. Raises KeyError for one that never was."""

    @abstractmethod
    async def predict_each(
        self, key: str, inputs: Sequence[Input], lane: Lane = Lane.BULK
    ) -> Sequence[bytes | Told | Failed]:
        """Per input its regions as JSON, or why there are none; only those are lost that cannot be predicted.

        Where several are asked at once, the more urgent lane goes first.

        Raises KeyError, `BadSettings` and `CannotStart`, which are no input's fault.
        """

    def seconds_each(self, key: str) -> float | None:
        """The model's own time per request, as it was of late, without any waiting; None: not known."""
        return None

    @property
    @abstractmethod
    def restarts(self) -> Mapping[str, int]:
        """How often it had to begin anew, by reason, since it was made."""

    @property
    def seconds(self) -> Mapping[str, float]:
        """For how long its models were `busy`, and had nothing to do (`idle`), since it was made. Empty: not known."""
        return {}
