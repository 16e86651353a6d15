"""What one model learns from a task: its fields of the data, and the regions that answer its questions.

A task is left out, with the reason, where learning from it would teach something wrong. What is wrong in answers to
other questions does not matter to this model.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

import orjson
from prelabel_contract.base import READING, Json
from prelabel_contract.names import canonical
from prelabel_contract.projects import LabelSet, Learning, ModelSpec, Project, Question
from prelabel_contract.regions import REGIONS, Regions, Span
from prelabel_runtime.store.base import StoredAnnotation, StoredTask
from pydantic import ValidationError

from .fingerprint import content
from .truth import current


class Left(StrEnum):
    """Why a task with annotations is no example."""

    SKIPPED = "skipped"
    """Nobody answered, or, where only reviewed answers count, nobody reviewed."""
    UNKNOWN_TASK = "unknown_task"
    """There is no such task: it was deleted, or it has not been stored yet."""
    LABEL_SET = "label_set"
    """It says something that the label set does not allow (any more)."""
    DATA = "data"
    """The task has none of the fields that the model reads, or a span lies elsewhere than its words."""
    UNREADABLE = "unreadable"
    """What is stored of it cannot be read."""


@dataclass(frozen=True, slots=True)
class Seen:
    """An example, by name."""

    content: str
    """The name of what is learned: of the fields (of large ones, their hashes) and the regions."""
    offset: int
    """Of the annotation."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """An example, whole, but for what lies in the blob store."""

    task: str
    data: Mapping[str, Json]
    blobs: Mapping[str, Mapping[str, Any]]
    """References of the fields that are too large: in `data` they are null."""
    regions: Regions
    seen: Seen


@dataclass(frozen=True, slots=True)
class Lens:
    """How one model of a project sees what was said."""

    label_set: LabelSet
    """The project's."""
    questions: tuple[Question, ...]
    """The model's."""
    learning: Learning
    name: str
    """Two lenses of one name see the same."""

    @classmethod
    def of(cls, project: Project, model: ModelSpec) -> Self:
        """The lens of a model. Raises ValueError for one that answers a question that there is not."""
        questions = project.questions_of(model)
        said = [project.label_set_hash, [one.name for one in questions], project.learning.policy]
        name = hashlib.sha256(canonical(said)).hexdigest()[:16]
        return cls(project.label_set, questions, project.learning, name)

    @property
    def fields(self) -> frozenset[str]:
        """Of the data, those that the model reads."""
        return frozenset(name for one in self.questions for name in one.fields)

    def lesson(self, annotations: Sequence[StoredAnnotation], task: StoredTask | None) -> Lesson | Left:
        """What there is to learn of one task."""
        if task is None:
            return Left.UNKNOWN_TASK
        try:
            chosen = current(annotations, self.learning)
            if chosen is None:
                return Left.SKIPPED
            said = orjson.loads(chosen.body).get("regions", [])
            body = orjson.loads(task.body)
            regions = REGIONS.validate_python(said, context=dict(READING))
        except (orjson.JSONDecodeError, ValidationError):
            return Left.UNREADABLE
        names = {one.name for one in self.questions}
        own = {place for place, one in enumerate(regions) if one.question in names}
        if own & self._wrong(regions):
            return Left.LABEL_SET
        data = {name: body["data"][name] for name in sorted(self.fields) if name in body["data"]}
        blobs = {name: ref for name, ref in body.get("blobs", {}).items() if name in data}
        if not data or any(_astray(regions[place], data, blobs) for place in own):
            return Left.DATA
        shown: dict[str, Json] = {**data, **{name: dict(ref) for name, ref in blobs.items()}}
        named = content(shown, [said[place] for place in sorted(own)])
        kept = tuple(regions[place] for place in sorted(own))
        return Lesson(task.uid, data, blobs, kept, Seen(named, chosen.offset))

    def _wrong(self, regions: Regions) -> set[int]:
        """Places of the regions that the label set does not allow."""
        return {int(error.pointer.split("/")[1]) for error in self.label_set.errors(regions, at="")}


def _astray(region: object, data: Mapping[str, Json], blobs: Mapping[str, object]) -> bool:
    """A span that does not cover what it says it covers: the task has changed since."""
    if not isinstance(region, Span) or region.field in blobs:
        return False
    text = data.get(region.field)
    if not isinstance(text, str) or region.end > len(text):
        return True
    return region.text is not None and text[region.start : region.end] != region.text
