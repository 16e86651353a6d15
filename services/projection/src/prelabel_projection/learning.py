"""How the models of a project learn, as the page shows it: read from the records that trainings and versions leave.

The records are others' and are read as JSON, leniently: what is not there, or not yet as it is here, is left out.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from prelabel_contract.limits import SCORED_TASKS
from prelabel_runtime.clock import Clock
from prelabel_runtime.store.documents import Document, Documents

POINTS = 40
"""Versions of a curve: the newest."""
TRAININGS = 5
"""Trainings that are listed: the newest."""
LOG_LINES = 12
"""Of the newest training's log: the last."""
VERDICTS = 5000
"""Verdicts on suggestions that are counted: of a project with more the first, in no order of time."""
FRESH_SECONDS = 1.0
STALE_SECONDS = 10.0
"""How long it is not looked again whether a project has begun to learn; and how long verdicts are not counted anew."""
_ENDED = frozenset({"trained", "failed", "refused", "cancelled"})


@dataclass(frozen=True, slots=True)
class VersionSeen:
    """A point of a learning curve."""

    version: str
    examples: int
    score: float | None
    low: float | None
    high: float | None
    served: bool
    """It serves, or has served."""
    tasks: int = 0
    """Of the hold-out."""

    @property
    def few(self) -> bool:
        """Its score says little."""
        return self.tasks < SCORED_TASKS


@dataclass(frozen=True, slots=True)
class LabelSeen:
    """How well the newest version finds a label."""

    label: str
    question: str
    f1: float | None
    before: float | None
    """In the version before."""


@dataclass(frozen=True, slots=True)
class TrainingSeen:
    """A training under way."""

    number: int
    state: str
    step: int
    steps: int
    seconds_left: float | None


@dataclass(frozen=True, slots=True)
class TrainingTold:
    """A training, in a line."""

    number: int
    state: str
    requested_ms: int
    examples: int
    version: str | None
    why: str
    """Why there is no version."""


@dataclass(frozen=True, slots=True)
class AcceptedSeen:
    """What people made of a version's suggestions."""

    version: str
    accepted: int
    corrected: int
    rejected: int
    provider: str = ""

    @property
    def shown(self) -> int:
        """Those that somebody decided about."""
        return self.accepted + self.corrected + self.rejected

    @property
    def share(self) -> float:
        """Accepted, of those decided about."""
        return self.accepted / self.shown

    @property
    def edited(self) -> float:
        """Corrected, of those."""
        return self.corrected / self.shown

    @property
    def refused(self) -> float:
        """Rejected, of those."""
        return self.rejected / self.shown


@dataclass(frozen=True, slots=True)
class ModelLearning:
    """How a model learns."""

    project: str
    model: str
    serving: str
    """`settings`: the model as its settings say."""
    metric: str
    versions: tuple[VersionSeen, ...]
    """In the order in which they were trained."""
    labels: tuple[LabelSeen, ...]
    training: TrainingSeen | None
    acceptance: tuple[AcceptedSeen, ...]
    """By version and provider, the newest versions last."""
    trainings: tuple[TrainingTold, ...] = ()
    """The newest first."""
    log: tuple[str, ...] = ()
    """The last lines of the newest training's log, oldest first."""


@dataclass(slots=True)
class _Known:
    """What was read of a project, and when."""

    at: float
    models: tuple[ModelLearning, ...]
    counted_at: float = float("-inf")
    counts: dict[tuple[str, str, str], Counter[str]] = field(default_factory=dict)


@dataclass(slots=True)
class LearningSeen:
    """Reads it, as rarely as it can."""

    documents: Documents
    clock: Clock
    _known: dict[str, _Known] = field(default_factory=dict)

    async def of(self, project: str, models: Iterable[str]) -> tuple[ModelLearning, ...]:
        """The models of a project that have learned something, or are about to. Raises `Unavailable`."""
        now = self.clock.monotonic()
        known = self._known.get(project)
        if known is not None and now - known.at < (FRESH_SECONDS if known.models else STALE_SECONDS):
            return known.models
        if not await self.documents.page("training", prefix=f"{project}/", limit=1):
            self._known[project] = _Known(now, ())
            return ()
        before = known if known is not None else _Known(now, ())
        if now - before.counted_at >= STALE_SECONDS:
            before.counted_at, before.counts = now, await self._counts(project)
        read = [await self._model(project, model, before.counts) for model in models]
        before.at, before.models = now, tuple(one for one in read if one is not None)
        self._known[project] = before
        return before.models

    async def _model(
        self, project: str, model: str, counts: dict[tuple[str, str, str], Counter[str]]
    ) -> ModelLearning | None:
        prefix = f"{project}/{model}/"
        trainings = _bodies(await self.documents.page("training", prefix=prefix, limit=TRAININGS, newest=True))
        if not trainings:
            return None
        pointer = await self.documents.get("serving", f"{project}/{model}")
        serving: dict[str, Any] = {} if pointer is None else orjson.loads(pointer.body)
        served = {str(serving.get("version")), *(str(one.get("version")) for one in serving.get("changes", ()))}
        versions = _bodies(await self.documents.page("version", prefix=prefix, limit=POINTS, newest=True))[::-1]
        metric = next((_report(one).get("metric") or "" for one in reversed(versions) if _report(one)), "")
        places = {str(one.get("version")): place for place, one in enumerate(versions)}
        return ModelLearning(
            project=project,
            model=model,
            serving=str(serving.get("version") or "settings"),
            metric=metric,
            versions=tuple(_version(one, served) for one in versions if _report(one).get("metric", metric) == metric),
            labels=_labels([_report(one) for one in versions if _report(one)][-2:]),
            training=_training(trainings[0]),
            acceptance=tuple(
                AcceptedSeen(version, count["accepted"], count["corrected"], count["rejected"], provider)
                for (of, version, provider), count in sorted(counts.items(), key=lambda one: places.get(one[0][1], -1))
                if of == model and count.total()
            ),
            trainings=tuple(_told(one) for one in trainings),
            log=tuple(str(line[1]) for line in trainings[0].get("log", ())[-LOG_LINES:] if len(line) > 1),
        )

    async def _counts(self, project: str) -> dict[tuple[str, str, str], Counter[str]]:
        """Verdicts by model, version and provider."""
        counts: dict[tuple[str, str, str], Counter[str]] = {}
        after: str | None = None
        for _ in range(0, VERDICTS, 1000):
            page = await self.documents.page("suggestion", prefix=f"{project}/", limit=1000, after=after)
            for body in _bodies(page):
                if (verdict := body.get("verdict")) is not None:
                    model, version, provider = (
                        str(verdict.get(name) or "") for name in ("model", "version", "provider")
                    )
                    counts.setdefault((model, version, provider), Counter())[str(verdict.get("became"))] += 1
            if len(page) < 1000:
                break
            after = page[-1].key
        return counts


def _bodies(page: Sequence[Document]) -> list[dict[str, Any]]:
    return [orjson.loads(one.body) for one in page]


def _report(version: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = version.get("report") or {}
    return found


def _version(one: dict[str, Any], served: set[str]) -> VersionSeen:
    overall = _report(one).get("overall") or {}
    return VersionSeen(
        version=str(one.get("version")),
        examples=int(one.get("examples") or 0),
        score=overall.get("value"),
        low=overall.get("low"),
        high=overall.get("high"),
        served=one.get("version") in served,
        tasks=int(_report(one).get("tasks") or 0),
    )


def _labels(reports: Sequence[dict[str, Any]]) -> tuple[LabelSeen, ...]:
    """Of the last report, beside the one before."""
    if not reports:
        return ()
    found = [
        {(str(one["question"]), str(one["label"])): one["f1"].get("value") for one in r.get("labels", ())}
        for r in reports
    ]
    before = found[-2] if len(found) > 1 else {}
    return tuple(
        LabelSeen(label, question, f1, before.get((question, label))) for (question, label), f1 in found[-1].items()
    )


def _state(record: dict[str, Any]) -> str:
    stopping = record.get("cancel") and record.get("state") not in _ENDED
    return "cancelling" if stopping else str(record.get("state"))


def _told(record: dict[str, Any]) -> TrainingTold:
    version = record.get("version")
    return TrainingTold(
        number=int(record.get("number") or 0),
        state=_state(record),
        requested_ms=int(record.get("requested_ms") or 0),
        examples=int(record.get("examples") or 0),
        version=None if version is None else str(version),
        why=str(record.get("detail") or record.get("reason") or ""),
    )


def _training(record: dict[str, Any]) -> TrainingSeen | None:
    if record.get("state") in _ENDED:
        return None
    now = record.get("progress") or {}
    return TrainingSeen(
        number=int(record.get("number") or 0),
        state=_state(record),
        step=int(now.get("step") or 0),
        steps=int(now.get("steps") or 0),
        seconds_left=now.get("seconds_left"),
    )
