"""A project: what may be said about its data (label set) and who says it first (models).

What is checked here beyond the shapes is checked at doors. A project that is read from a log or a store
(`context=base.READING`) was checked by its writer, perhaps by a later version that knows more kinds.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from . import names
from .base import Json, Model, Name, NotEmpty, Score, Slug, reading
from .errors import FieldError, pointer
from .limits import MAX_PROJECT_BYTES
from .regions import KINDS, Choice, Pairwise, Rating, RegionBase, Relation, Taxonomy, Text
from .tasks import json_size

MAX_LISTED = 10
"""At most so many names are listed in a message."""


class Label(Model):
    """An answer to a question. `value` is what regions carry; `title` is what people read, if it differs."""

    value: Name
    title: Name | None = None
    parent: Name | None = None
    """The label above, in a taxonomy."""


class Question(Model):
    """One thing asked about one field of the data."""

    name: Name
    kind: str
    """The kind of region that answers it."""
    also: tuple[str, ...] = ()
    """Further kinds that answer it: one set of labels for boxes and for polygons."""
    field: Name
    """The field of the data it is asked about."""
    other_field: Name | None = None
    """The field that `field` is compared with (pairwise only)."""
    labels: tuple[Label, ...] = ()
    """The labels to choose from. Empty: the question takes regions without labels (a text, a number)."""
    multiple: bool = True
    """More than one label may be chosen. Options without effect are refused: it belongs to choices only."""
    max_rating: Annotated[int, Field(ge=1)] | None = None
    """The highest rating (rating only)."""

    @property
    def kinds(self) -> tuple[str, ...]:
        """Every kind of region that answers it, the usual one first."""
        return (self.kind, *self.also)

    @property
    def fields(self) -> tuple[str, ...]:
        """Every field of the data that it needs."""
        return (self.field,) if self.other_field is None else (self.field, self.other_field)

    @field_validator("kind")
    @classmethod
    def _known(cls, kind: str, info: ValidationInfo) -> str:
        if kind not in KINDS and not reading(info):
            raise ValueError(f"{kind!r} is not a kind of region; kinds are {', '.join(sorted(KINDS))}")
        return kind

    @field_validator("also")
    @classmethod
    def _all_known(cls, also: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        for kind in also:
            cls._known(kind, info)
        return also

    @field_validator("labels", mode="before")
    @classmethod
    def _short_form(cls, labels: object) -> object:
        if isinstance(labels, (list, tuple)):
            return tuple({"value": label} if isinstance(label, str) else label for label in labels)
        return labels

    @model_validator(mode="after")
    def _consistent(self, info: ValidationInfo) -> Self:
        if not reading(info) and (wrong := next(self._inconsistent(), None)):
            raise ValueError(f"question {self.name!r} {wrong}")
        return self

    def _inconsistent(self) -> Iterator[str]:
        # In a taxonomy, "other" may stand under several parents.
        tree = self.kind == "taxonomy"
        listed = Counter((label.parent if tree else None, label.value) for label in self.labels)
        for (_, value), times in listed.items():
            if times > 1:
                yield f"names the label {value!r} twice"
        if self.kind == "choice" and not self.labels:
            yield "asks for a choice and gives no labels"
        if not self.multiple and self.kind != "choice":
            yield "says multiple = false, which has an effect on choices only"
        if self.max_rating is not None and self.kind != "rating":
            yield "gives max_rating, which has an effect on ratings only"
        if self.other_field is not None and self.kind != "pairwise":
            yield "gives other_field, which has an effect on pairwise comparisons only"
        if tree:
            known = {label.value for label in self.labels}
            for label in self.labels:
                if label.parent is not None and label.parent not in known:
                    yield f"puts {label.value!r} under {label.parent!r}, which is not one of its labels"


class LabelSet(Model):
    """All questions of a project."""

    questions: Annotated[tuple[Question, ...], NotEmpty()]

    @model_validator(mode="after")
    def _names_once(self, info: ValidationInfo) -> Self:
        if not reading(info) and (name := _twice(question.name for question in self.questions)):
            raise ValueError(f"two questions have the name {name!r}")
        return self

    def question(self, name: str) -> Question | None:
        """The question of that name."""
        return next((q for q in self.questions if q.name == name), None)

    def errors(self, regions: tuple[RegionBase, ...], *, at: str = "/regions") -> Iterator[FieldError]:
        """What this label set does not allow in some regions.

        Doors ask this before they take an annotation, and the runtime before it publishes a prediction.
        """
        ids = {region.id for region in regions if region.id is not None}
        for index, region in enumerate(regions):
            question = self.question(region.question)
            if question is None:
                asked = listing(q.name for q in self.questions)
                detail = f"{region.question[:200]!r} is not a question of the label set; questions are {asked}"
                yield FieldError(pointer=at + pointer((index, "question")), detail=detail)
                continue
            for check in (_place, _labels, _values):
                for step, detail in check(question, region):
                    yield FieldError(pointer=at + pointer((index, step)), detail=detail)
            for step, detail in _ends(region, ids):
                yield FieldError(pointer=at + pointer((index, step)), detail=detail)


_Wrong = Iterator[tuple[str, str]]


def _place(question: Question, region: RegionBase) -> _Wrong:
    kind = str(getattr(region, "kind", ""))
    if kind not in question.kinds:
        yield (
            "kind",
            f"question {question.name!r} takes regions of kind {listing(question.kinds)}, not {kind[:200]!r}",
        )
    if region.field not in question.fields:
        asked = listing(question.fields)
        yield "field", f"question {question.name!r} is asked about field {asked}, not {region.field[:200]!r}"


def _labels(question: Question, region: RegionBase) -> _Wrong:
    if not question.labels:
        return
    allowed = {label.value for label in question.labels}
    for label in region.labels:
        if label not in allowed:
            yield "labels", f"{label!r} is not a label of {question.name!r}; labels are {listing(allowed)}"
            return
    if isinstance(region, Choice) and not question.multiple and len(region.labels) > 1:
        yield "labels", f"question {question.name!r} takes one label"
    if isinstance(region, Taxonomy):
        steps = {(label.parent, label.value) for label in question.labels}
        for path in region.paths:
            if not path or not steps.issuperset(zip((None, *path), path, strict=False)):
                yield "paths", f"{' / '.join(path)[:500]!r} is not a path from the root of {question.name!r}"


def _values(question: Question, region: RegionBase) -> _Wrong:
    if isinstance(region, Rating) and question.max_rating is not None and region.rating > question.max_rating:
        yield "rating", f"question {question.name!r} goes up to {question.max_rating}"
    if isinstance(region, Pairwise) and region.selected not in ("left", "right"):
        yield "selected", "selected is left or right"
    if isinstance(region, Relation) and region.direction not in ("left", "right", "bi"):
        yield "direction", "direction is left, right or bi"


def _ends(region: RegionBase, ids: set[str]) -> _Wrong:
    pointed: dict[str, str | None] = {}
    if isinstance(region, Relation):
        pointed = {"from_id": region.from_id, "to_id": region.to_id}
    elif isinstance(region, Text):
        pointed = {"of": region.of}
    for end, id_ in pointed.items():
        if id_ is not None and id_ not in ids:
            yield end, "no region of this list has that id"


def listing(said: Iterable[str]) -> str:
    """Some names for a message, at most MAX_LISTED of them."""
    ordered = sorted(set(said))
    more = f" and {len(ordered) - MAX_LISTED} more" if len(ordered) > MAX_LISTED else ""
    return ", ".join(ordered[:MAX_LISTED]) + more


def _twice(said: Iterable[str]) -> str | None:
    return next((name for name, times in Counter(said).items() if times > 1), None)


class ModelTraining(Model):
    """How a model learns from what people submit."""

    every_n: Annotated[int, Field(ge=1)] | None = 20
    """New examples that start a training. Null: their number starts none."""
    quiet_seconds: Annotated[float, Field(gt=0, le=86_400)] | None = 30.0
    """A training starts when something is new and nothing more came for so long. Null: silence starts none."""
    schedule_seconds: Annotated[float, Field(gt=0)] | None = None
    """From one training to the next, if anything is new. Null: no schedule."""
    minimum: Annotated[int, Field(ge=1)] = 10
    """Examples, held-out ones not counted, below which nobody trains."""
    start: Literal["blank", "settings", "serving"] = "blank"
    """From nothing, from the model that the settings name, or from the version that serves."""
    settings: dict[str, Json] = Field(default_factory=dict)
    """By the trainer's own settings class."""
    margin: Annotated[float, Field(ge=0, le=0.5)] = 0.01
    """By how much a version may be worse than the serving one and still be promoted: what chance alone explains."""
    time_seconds: Annotated[float, Field(gt=0, le=7 * 86_400)] = 3600.0
    """After which a training is ended."""
    memory_mib: Annotated[int, Field(ge=64)] | None = None
    """Of the training's process; unlimited unless set."""


class Learning(Model):
    """What a project's models learn from, and what they are judged by."""

    policy: Literal["reviewed", "latest", "majority"] = "latest"
    """Which of a task's annotations is its example; a ground truth always goes before the others."""
    holdout: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """Share of the tasks that no model learns from. Settled at the project's first training."""
    blind: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Further share of the tasks that annotators are shown without suggestions, beside the hold-out."""
    repredict: Literal["open", "none"] = "open"
    """After a promotion: ask the new version about every task without an annotation, or about none."""


class ModelSpec(Model):
    """A provider plus settings under a name in a project; several of one provider are allowed."""

    name: Slug
    provider: Slug
    settings: dict[str, Json] = Field(default_factory=dict)
    """By the provider's own settings class."""
    questions: tuple[Name, ...] = ()
    """The questions that it answers, at most one of each kind. Empty: every question it can answer."""
    labels: dict[Name, Name | None] = Field(default_factory=dict)
    """The provider's label -> the label set's; null drops the region. What is not listed keeps its name."""
    threshold: Score | None = None
    """Regions with a lower score are marked, never removed."""
    training: ModelTraining | None = None
    """Null: it learns when somebody asks for a training, with the usual rules, and never by itself."""


class Project(Model):
    """A project as it is at one moment; its content hash names that moment for ever."""

    id: Slug
    title: Annotated[str, Field(max_length=200)] = ""
    label_set: LabelSet
    models: Annotated[tuple[ModelSpec, ...], Field(max_length=50)] = ()
    learning: Learning = Learning()

    @model_validator(mode="after")
    def _models_fit(self, info: ValidationInfo) -> Self:
        if reading(info):
            return self
        if name := _twice(model.name for model in self.models):
            raise ValueError(f"two models have the name {name!r}")
        for model in self.models:
            self._check(model)
        size = json_size(self.model_dump(mode="json"))
        if size > MAX_PROJECT_BYTES:
            raise ValueError(f"the project is {size} bytes as JSON, the limit is {MAX_PROJECT_BYTES}")
        return self

    def _check(self, model: ModelSpec) -> None:
        answered = self.questions_of(model)
        if kind := _twice(question.kind for question in answered):
            raise ValueError(f"model {model.name!r} would answer two questions of kind {kind}: name its questions")
        allowed = {label.value for question in answered for label in question.labels}
        for target in model.labels.values():
            if target is not None and allowed and target not in allowed:
                raise ValueError(
                    f"model {model.name!r} maps to {target!r}, which is no label of its questions; "
                    f"labels are {listing(allowed)}"
                )

    def questions_of(self, model: ModelSpec) -> tuple[Question, ...]:
        """The questions a model answers. Raises ValueError for a name that the label set does not have."""
        if not model.questions:
            return self.label_set.questions
        found = []
        for name in model.questions:
            question = self.label_set.question(name)
            if question is None:
                asked = listing(q.name for q in self.label_set.questions)
                raise ValueError(
                    f"model {model.name!r} answers {name!r}, which is no question of the label set; "
                    f"questions are {asked}"
                )
            found.append(question)
        return tuple(found)

    def model(self, name: str) -> ModelSpec | None:
        """The model of that name."""
        return next((m for m in self.models if m.name == name), None)

    @property
    def config_hash(self) -> str:
        """The name of this configuration: requests carry it, so that a replay years later means the same."""
        # Without defaults: a field that a later version adds must not rename what has not changed.
        return names.content_hash(self.model_dump(mode="json", exclude_defaults=True))

    @property
    def label_set_hash(self) -> str:
        """The name of this version of the label set."""
        return names.content_hash(self.label_set.model_dump(mode="json", exclude_defaults=True))
