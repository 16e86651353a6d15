"""What a trainer is: what makes a provider's models out of examples.

A trainer is one class in its provider's package, found by the entry point `prelabel.trainers` under the provider's
name. It does one thing, plain blocking Python in a child process of its own that may be killed at any moment:

    train(job, report)     files into `job.folder`, and what they are; or raises `CannotTrain`

Everything around it is written once, in the runtime: which examples there are, when to train, the lease, limits of time
and memory, cancelling (the process is killed), the model store, the hold-out, the gate. So a trainer

* trains on the examples of the job and on nothing else; it never sees the hold-out, and splits off a part of its own
  where it stops early
* writes below `job.folder` only, files that its `writes` allows, none of them a pickle; what it says it wrote is all
  that is there, under relative names with slashes
* gives the same files for the same job (examples in the same order, settings, seed, base, threads), as far as its
  library can: whatever is random comes from `job.seed`
* leaves `job.base` as it is: other processes serve it
* answers regions as the label set names them: its models need no mapping
* says what it cannot train on by `CannotTrain` before it starts to compute; any other error is a defect
* reports now and then, seldom more than once a second: a trainer that says nothing for long is not taken for dead
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

from prelabel_contract.base import Model
from prelabel_contract.projects import Question
from prelabel_contract.regions import Region
from pydantic import ConfigDict, JsonValue, ValidationError

CHECKPOINTS = "checkpoints"
"""A folder in a job's folder that the next attempt finds where this one was killed, on the same machine: a trainer that
writes there whence it would go on trusts nothing in it, and leaves none of it when it is done."""
_UNKNOWN = "extra_forbidden"  # pydantic's word
ENTRY_POINTS = "prelabel.trainers"
"""The entry point group by which trainers are found; the entry's name is the provider's."""


class TrainerSettings(Model):
    """Base of every trainer's settings of one model. Unknown settings are refused: they would have no effect."""

    model_config = ConfigDict(extra="forbid")


S = TypeVar("S", bound=TrainerSettings)


@dataclass(frozen=True, slots=True)
class Example:
    """What people said about one task."""

    task: str
    """The task's uid: for logs and for splits by hash, not for the model."""
    data: Mapping[str, JsonValue]
    """The fields that the model's questions are asked about, whole."""
    regions: tuple[Region, ...]
    """Of the model's questions only, labels of the label set only. None is an answer too."""
    weight: float = 1.0
    """How much it counts beside the others, over 0."""


@dataclass(frozen=True, slots=True)
class Job:
    """One training, complete: nothing else decides what comes of it."""

    examples: tuple[Example, ...]
    label_set: tuple[Question, ...]
    """The questions that the model answers."""
    folder: Path
    """There and the trainer's own, empty except for CHECKPOINTS: what is written here becomes the artifact."""
    seed: int
    """0 to 2^32 - 1: what numerical libraries take."""
    settings: Mapping[str, JsonValue] = field(default_factory=dict)
    base: Path | None = None
    """The files of the version that is trained further, checked, not to be changed; None: from the start."""
    threads: int = 1
    """Threads of numerical libraries, 1 or more."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a training is."""

    step: int
    """Done so far, 0 to `steps`."""
    steps: int
    """In all, as far as is known; early stopping may end before."""
    loss: float | None = None
    score: float | None = None
    """On the trainer's own part of the examples, 0 to 1; None where nothing was scored (never 0.0 for "unknown")."""
    seconds_left: float | None = None
    """None: unknown."""


@dataclass(frozen=True, slots=True)
class Trained:
    """What came of a training."""

    files: tuple[str, ...]
    """Every file of the artifact: names below the job's folder, relative, with slashes."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """What the trainer measured on its own part of the examples: for people; the gate measures for itself."""
    libraries: Mapping[str, str] = field(default_factory=dict)
    """Versions of what the files depend on, by distribution: {"scikit-learn": "1.7.2"}."""


class CannotTrain(Exception):
    """There is no model in these examples with these settings, now or on another try."""

    def __init__(self, reason: str, detail: str) -> None:
        """`reason`: a word for machines: too_few, single_class, overlapping_spans, no_label_known, settings, …

        `detail`: a sentence for people that says what would help, without any example's content.
        """
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class Trainer(ABC, Generic[S]):
    """Makes models of one provider. Its object holds nothing between two trainings."""

    name: ClassVar[str]
    """The provider's, the same as the entry point's."""
    kinds: ClassVar[frozenset[str]]
    """The kinds of region that it learns from."""
    Settings: ClassVar[type[TrainerSettings]]
    """Settings of one training: they draw the form, validate the API and document themselves."""
    writes: ClassVar[frozenset[str]]
    """The files an artifact of it may have: suffixes (".json") and whole last names ("tokenizer"). The provider loads
    nothing else."""
    source_settings: ClassVar[frozenset[str]] = frozenset({"path"})
    """The provider's settings that say which model is loaded, and how it is read. A trained version is loaded with
    `path` in their place: the folder of the artifact, which says the rest itself."""

    @abstractmethod
    def train(self, job: Job, report: Callable[[Progress], None]) -> Trained:
        """Train one model. Raises `CannotTrain`."""

    def base_of(self, settings: Mapping[str, JsonValue]) -> Path | None:
        """The folder of the model that a model's settings name, where it can be trained further; None: it cannot.

        Raises `CannotTrain` where it is not to be had.
        """
        return None

    def settings(self, job: Job) -> S:
        """The job's settings, checked. Raises `CannotTrain`."""
        try:
            return self.Settings.model_validate(dict(job.settings))  # type: ignore[return-value]  # a class variable cannot name S
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(str(part) for part in first["loc"])
            known = ", ".join(self.Settings.model_fields)
            said = f"there is no such setting; there are {known}" if first["type"] == _UNKNOWN else first["msg"]
            raise CannotTrain("settings", f"training.settings: {place}: {said}") from None
