"""A thousand annotations in ten seconds, in simulated time: how often is trained, when is the last in a version.

Told as a bus tells: some twice, some late. What the examples are is derived as the training service derives it.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random

import orjson
from prelabel_runtime.store.base import StoredAnnotation
from prelabel_training.examples.fingerprint import content, fingerprint
from prelabel_training.examples.holdout import SHARE, in_holdout
from prelabel_training.examples.policy import Policy, derive
from prelabel_training.triggers.triggers import (
    Facts,
    Phase,
    Start,
    Training,
    TriggerRules,
    TriggerState,
    Wait,
    announced,
    decide,
    ended,
)

from tests.benchmarks.case import Case, Figure, Turn, Values
from tests.benchmarks.learning.amounts import Amounts
from tests.benchmarks.stage import Stage

PROJECT = "storm"
STORM_MS = 10_000
TRAINING_MS = 5_000
RULES = TriggerRules()
"""As a project has them that says nothing else: 20 new ones, or 30 quiet seconds."""
_TWICE, _LATE_MS = 0.1, 500


def case(amounts: Amounts) -> Case:
    """For so many annotations."""

    @contextmanager
    def start(stage: Stage) -> Iterator[list[Turn]]:
        yield [Turn("storm", lambda seed: _measure(stage, amounts.storms, seed))]

    return Case("storm", FIGURES, start)


@dataclass(frozen=True, slots=True)
class _Told:
    """An annotation, at the moment at which it is stored."""

    at_ms: int
    annotation: StoredAnnotation


def _measure(stage: Stage, count: int, seed: int) -> Values:
    told = a_storm(count, Random(seed))
    made = trainings(told)
    last = made[-1]
    wanted = sum(not in_holdout(PROJECT, task, SHARE) for task in {one.annotation.task for one in told})
    stage.note("storm", [{"at_ms": one.requested_ms, "examples": one.examples, "why": one.reason} for one in made])
    in_a_version = (last.requested_ms + TRAINING_MS - told[-1].at_ms) / 1000
    return {
        "storm.trainings": len(made),
        "storm.lost": wanted - last.examples,
        "storm.evaluated_s": in_a_version,
    }


def a_storm(count: int, chance: Random) -> Sequence[_Told]:
    """Each of a task of its own; a tenth told again, the second time with a delay."""
    told = []
    moments = sorted(chance.randint(0, STORM_MS) for _ in range(count))
    for offset, at_ms in enumerate(moments):
        region = {"kind": "choice", "question": "topic", "labels": [chance.choice("abc")]}
        said = StoredAnnotation(
            annotation=f"annotation-{offset}",
            project=PROJECT,
            task=f"task-{offset}",
            annotator="somebody",
            offset=offset,
            at_ms=at_ms,
            body=orjson.dumps({"regions": [region]}).decode(),
            deleted=False,
            skipped=False,
            ground_truth=False,
        )
        told.append(_Told(at_ms, said))
        if chance.random() < _TWICE:
            told.append(_Told(min(STORM_MS, at_ms + chance.randint(1, _LATE_MS)), said))
    return sorted(told, key=lambda one: one.at_ms)


class _Stored:
    """What is stored so far, and what can be learned of it."""

    def __init__(self, told: Sequence[_Told]) -> None:
        self._coming = list(reversed(told))
        self._said: dict[str, list[StoredAnnotation]] = {}
        self._examples: dict[str, str] = {}
        self._last = -1

    def facts(self, now_ms: int, cut: int) -> Facts:
        """At a moment, each later than the one before; `cut`: the last training's."""
        while self._coming and self._coming[-1].at_ms <= now_ms:
            self._store(self._coming.pop().annotation)
        return Facts(len(self._examples), fingerprint(self._examples.items()), self._last, self._last - cut)

    def _store(self, annotation: StoredAnnotation) -> None:
        said = self._said.setdefault(annotation.task, [])
        said.append(annotation)
        self._last = max(self._last, annotation.offset)
        current = derive(said, Policy.LATEST)
        if current is not None and not in_holdout(PROJECT, annotation.task, SHARE):
            regions = orjson.loads(current.annotation.body)["regions"]
            self._examples[annotation.task] = content({"text": annotation.task}, regions)


def trainings(told: Sequence[_Told]) -> list[Training]:
    """All that start, when somebody looks at each moment at which anything happens."""
    stored, state, made = _Stored(told), TriggerState(since_ms=0), list[Training]()
    coming = sorted({one.at_ms for one in told})
    now_ms = coming[0]
    while True:
        facts = stored.facts(now_ms, state.last.cut if state.last else -1)
        state, decision = decide(state, facts, RULES, now_ms)
        if isinstance(decision, Start):
            made.append(decision.training)
            state = announced(state, decision.training)
        running = state.under_way
        moments = coming[bisect_right(coming, now_ms) :][:1]
        moments += [running.requested_ms + TRAINING_MS] if running else []
        moments += [decision.until_ms] if isinstance(decision, Wait) else []
        if not moments:
            return made
        now_ms = min(moments)
        if running and now_ms >= running.requested_ms + TRAINING_MS:
            state = ended(state, running.number, Phase.TRAINED, now_ms)


FIGURES = (
    Figure(
        "storm.trainings",
        "trainings",
        "of 1,000 annotations in 10 s, by the usual rules, each training taking 5 s; simulated time",
        at_most=3,
    ),
    Figure("storm.lost", "examples", "that are stored and in no training", at_most=0),
    Figure(
        "storm.evaluated_s",
        "s",
        "from the last annotation until a version that learned from it is there: quiet 30 s, and one training",
        at_most=35,
    ),
)
