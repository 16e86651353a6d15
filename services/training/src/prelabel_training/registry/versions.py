"""What is known of each version of a model, written once: how it came about, how good it is, what was decided and why.

A version's record is inserted with its verdict and never changed: the verdict on a training is whichever record was
inserted first, whoever computed it, however often it was computed. What became of a version since (does it serve, was
it refused where it was to be loaded) is said elsewhere: by the serving pointer, and by those who load it.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final

from prelabel_contract.base import READING, Count, Json, Milliseconds, Model, Score, Slug
from prelabel_provider.training.trainings import key_of
from prelabel_runtime.store.documents import Document, Documents
from pydantic import Field

from ..gate.scoring import Estimate, Report

KIND: Final = "version"
"""The kind of a version's document; its key is that of its training."""
SETTINGS: Final = "settings"
"""The version that nobody trained: the model as its settings say."""


class Figure(Model):
    """A figure, 0 to 1, and its 95 % interval. Null where it is not defined: nothing said, nothing true."""

    value: Score | None = None
    low: Score | None = None
    high: Score | None = None


class LabelFigures(Model):
    """How well one label is found."""

    question: str
    label: str
    """"" where regions have none."""
    tp: Count
    fp: Count
    fn: Count
    precision: Figure
    recall: Figure
    f1: Figure


class Figures(Model):
    """How well a version did on the hold-out of the day it was judged."""

    metric: str = ""
    """What versions of this model are compared by: micro_f1, macro_f1 or accuracy."""
    overall: Figure = Figure()
    """By that metric."""
    tasks: Count
    tp: Count
    fp: Count
    fn: Count
    precision: Figure
    recall: Figure
    f1: Figure
    macro_f1: Figure
    accuracy: dict[str, Figure] = Field(default_factory=dict)
    """By question: the share of tasks on which its answer was right as a whole."""
    labels: tuple[LabelFigures, ...] = ()


class Compared(Model):
    """A version beside the one that served, on the same tasks. Positive: the version is better."""

    tasks: Count
    serving: Score
    candidate: Score
    difference: float
    lower: float
    """One-sided bound, with the verdict's confidence."""
    upper: float


class Judgement(Model):
    """What the gate decided about a version, by what, and why."""

    outcome: str
    """promote, provisional or refuse."""
    reason: str
    """A word for machines: better, not_worse, no_serving_version; worse, unsure, too_few, overtaken, …"""
    text: str
    """A sentence for people, with the figures."""
    basis: str = ""
    """The tasks that decided: holdout, few_holdout, trainer; empty where nothing was scored."""
    metric: str = ""
    tasks: Count = 0
    score: Score | None = None
    """By the metric, on those tasks."""
    compared: Compared | None = None
    margin: float = 0.0
    confidence: float = 0.0
    resamples: Count = 0
    seed: Count = 0
    """Of the bootstrap."""
    against_version: str = SETTINGS
    """What served."""
    against_artifact: str = ""
    against_epoch: Count = 0
    """The version takes the place of this epoch's and of no other's."""

    @property
    def passes(self) -> bool:
        """Whether it may serve."""
        return self.outcome in ("promote", "provisional")


class VersionRecord(Model):
    """A version, for good."""

    version: str
    number: Annotated[int, Field(ge=1)]
    """Of its training."""
    project: Slug
    model: Slug
    provider: Slug
    training: str
    parent: str | None = None
    """The artifact that was trained further; null: it began with nothing, or with what the settings name."""
    artifact: str
    fingerprint: str = ""
    """Of the examples."""
    cut: Count = 0
    """Offset of the last annotation that it learned from."""
    config: str = ""
    """Hash of the project's configuration it was trained under."""
    examples: Count = 0
    seed: Count = 0
    start: str = "blank"
    package: str = ""
    """Version of the provider's package that trained it."""
    libraries: dict[str, str] = Field(default_factory=dict)
    settings: dict[str, Json] = Field(default_factory=dict)
    """The trainer's."""
    metrics: dict[str, float] = Field(default_factory=dict)
    """What the trainer measured, on its own part of the examples."""
    report: Figures | None = None
    """On the hold-out; null where none could be scored."""
    verdict: Judgement
    provisional: bool = False
    """Something less than a hold-out decided."""
    trained_ms: Milliseconds | None = None
    judged_ms: Milliseconds

    @property
    def key(self) -> str:
        """Where it stands."""
        return key_of(self.project, self.model, self.number)


@dataclass(frozen=True, slots=True)
class Versions:
    """The versions of a store. Raises `Unavailable` where it does not answer."""

    documents: Documents

    async def insert(self, record: VersionRecord) -> VersionRecord:
        """Write it down; where there is one of that number, that one stays, and is answered."""
        written = await self.documents.put(KIND, record.key, record.model_dump_json(), expected=0)
        if written is not None:
            return read(written)
        found = await self.documents.get(KIND, record.key)
        return record if found is None else read(found)

    async def get(self, project: str, model: str, number: int) -> VersionRecord | None:
        """The version of a training."""
        found = await self.documents.get(KIND, key_of(project, model, number))
        return None if found is None else read(found)

    async def named(self, project: str, model: str, version: str) -> VersionRecord | None:
        """The version of that name."""
        number = version.partition("-")[0]
        if not (number.isascii() and number.isdecimal() and 0 < len(number) <= 8):
            return None
        found = await self.get(project, model, int(number))
        return found if found is not None and found.version == version else None

    async def page(self, project: str, model: str, *, limit: int, before: int | None = None) -> Sequence[VersionRecord]:
        """A model's versions, newest first, those before a number."""
        after = None if before is None else key_of(project, model, before)
        found = await self.documents.page(KIND, prefix=f"{project}/{model}/", limit=limit, after=after, newest=True)
        records = []
        for one in found:
            records.append(read(one))
            await asyncio.sleep(0)  # with a thousand labels each takes 30 ms: others have their turn
        return records


def read(document: Document) -> VersionRecord:
    """A version as it stands in the store."""
    return VersionRecord.model_validate_json(document.body, context=dict(READING))


def figures(report: Report, metric: str, overall: Estimate) -> Figures:
    """What was scored, to be kept."""
    return Figures(
        metric=metric,
        overall=_figure(overall),
        tasks=report.tasks,
        tp=report.counts.tp,
        fp=report.counts.fp,
        fn=report.counts.fn,
        precision=_figure(report.precision),
        recall=_figure(report.recall),
        f1=_figure(report.f1),
        macro_f1=_figure(report.macro_f1),
        accuracy={question: _figure(one) for question, one in report.accuracy.items()},
        labels=tuple(
            LabelFigures(
                question=one.key.question,
                label=one.key.label,
                tp=one.counts.tp,
                fp=one.counts.fp,
                fn=one.counts.fn,
                precision=_figure(one.precision),
                recall=_figure(one.recall),
                f1=_figure(one.f1),
            )
            for one in report.labels
        ),
    )


def _figure(one: Estimate) -> Figure:
    return Figure(value=one.value, low=one.low, high=one.high)
