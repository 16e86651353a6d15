"""From what two versions said about the hold-out, and what is true of it today, to a judgement."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

from prelabel_contract.projects import Question
from prelabel_contract.regions import Region

from ..registry.registry import Serving
from ..registry.versions import Compared, Figures, Judgement, figures
from .bootstrap import Resampling
from .gate import Decision, Rules
from .provisional import Figure, Version, figure, judge
from .scoring import Result, estimate, report, score, usual_metric

REPORT_RESAMPLES = 500
"""For the intervals of a report's figures: there are three for each label."""

Answers = Mapping[str, tuple[Region, ...] | None]
"""By task what a version said; None where it could not be asked."""


class CannotJudge(Exception):
    """There is nothing to judge a version by, now or later: it does not serve."""

    def __init__(self, reason: str, text: str) -> None:
        """`reason`: a word for machines; `text`: a sentence for people."""
        super().__init__(text)
        self.reason = reason
        self.text = text


@dataclass(frozen=True, slots=True)
class Case:
    """Everything that a judgement follows from: the same case, the same judgement."""

    training: str
    questions: Sequence[Question]
    truth: Mapping[str, tuple[Region, ...]]
    """Of the hold-out's tasks, as they are now."""
    candidate: Answers
    serving: Answers
    against: Serving
    margin: float
    candidates_figure: Mapping[str, float]
    """What the trainer measured."""
    servings_figure: Mapping[str, float]
    """The same of the version that serves; empty where nobody trained it."""

    @property
    def seed(self) -> int:
        """Of the bootstrap."""
        return int.from_bytes(hashlib.sha256(b"gate\0" + self.training.encode()).digest()[:4], "big")


def judged(case: Case) -> tuple[Judgement, Figures | None]:
    """The judgement, and how well the candidate does. Takes up to seconds of CPU. Raises `CannotJudge`."""
    tasks = sorted(case.truth.keys() & case.candidate.keys())
    asked_serving = could_predict(case.serving) or case.against.artifact != ""
    if asked_serving:
        tasks = [task for task in tasks if task in case.serving]
    if tasks and not any(case.candidate[task] is not None for task in tasks):
        raise CannotJudge("cannot_predict", "Not promoted: it could not be asked about a single hold-out task.")
    rules = Rules(metric=usual_metric(case.questions), margin=case.margin)
    mine = _scored(case, case.candidate, tasks)
    theirs = _scored(case, case.serving, tasks) if asked_serving else None
    before = None if theirs is None else Version(theirs, _figure(case.servings_figure, rules))
    decision = judge(before, Version(mine, figure(case.candidates_figure, rules.metric)), rules, Random(case.seed))
    return _judgement(decision, case), _figures(mine, rules, case.seed) if mine else None


def could_predict(answers: Answers) -> bool:
    """Whether a version said anything at all, be it that there is nothing to say."""
    return any(said is not None for said in answers.values())


def _figures(results: Sequence[Result], rules: Rules, seed: int) -> Figures:
    resampling = Resampling(count=REPORT_RESAMPLES)
    overall = estimate(rules.metric, results, resampling, Random(seed))
    return figures(report(results, resampling, Random(seed)), rules.metric, overall)


def _figure(metrics: Mapping[str, float], rules: Rules) -> Figure | None:
    return figure(metrics, rules.metric) if metrics else None


def _scored(case: Case, answers: Answers, tasks: Sequence[str]) -> list[Result]:
    """What could not be asked has said nothing: whoever shows it to people shows them nothing."""
    return [score(task, answers[task] or (), case.truth[task], case.questions) for task in tasks]


def _judgement(decision: Decision, case: Case) -> Judgement:
    found = decision.comparison
    return Judgement(
        outcome=decision.outcome,
        reason=decision.reason,
        text=decision.text,
        basis=decision.basis,
        metric=decision.rules.metric,
        tasks=decision.tasks,
        score=decision.score,
        compared=None
        if found is None
        else Compared(
            tasks=found.tasks,
            serving=found.serving,
            candidate=found.candidate,
            difference=found.difference,
            lower=found.lower,
            upper=found.upper,
        ),
        margin=decision.rules.margin,
        confidence=decision.rules.confidence,
        resamples=decision.rules.resamples,
        seed=case.seed,
        against_version=case.against.version,
        against_artifact=case.against.artifact,
        against_epoch=case.against.epoch,
    )
