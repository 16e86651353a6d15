"""What a provider is: a kind of model host.

A provider is one class in a package of its own, found by the entry point `prelabel.providers`. It says what it is
(name, settings, the kinds of region it gives) and does two things, both plain blocking Python:

    load(settings)     once per model, in a worker process of its own; may take its time; raises `BadSettings`
    predict(batch)     as often as needed, never concurrently within one process; one outcome per input, in order

Everything around it is written once, in the runtime: batching, the worker process, label mapping, thresholds, offset
checks, lineage, publishing. So a provider

* speaks its own label words; the project's mapping turns them into the label set's
* leaves `field` and `question` of its regions empty, unless it reads several fields
* gives raw scores in 0..1, or None where the model has none (never 1.0 for "unknown")
* gives the uncertainty of an answer where it knows more than the scores tell, or leaves it out
* counts text offsets in Unicode code points: what Python's own strings do
* answers `Failed` for an input that it cannot handle, and raises only when no input can be handled any more
* gives the same `version` for the same behaviour: name and version of what was loaded, and a hash of its content
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Generic, Self, TypeVar

import msgspec
from prelabel_contract.base import Model
from prelabel_contract.regions import Region
from pydantic import ConfigDict, JsonValue

ENTRY_POINTS = "prelabel.providers"
"""The entry point group by which providers are found; the entry's name is the provider's."""
REMOTE_ENTRY_POINTS = "prelabel.remote_providers"
"""The same for providers whose models are called (`remote.base`)."""


class ProviderSettings(Model):
    """Base of every provider's settings of one model. Unknown settings are refused: they would have no effect."""

    model_config = ConfigDict(extra="forbid")


S = TypeVar("S", bound=ProviderSettings)


class Input(msgspec.Struct, frozen=True, gc=False):  # made in a third of a dataclass's time, twice for every task
    """One task as a model sees it."""

    task: str
    """The task's uid: for ledgers and logs, not for the model."""
    data: Mapping[str, JsonValue]
    """The fields that the model's questions are asked about."""
    field: str
    """The field of the model's first question."""
    deadline_ms: int | None = None
    """Nobody waits for the answer after this moment (since 1970); None: somebody always does."""

    @property
    def text(self) -> str:
        """The text of `field`. Raises ValueError if it is missing or no text: say so by a `Failed`."""
        value = self.data.get(self.field)
        if not isinstance(value, str):
            raise ValueError(f"field {self.field!r} is not a text")
        return value


@dataclass(frozen=True, slots=True)
class Predicted:
    """What the model said; no regions is an answer too."""

    regions: tuple[Region, ...] = ()
    uncertainty: float | None = None
    """How unsure the model is of all of it, 0 to 1 (`uncertainty`, `shares`); None: what the scores say."""


class PredictedJson(msgspec.Struct, frozen=True, gc=False):  # made in a fifth of a dataclass's time
    """What the model said, written already: for models whose own work takes no longer than building regions does."""

    regions: bytes
    """A JSON list of regions, as the contract reads it."""
    uncertainty: float | None = None
    """As `Predicted`'s."""


@dataclass(frozen=True, slots=True)
class Failed:
    """This input cannot be predicted by this model, now or later."""

    reason: str
    """A word for machines: input, too_long, language, …"""
    detail: str = ""
    """A sentence for people, without the input's content."""


Prediction = Predicted | PredictedJson | Failed


@dataclass(frozen=True, slots=True)
class BatchShape:
    """How a model likes its inputs: what one call of `predict` gets at most."""

    records: int = 256
    """Inputs in one call, 1 or more. Urgent work waits for one such call: a slow model says few."""
    size: int | None = None
    """Where padding costs: inputs in one call times the largest of them, in what `size_of` counts.

    They come sorted by size then, so that like meets like; None: in the order in which they arrived.
    """
    characters: int = 1_000_000
    """Of text in one call. One input that has more comes alone, after the others that were asked with it."""

    def __post_init__(self) -> None:
        """Raises ValueError: calls of nothing would never end."""
        for name, least in (("records", self.records), ("size", self.size), ("characters", self.characters)):
            if least is not None and least < 1:
                raise ValueError(f"{name} must be 1 or more")


class BadSettings(Exception):
    """The model cannot be loaded with these settings; the message says which and what would be right."""


@dataclass(frozen=True, slots=True)
class Description:
    """What a loaded model says about itself."""

    version: str
    kinds: frozenset[str]
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Labels it may give, by kind of region; a kind that is missing is open."""
    runs_on: str = field(default="", compare=False)
    """What computes, for people and logs: cpu, 2 threads; cuda:0, bf16. It changes nothing that is said."""


class Provider(ABC, Generic[S]):
    """One loaded model of a provider."""

    name: ClassVar[str]
    """[a-z0-9-]{1,40}, the same as the entry point's."""
    kinds: ClassVar[frozenset[str]]
    """The kinds of region that models of this provider can give."""
    Settings: ClassVar[type[ProviderSettings]]
    """Settings of one model: they draw the form, validate the API and document themselves."""
    batch: ClassVar[BatchShape] = BatchShape()
    """What one call of `predict` gets; one input that is larger than `size` comes alone."""

    @classmethod
    @abstractmethod
    def load(cls, settings: S) -> Self:
        """Load a model. Raises `BadSettings`."""

    @abstractmethod
    def describe(self) -> Description:
        """The loaded model's version and what it can say."""

    @abstractmethod
    def predict(self, batch: Sequence[Input]) -> Sequence[Prediction]:
        """One prediction per input, in order."""

    def warm(self) -> None:
        """Called once after `load`, before the model counts as loaded: what is slow the first time happens here.

        By default a tiny text is predicted, and what comes of it ignored.
        """
        self.predict([Input("", {"text": "Ready?"}, "text")])

    def size_of(self, one: Input) -> int:
        """What an input costs the model, in its own unit (tokens, say): asked only where `batch` has a size.

        By default the characters of its text.
        """
        value = one.data.get(one.field)
        return len(value) if isinstance(value, str) else 1
