"""A project: what may be said about its data (label set) and who says it first (models)."""

from collections.abc import Iterator
from typing import Annotated, Self

from pydantic import Field, JsonValue, field_validator, model_validator

from . import names
from .base import Model, Name, Score, Slug
from .errors import FieldError, pointer
from .regions import KINDS, Choice, RegionBase, Relation, Taxonomy


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
    field: Name
    """The field of the data it is asked about."""
    labels: tuple[Label, ...] = ()
    """The labels to choose from. Empty: the question takes regions without labels (a text, a number)."""
    multiple: bool = True
    """More than one label may be chosen. Options without effect are refused: it belongs to choices only."""
    max_rating: Annotated[int, Field(ge=1)] | None = None

    @field_validator("kind")
    @classmethod
    def _known(cls, kind: str) -> str:
        if kind not in KINDS:
            raise ValueError(f"{kind!r} is not a kind of region; kinds are {', '.join(sorted(KINDS))}")
        return kind

    @field_validator("labels", mode="before")
    @classmethod
    def _short_form(cls, labels: object) -> object:
        if isinstance(labels, (list, tuple)):
            return tuple({"value": label} if isinstance(label, str) else label for label in labels)
        return labels

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        values = [label.value for label in self.labels]
        if len(set(values)) != len(values):
            raise ValueError(f"question {self.name!r} names a label twice")
        if self.kind == "choice" and not values:
            raise ValueError(f"question {self.name!r} asks for a choice and gives no labels")
        if not self.multiple and self.kind != "choice":
            raise ValueError(f"question {self.name!r}: multiple = false has an effect on choices only")
        if self.max_rating is not None and self.kind != "rating":
            raise ValueError(f"question {self.name!r}: max_rating has an effect on ratings only")
        return self


class LabelSet(Model):
    """All questions of a project."""

    questions: Annotated[tuple[Question, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _names_once(self) -> Self:
        asked = [question.name for question in self.questions]
        if len(set(asked)) != len(asked):
            raise ValueError("two questions have the same name")
        return self

    def question(self, name: str) -> Question | None:
        """The question of that name."""
        return next((q for q in self.questions if q.name == name), None)

    def errors(self, regions: tuple[RegionBase, ...], *, at: str = "/regions") -> Iterator[FieldError]:
        """What this label set does not allow in some regions: question, kind, field, labels, relations' ends."""
        ids = {region.id for region in regions if region.id is not None}
        for index, region in enumerate(regions):
            for step, detail in self._wrong(region, ids):
                yield FieldError(pointer=at + pointer((index, step)), detail=detail)

    def _wrong(self, region: RegionBase, ids: set[str]) -> Iterator[tuple[str, str]]:
        question = self.question(region.question)
        if question is None:
            asked = ", ".join(q.name for q in self.questions)
            yield "question", f"{region.question!r} is not a question of the label set; questions are {asked}"
            return
        kind = getattr(region, "kind", "")
        if kind != question.kind:
            yield "kind", f"question {question.name!r} takes regions of kind {question.kind}, not {kind}"
        if region.field != question.field:
            yield "field", f"question {question.name!r} is asked about field {question.field!r}, not {region.field!r}"
        allowed = {label.value for label in question.labels}
        said = {step for path in region.paths for step in path} if isinstance(region, Taxonomy) else set(region.labels)
        if allowed and (unknown := sorted(said - allowed)):
            yield "labels", f"{unknown[0]!r} is not a label of {question.name!r}; labels are {', '.join(sorted(allowed))}"
        if isinstance(region, Choice) and not question.multiple and len(region.labels) > 1:
            yield "labels", f"question {question.name!r} takes one label"
        if isinstance(region, Relation):
            for end in ("from_id", "to_id"):
                if getattr(region, end) not in ids:
                    yield end, "no region of this list has that id"
        rating = getattr(region, "rating", None)
        if question.max_rating is not None and rating is not None and rating > question.max_rating:
            yield "rating", f"question {question.name!r} goes up to {question.max_rating}"


class ModelSpec(Model):
    """A provider plus settings under a name in a project; several of one provider are allowed."""

    name: Slug
    provider: Slug
    settings: dict[str, JsonValue] = Field(default_factory=dict)
    """By the provider's own settings class."""
    questions: tuple[Name, ...] = ()
    """The questions that it answers, at most one of each kind. Empty: every question it can answer."""
    labels: dict[Name, Name | None] = Field(default_factory=dict)
    """The provider's label -> the label set's; null drops the region. What is not listed keeps its name."""
    threshold: Score | None = None
    """Regions with a lower score are marked, never removed."""


class Project(Model):
    """A project as it is at one moment; its content hash names that moment for ever."""

    id: Slug
    title: Annotated[str, Field(max_length=200)] = ""
    label_set: LabelSet
    models: Annotated[tuple[ModelSpec, ...], Field(max_length=50)] = ()

    @model_validator(mode="after")
    def _models_fit(self) -> Self:
        listed = [model.name for model in self.models]
        if len(set(listed)) != len(listed):
            raise ValueError("two models have the same name")
        for model in self.models:
            self._check(model)
        return self

    def _check(self, model: ModelSpec) -> None:
        answered = self.questions_of(model)
        kinds = [question.kind for question in answered]
        if len(set(kinds)) != len(kinds):
            raise ValueError(f"model {model.name!r} would answer two questions of one kind: name its questions")
        allowed = {label.value for question in answered for label in question.labels}
        for target in model.labels.values():
            if target is not None and allowed and target not in allowed:
                raise ValueError(f"model {model.name!r} maps to {target!r}, which is no label of its questions")

    def questions_of(self, model: ModelSpec) -> tuple[Question, ...]:
        """The questions a model answers. Raises ValueError for a name that the label set does not have."""
        if not model.questions:
            return self.label_set.questions
        found = []
        for name in model.questions:
            question = self.label_set.question(name)
            if question is None:
                raise ValueError(f"model {model.name!r} answers {name!r}, which is no question of the label set")
            found.append(question)
        return tuple(found)

    def model(self, name: str) -> ModelSpec | None:
        """The model of that name."""
        return next((m for m in self.models if m.name == name), None)

    @property
    def config_hash(self) -> str:
        """The name of this configuration: requests carry it, so that replaying one years later means the same."""
        return names.content_hash(self.model_dump(mode="json"))

    @property
    def label_set_hash(self) -> str:
        """The name of this version of the label set."""
        return names.content_hash(self.label_set.model_dump(mode="json"))
