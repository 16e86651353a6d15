"""What the API answers, as frozen values. Fields that a later server adds are kept, and reachable by name."""

from typing import Any, Self

from prelabel_contract.base import READING
from prelabel_contract.blobs import BlobRef
from prelabel_contract.projects import Project as ProjectSpec
from prelabel_contract.regions import Region
from pydantic import BaseModel, ConfigDict, ValidationError

from .errors import Defect


class Result(BaseModel):
    """Base of all of them."""

    model_config = ConfigDict(frozen=True, extra="allow", protected_namespaces=())

    @classmethod
    def of(cls, value: Any) -> Self:
        """From JSON. Raises `Defect` for what is no such thing."""
        try:
            return cls.model_validate(value, context=READING)
        except ValidationError as error:
            where = "/".join(str(step) for step in error.errors(include_input=False)[0]["loc"])
            raise Defect(
                f"an answer was not understood ({cls.__name__}: {where}): is the server another version?"
            ) from None

    def json_value(self) -> dict[str, Any]:
        """As it was sent."""
        return self.model_dump(mode="json", exclude_unset=True)


class Project(Result):
    """A project as it is now."""

    id: str
    title: str = ""
    config: str
    """The hash of this configuration."""
    version: int
    label_set: dict[str, Any]
    models: tuple[dict[str, Any], ...] = ()

    @property
    def spec(self) -> ProjectSpec:
        """The contract's typed form, with questions, labels and models."""
        value = self.model_dump(mode="json", include={"id", "title", "label_set", "models"})
        return ProjectSpec.model_validate(value, context=READING)


class LineError(Result):
    """A line of an upload that was refused."""

    line: int
    reason: str = ""
    errors: tuple[dict[str, Any], ...] = ()

    @property
    def why(self) -> str:
        """One line for people."""
        told = "; ".join(f"{e.get('pointer') or '(line)'}: {e.get('detail', '')}" for e in self.errors)
        return told or self.reason


class Receipt(Result):
    """What an upload came to. All that was accepted is on the bus."""

    run: str
    accepted: int
    rejected: int
    errors: tuple[LineError, ...] = ()
    """The first hundred; `run_errors` gives all."""


class Taken(Result):
    """A task, annotation or deletion that was taken."""

    task: str | None = None
    id: str | None = None


class Prediction(Result):
    """What one model said about one task, or why it did not."""

    model: str
    provider: str | None = None
    outcome: str
    """created, pending, failed, cancelled, expired or superseded"""
    request: str | None = None
    version: str | None = None
    score: float | None = None
    uncertainty: float | None = None
    """How much the model doubts it, 0 to 1; None where it gave nothing to tell by."""
    regions: tuple[Region, ...] = ()
    reason: str | None = None
    detail: str | None = None
    superseded_by: str | None = None
    at_ms: int | None = None


class Predicted(Result):
    """A task that was predicted while one waited; `predictions` is None if it took too long."""

    task: str
    id: str | None = None
    predictions: tuple[Prediction, ...] | None = None


class Annotated(Result):
    """What a person said about a task."""

    annotation: str
    annotator: str
    at_ms: int | None = None
    regions: tuple[Region, ...] = ()
    skipped: bool = False
    ground_truth: bool = False


class Task(Result):
    """A task, with what was said about it as far as that was asked for."""

    task: str
    """Its uid."""
    id: str | None = None
    """Its caller's id."""
    data: dict[str, Any]
    """Its fields; one that is too large for a list is None in it, and told in `blobs`."""
    blobs: dict[str, BlobRef] = {}
    meta: dict[str, Any] = {}
    revision: int | None = None
    accepted_ms: int | None = None
    predictions: tuple[Prediction, ...] | None = None
    annotations: tuple[Annotated, ...] | None = None


class Counts(Result):
    """Tasks of a project, and its requests by model and state."""

    tasks: int
    models: dict[str, dict[str, int]] = {}


class Progress(Result):
    """How far a run is."""

    run: str
    project: str
    state: str
    """open, sealed, completed, failed or cancelled"""
    total: int | None = None
    """Lines; known once the upload is complete."""
    accepted: int
    rejected: int
    outcomes: dict[str, int] = {}
    opened_ms: int | None = None
    ended_ms: int | None = None
    reason: str | None = None

    @property
    def over(self) -> bool:
        """Nothing more will come."""
        return self.state not in ("open", "sealed")

    @property
    def requested(self) -> int:
        """Requests to models so far."""
        return sum(self.outcomes.values())

    @property
    def ended(self) -> int:
        """Requests that have an outcome."""
        return self.requested - self.outcomes.get("pending", 0)
