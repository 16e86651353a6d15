"""The gate where the hold-out is too small to judge by: what decides then, in this order, and said so.

1. On the few hold-out tasks that there are (five or more) the candidate scores lower by more than the margin: refused.
2. On ten or more of them it is better beyond chance (the whole interval lies above zero): it serves, provisionally.
   "Not worse" is not enough here: a bootstrap of so few tasks is too sure of itself.
3. What the trainer measured on tasks that its model had not seen (a cross-validation, a part set apart; of twenty tasks
   or more), against the same figure of the serving version, or where nobody trained that one its score on the few
   hold-out tasks: not lower by more than the margin, and it serves, provisionally.
4. Otherwise there is nothing to tell by: what serves goes on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

from .gate import Basis, Comparison, Decision, Evaluation, Outcome, Reason, Rules, compare, decide
from .scoring import Metric, Result, measure

FEW = 5
"""Hold-out tasks below which they say nothing at all."""
SOME = 10
"""Hold-out tasks from which a clear difference counts."""
_ROUNDING = 1e-9
_NAMES = {Metric.MICRO_F1: "F1", Metric.MACRO_F1: "macro F1", Metric.ACCURACY: "accuracy"}


@dataclass(frozen=True, slots=True)
class Figure:
    """What a trainer measured of its own model, by the rules' metric."""

    score: float
    """0 to 1."""
    tasks: int
    what: str = ""
    """What it is, where it is something else than the rules' metric: it says something beside another such only."""


def figure(metrics: Mapping[str, float], metric: Metric) -> Figure | None:
    """A trainer's own figure among its metrics; None where there is none.

    Under the metric's name, over `examples` tasks; or F1 (`f1` over `scored` tasks, or so of each part of a pipeline:
    <part>_f1 over <part>_scored, by their weight).
    """
    told = metrics.get(metric)
    if told is not None and 0 <= told <= 1 and metrics.get("examples", 0) >= 1:
        return Figure(told, int(metrics["examples"]))
    parts = {name.removesuffix("f1"): score for name, score in metrics.items() if name == "f1" or name.endswith("_f1")}
    scored = {name: metrics.get(f"{name}scored", 0.0) for name in parts}
    tasks = sum(scored.values())
    if tasks < 1:
        return None
    score = sum(parts[name] * scored[name] for name in parts) / tasks
    return Figure(score, int(tasks), "" if metric is Metric.MICRO_F1 else "F1") if 0 <= score <= 1 else None


@dataclass(frozen=True, slots=True)
class Version:
    """What is known of a version."""

    holdout: Sequence[Result]
    """On today's hold-out."""
    trainers: Figure | None = None


def judge(serving: Version | None, candidate: Version, rules: Rules, rng: Random) -> Decision:
    """What becomes of a candidate; `serving` is None where nothing does. Raises NotComparable as `gate.decide`."""
    if len(candidate.holdout) >= rules.minimum:
        before = None if serving is None else Evaluation(serving.holdout)
        return decide(before, Evaluation(candidate.holdout), rules, rng)
    if serving is None:
        return _first(candidate, rules)
    found = compare(serving.holdout, candidate.holdout, rules, rng) if len(candidate.holdout) >= FEW else None
    if found is not None and found.difference < -rules.margin - _ROUNDING:
        return _by_few(found, Outcome.REFUSE, Reason.WORSE, rules)
    if found is not None and found.tasks >= SOME and found.lower > 0:
        return _by_few(found, Outcome.PROVISIONAL, Reason.BETTER, rules)
    mine = candidate.trainers
    if mine is not None and mine.tasks >= rules.minimum_cross_validated:
        theirs = _theirs(serving, mine, found, rules)
        if theirs is not None:
            return _by_trainers(mine, *theirs, len(candidate.holdout), rules)
    return decide(Evaluation(serving.holdout), Evaluation(candidate.holdout), rules, rng)


def _first(candidate: Version, rules: Rules) -> Decision:
    """Nothing served: whatever it is worth, it is worth more."""
    tasks, score = len(candidate.holdout), measure(rules.metric, candidate.holdout)
    said = [] if score is None else [f"{_NAMES[rules.metric]} {score:.3f} on them"]
    if candidate.trainers is not None:
        said.append(f"{candidate.trainers.score:.3f} on {candidate.trainers.tasks} that its trainer measured it on")
    text = f"Promoted provisionally: nothing served before, and {_few(tasks, rules)}"
    text = f"{text}; {', '.join(said)}." if said else f"{text}."
    return Decision(Outcome.PROVISIONAL, Reason.NO_SERVING_VERSION, Basis.FEW_HOLDOUT, tasks, score, None, rules, text)


def _theirs(serving: Version, mine: Figure, found: Comparison | None, rules: Rules) -> tuple[Figure, str] | None:
    theirs = serving.trainers
    if theirs is not None and theirs.tasks >= rules.minimum_cross_validated and theirs.what == mine.what:
        return theirs, "of its trainer's own"
    if found is None or mine.what:
        return None
    score = measure(rules.metric, serving.holdout)
    return Figure(found.serving if score is None else score, found.tasks), "hold-out"


def _by_few(found: Comparison, outcome: Outcome, reason: Reason, rules: Rules) -> Decision:
    began = "Promoted provisionally" if outcome is Outcome.PROVISIONAL else "Not promoted"
    told = (
        f"{100 * rules.confidence:g} % sure that it is at least {found.lower:.3f} better"
        if reason is Reason.BETTER
        else f"{-found.difference:.3f} worse, and {rules.margin:g} is allowed"
    )
    text = (
        f"{began}: {_few(found.tasks, rules)}, and what there is decides: {_NAMES[rules.metric]} {found.candidate:.3f} "
        f"against {found.serving:.3f} of the serving version, {told}."
    )
    return Decision(outcome, reason, Basis.FEW_HOLDOUT, found.tasks, found.candidate, found, rules, text)


def _by_trainers(mine: Figure, theirs: Figure, whose: str, holdout: int, rules: Rules) -> Decision:
    worse = theirs.score - mine.score
    passes = worse <= rules.margin + _ROUNDING
    outcome = Outcome.PROVISIONAL if passes else Outcome.REFUSE
    reason = Reason.WORSE if not passes else Reason.NOT_WORSE
    text = (
        f"{'Promoted provisionally' if passes else 'Not promoted'}: {_few(holdout, rules)}, so what its trainer "
        f"measured decides: {mine.what or _NAMES[rules.metric]} {mine.score:.3f} on {mine.tasks} tasks that it had not "
        f"seen, against {theirs.score:.3f} of the serving version on {theirs.tasks} tasks ({whose}), no test of chance."
    )
    score = None if mine.what else mine.score
    return Decision(outcome, reason, Basis.TRAINER, mine.tasks, score, None, rules, text)


def _few(holdout: int, rules: Rules) -> str:
    return f"{holdout} hold-out tasks are too few to judge by ({rules.minimum} are needed)"
