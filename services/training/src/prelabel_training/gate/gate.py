"""The gate: may a new version serve in the place of the one that does?

Both are scored on the same hold-out tasks. Their difference is drawn again by a paired bootstrap: a resample takes a
task for both or for neither, so that tasks which are hard for everybody say nothing. The candidate is promoted when it
is not worse by more than the margin, and this not by luck: the lower bound of the difference is above it too.

An untrained base pipeline is a serving version like any other. Where the hold-out is too small to judge by,
cross-validation decides, and what it lets through is marked as provisional.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random

from .bootstrap import Resampling, percentiles, sums
from .scoring import Layout, Metric, Result, measure

_ROUNDING = 1e-9
"""A difference of exactly the margin is allowed, whatever floating point makes of 0.91 - 0.9."""


class Outcome(StrEnum):
    """What becomes of the candidate."""

    PROMOTE = "promote"
    """It serves."""
    PROVISIONAL = "provisional"
    """It serves, by less evidence than the hold-out would be, and says so."""
    REFUSE = "refuse"
    """It is kept with the reason; what served goes on."""


class Reason(StrEnum):
    """Why, in one word for machines."""

    BETTER = "better"
    """The whole interval of the difference is above zero."""
    NOT_WORSE = "not_worse"
    """The whole interval is above what the margin allows."""
    NO_SERVING_VERSION = "no_serving_version"
    """There was nothing to be worse than."""
    WORSE = "worse"
    """It scores lower by more than the margin allows."""
    UNSURE = "unsure"
    """It scores well enough, and with so few tasks it could be worse by more than the margin all the same."""
    TOO_FEW = "too_few"
    """Neither the hold-out nor a cross-validation is large enough to compare by."""


class Basis(StrEnum):
    """The tasks that decided."""

    HOLDOUT = "holdout"
    CROSS_VALIDATION = "cross_validation"
    FEW_HOLDOUT = "few_holdout"
    """Hold-out tasks, fewer than are needed (provisional.py)."""
    TRAINER = "trainer"
    """Those that the trainer measured its own model on (provisional.py)."""


class NotComparable(ValueError):
    """The versions were not scored on the same tasks, or not against the same truth. The text says which."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What the gate asks for. Raises ValueError for rules that nothing could be judged by."""

    metric: Metric = Metric.MICRO_F1
    margin: float = 0.01
    """How much lower than the serving version is still "not worse", in the metric's own unit: 0 up to 1."""
    confidence: float = 0.95
    """One-sided: this share of the resamples lies above the lower bound. From 0.5 to under 1."""
    resamples: int = 2_000
    minimum: int = 30
    """Hold-out tasks below which cross-validation decides."""
    minimum_cross_validated: int = 20
    """Cross-validated tasks below which nothing is compared."""

    def __post_init__(self) -> None:
        if not 0 <= self.margin < 1:
            raise ValueError("the margin lies between 0 and 1")
        if not 0.5 <= self.confidence < 1:
            raise ValueError("confidence lies between 0.5 and 1")
        if min(self.resamples, self.minimum, self.minimum_cross_validated) < 1:
            raise ValueError("resamples and minimum numbers of tasks are at least one")


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What is known of a version."""

    holdout: Sequence[Result]
    """On today's hold-out."""
    cross_validated: Sequence[Result] = ()
    """On tasks learned from, each scored by a model that was made without it (a base pipeline learned from none).

    Of both versions the same tasks with the same truth: a version that serves since long was cross-validated on fewer,
    so its candidate's are narrowed to those. Looked at only where the hold-out is too small.
    """


@dataclass(frozen=True, slots=True)
class Comparison:
    """The candidate's difference to the serving version, positive where the candidate is better."""

    tasks: int
    serving: float
    candidate: float
    difference: float
    lower: float
    """One-sided bound: with the rules' confidence the difference is not below it."""
    upper: float
    """One-sided bound: with the rules' confidence the difference is not above it."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of the candidate, and why."""

    outcome: Outcome
    reason: Reason
    basis: Basis
    tasks: int
    """So many of them count: the candidate's, and where both are needed, of whom there are fewer."""
    score: float | None
    """The candidate's, by the rules' metric. None: no task to score it on."""
    comparison: Comparison | None
    """None: nothing was compared (no serving version, or too few tasks)."""
    rules: Rules
    text: str
    """One sentence for people."""


def decide(serving: Evaluation | None, candidate: Evaluation, rules: Rules, rng: Random) -> Decision:
    """Whether the candidate serves from now on; `serving` is None when nothing does.

    The same evaluations, rules and seed give the same decision, in whatever order the tasks stand.
    Raises NotComparable when the two were not scored on the same tasks against the same truth.
    """
    basis, results = _basis(candidate, rules)
    if serving is None:
        return _first(basis, results, len(candidate.holdout), rules)
    _check_same(serving.holdout, candidate.holdout)
    other = serving.holdout if basis is Basis.HOLDOUT else serving.cross_validated
    if basis is Basis.CROSS_VALIDATION and (tasks := min(len(other), len(results))) < rules.minimum_cross_validated:
        return _too_few(tasks, len(candidate.holdout), measure(rules.metric, results), rules)
    return _judged(compare(other, results, rules, rng), basis, rules)


def compare(serving: Sequence[Result], candidate: Sequence[Result], rules: Rules, rng: Random) -> Comparison:
    """The difference of two versions on the same tasks, with the bounds of a paired bootstrap.

    Raises NotComparable when they are not the same tasks against the same truth, or none.
    """
    _check_same(serving, candidate)
    if not candidate:
        raise NotComparable("there is no task to compare the versions on")
    layout = Layout.of(rules.metric, (*serving, *candidate))
    # By task, so that the order they come in changes nothing, and swapping the versions only the sign.
    pairs = zip(_ordered(serving), _ordered(candidate), strict=True)
    vectors = [(*layout.vector(a), *layout.vector(b)) for a, b in pairs]
    before, after = _scores(layout, [sum(column) for column in zip(*vectors, strict=True)])
    drawn = (_scores(layout, summed) for summed in sums(vectors, Resampling(count=rules.resamples), rng))
    differences = [b - a for a, b in drawn]
    lower, upper = percentiles(differences, 1 - rules.confidence, rules.confidence)
    return Comparison(
        tasks=len(vectors),
        serving=before,
        candidate=after,
        difference=after - before,
        lower=lower,
        upper=upper,
    )


def _basis(candidate: Evaluation, rules: Rules) -> tuple[Basis, Sequence[Result]]:
    if len(candidate.holdout) >= rules.minimum:
        return Basis.HOLDOUT, candidate.holdout
    return Basis.CROSS_VALIDATION, candidate.cross_validated


def _ordered(results: Sequence[Result]) -> list[Result]:
    return sorted(results, key=lambda result: result.task)


def _scores(layout: Layout, summed: Sequence[int]) -> tuple[float, float]:
    half = len(summed) // 2
    before, after = layout.value(summed[:half]), layout.value(summed[half:])
    # Not defined: there was nothing to find and nothing was said, which is no mistake.
    return 1.0 if before is None else before, 1.0 if after is None else after


def _check_same(serving: Sequence[Result], candidate: Sequence[Result]) -> None:
    before, after = ({result.task: result for result in results} for results in (serving, candidate))
    if len(before) < len(serving) or len(after) < len(candidate):
        raise NotComparable("a task is scored twice for the same version")
    if lone := sorted(before.keys() ^ after.keys()):
        raise NotComparable(
            f"the versions were scored on different tasks: {len(lone)} of one only, the first is {lone[0]}"
        )
    if moved := sorted(task for task, result in before.items() if result.truth != after[task].truth):
        raise NotComparable(
            f"the versions were scored against different truths: on {len(moved)} tasks, the first is {moved[0]}"
        )


def _judged(found: Comparison, basis: Basis, rules: Rules) -> Decision:
    allowed = -rules.margin - _ROUNDING
    passes = Outcome.PROMOTE if basis is Basis.HOLDOUT else Outcome.PROVISIONAL
    if found.difference < allowed:
        outcome, reason = Outcome.REFUSE, Reason.WORSE
    elif found.lower < allowed:
        outcome, reason = Outcome.REFUSE, Reason.UNSURE
    else:
        outcome, reason = passes, Reason.BETTER if found.lower > 0 else Reason.NOT_WORSE
    text = (
        f"{_BEGINS[outcome]}: {_scored(found.candidate, basis, found.tasks, rules)}, {_against(found, reason, rules)}."
    )
    return Decision(outcome, reason, basis, found.tasks, found.candidate, found, rules, text)


def _first(basis: Basis, results: Sequence[Result], holdout: int, rules: Rules) -> Decision:
    found = measure(rules.metric, results)
    outcome = Outcome.PROMOTE if basis is Basis.HOLDOUT else Outcome.PROVISIONAL
    why = "nothing served before"
    if basis is Basis.CROSS_VALIDATION:
        why += f", and {_few(holdout, rules)}"
    text = f"{_BEGINS[outcome]}: {why}; {_scored(found, basis, len(results), rules)}."
    return Decision(outcome, Reason.NO_SERVING_VERSION, basis, len(results), found, None, rules, text)


def _too_few(tasks: int, holdout: int, found: float | None, rules: Rules) -> Decision:
    text = (
        f"{_BEGINS[Outcome.REFUSE]}: {_few(holdout, rules)}, "
        f"and so are {tasks} that both versions were cross-validated on ({rules.minimum_cross_validated} are needed)."
    )
    return Decision(Outcome.REFUSE, Reason.TOO_FEW, Basis.CROSS_VALIDATION, tasks, found, None, rules, text)


_BEGINS = {
    Outcome.PROMOTE: "Promoted",
    Outcome.PROVISIONAL: "Promoted provisionally",
    Outcome.REFUSE: "Not promoted",
}
_METRICS = {Metric.MICRO_F1: "F1", Metric.MACRO_F1: "macro F1", Metric.ACCURACY: "accuracy"}
_TASKS = {
    Basis.HOLDOUT: "hold-out tasks",
    Basis.CROSS_VALIDATION: "cross-validated tasks",
    Basis.FEW_HOLDOUT: "hold-out tasks",
    Basis.TRAINER: "tasks of its trainer's own",
}


def _few(holdout: int, rules: Rules) -> str:
    return f"{holdout} hold-out tasks are too few to judge by ({rules.minimum} are needed)"


def _scored(found: float | None, basis: Basis, tasks: int, rules: Rules) -> str:
    if found is None:
        return f"{_METRICS[rules.metric]} unknown"
    return f"{_METRICS[rules.metric]} {found:.3f} on {tasks} {_TASKS[basis]}"


def _against(found: Comparison, reason: Reason, rules: Rules) -> str:
    against = f"against {found.serving:.3f} of the serving version"
    sure = f"with {100 * rules.confidence:g} % confidence"
    match reason:
        case Reason.BETTER:
            return f"{against}: {sure} at least {found.lower:.3f} better"
        case Reason.WORSE:
            return f"{against}: {-found.difference:.3f} worse, and {rules.margin:g} is allowed"
        case Reason.UNSURE:
            return f"{against}: it may be {-found.lower:.3f} worse ({sure} not more), and {rules.margin:g} is allowed"
        case _:
            return f"{against}: {sure} at most {max(0.0, -found.lower):.3f} worse, and {rules.margin:g} is allowed"
