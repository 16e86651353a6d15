"""The gate lets through what is not worse, and nothing else: decided on the same tasks, by a bootstrap with a seed."""

from collections import Counter
from collections.abc import Callable, Sequence
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prelabel_training.gate.gate import Basis, Evaluation, NotComparable, Outcome, Reason, Rules, compare, decide
from prelabel_training.gate.scoring import Metric, Result

from tests.unit.training.versions import answered, classifiers, marked, taggers

SEEDS = range(20)
QUICK = Rules(resamples=100, minimum=1, minimum_cross_validated=1)
Make = Callable[[Sequence[float], int, Random], list[list[Result]]]

pair = st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 3), st.integers(0, 3), st.integers(0, 2))


def versions(counts: Sequence[tuple[int, int, int, int, int]]) -> tuple[list[Result], list[Result]]:
    """Two versions with the same truth: true spans, of which each finds some; what each says wrongly."""
    both: tuple[list[Result], list[Result]] = ([], [])
    for number, (one, other, fp_one, fp_other, more) in enumerate(counts):
        true = max(one, other) + more
        for results, tp, fp in ((both[0], one, fp_one), (both[1], other, fp_other)):
            results.append(marked(f"task-{number:03}", {"PER": (tp, fp, true - tp)}))
    return both


two_versions = st.lists(pair, min_size=1, max_size=12).map(versions)


@pytest.mark.parametrize(
    ("make", "metric"), [(classifiers, Metric.ACCURACY), (taggers, Metric.MICRO_F1)], ids=["choices", "spans"]
)
def test_a_model_from_20_percent_flipped_labels_is_refused_in_all_of_20_seeds(make: Make, metric: Metric) -> None:
    assert outcomes(make, metric, (0.80, 0.72)) == {Outcome.REFUSE: 20}


@pytest.mark.parametrize(
    ("make", "metric"), [(classifiers, Metric.ACCURACY), (taggers, Metric.MICRO_F1)], ids=["choices", "spans"]
)
def test_a_model_from_twice_the_clean_data_is_promoted_in_at_least_18_of_20_seeds(make: Make, metric: Metric) -> None:
    assert outcomes(make, metric, (0.80, 0.88))[Outcome.PROMOTE] >= 18


def outcomes(make: Make, metric: Metric, qualities: tuple[float, float], tasks: int = 200) -> Counter[Outcome]:
    """What becomes of the second version, by outcome, over the seeds: on the hold-out that 1,000 tasks have."""
    found: Counter[Outcome] = Counter()
    for seed in SEEDS:
        serving, candidate = make(qualities, tasks, Random(seed))
        decision = decide(Evaluation(serving), Evaluation(candidate), Rules(metric=metric), Random(seed))
        found[decision.outcome] += 1
    return found


@given(two_versions, st.integers(), st.randoms(use_true_random=False))
def test_the_order_of_the_tasks_changes_nothing(
    both: tuple[list[Result], list[Result]], seed: int, shuffled: Random
) -> None:
    serving, candidate = both
    mixed = [shuffled.sample(results, len(results)) for results in both]
    one = decide(Evaluation(serving), Evaluation(candidate), QUICK, Random(seed))
    assert decide(Evaluation(mixed[0]), Evaluation(mixed[1]), QUICK, Random(seed)) == one


@given(two_versions, st.sampled_from(Metric), st.floats(0, 0.5), st.integers())
def test_the_same_results_are_always_promoted(
    both: tuple[list[Result], list[Result]], metric: Metric, margin: float, seed: int
) -> None:
    rules = Rules(metric=metric, margin=margin, resamples=20, minimum=1)
    decision = decide(Evaluation(both[0]), Evaluation(list(both[0])), rules, Random(seed))
    assert (decision.outcome, decision.reason) == (Outcome.PROMOTE, Reason.NOT_WORSE)


@given(two_versions, st.sampled_from(Metric), st.integers())
def test_swapping_the_versions_turns_the_difference_and_its_bounds_round(
    both: tuple[list[Result], list[Result]], metric: Metric, seed: int
) -> None:
    rules = Rules(metric=metric, resamples=50)
    there, back = (compare(a, b, rules, Random(seed)) for a, b in (both, both[::-1]))
    assert (there.serving, there.candidate) == (back.candidate, back.serving)
    assert there.difference == pytest.approx(-back.difference)
    assert there.lower == pytest.approx(-back.upper)
    assert there.upper == pytest.approx(-back.lower)


@given(two_versions, st.integers())
def test_of_two_versions_not_both_are_worse(both: tuple[list[Result], list[Result]], seed: int) -> None:
    serving, candidate = (Evaluation(results) for results in both)
    reasons = [decide(a, b, QUICK, Random(seed)).reason for a, b in ((serving, candidate), (candidate, serving))]
    assert reasons != [Reason.WORSE, Reason.WORSE]
    if Reason.BETTER in reasons:
        assert reasons.count(Reason.BETTER) == 1


@given(two_versions, st.integers())
def test_a_version_that_is_nowhere_worse_is_promoted(both: tuple[list[Result], list[Result]], seed: int) -> None:
    serving = both[0]
    better = [
        marked(one.task, {"PER": (one.counts.tp + one.counts.fn, one.counts.fp // 2, 0)}) if i % 2 else one
        for i, one in enumerate(serving)
    ]
    assert decide(Evaluation(serving), Evaluation(better), QUICK, Random(seed)).outcome is Outcome.PROMOTE


@given(two_versions, st.floats(0, 0.2), st.floats(0, 0.2), st.integers())
def test_a_wider_margin_never_refuses_what_a_narrower_lets_through(
    both: tuple[list[Result], list[Result]], one: float, more: float, seed: int
) -> None:
    serving, candidate = (Evaluation(results) for results in both)
    strict, lax = (Rules(margin=margin, resamples=50, minimum=1) for margin in (one, one + more))
    if decide(serving, candidate, strict, Random(seed)).outcome is Outcome.PROMOTE:
        assert decide(serving, candidate, lax, Random(seed)).outcome is Outcome.PROMOTE


def with_right(right: int, tasks: int) -> list[Result]:
    return [answered(f"task-{number:03}", right=number < right) for number in range(tasks)]


def test_a_loss_of_exactly_the_margin_is_allowed_and_one_task_more_is_not() -> None:
    # 0.89 - 0.9 is less than -0.01 in floating point. Half of the resamples are asked for: the median is the loss.
    rules = Rules(metric=Metric.ACCURACY, margin=0.01, confidence=0.5)
    serving = Evaluation(with_right(180, 200))
    assert decide(serving, Evaluation(with_right(178, 200)), rules, Random(1)).outcome is Outcome.PROMOTE
    assert decide(serving, Evaluation(with_right(177, 200)), rules, Random(1)).reason is Reason.WORSE


def test_luck_on_few_tasks_is_not_enough() -> None:
    serving, candidate = (
        [answered(f"task-{n:03}", right=n % 3 != rest or n == 0) for n in range(40)] for rest in (0, 1)
    )
    decision = decide(Evaluation(serving), Evaluation(candidate), Rules(metric=Metric.ACCURACY), Random(1))
    assert decision.comparison is not None
    assert decision.comparison.difference >= -0.01
    assert (decision.outcome, decision.reason) == (Outcome.REFUSE, Reason.UNSURE)
    assert decision.text == (
        "Not promoted: accuracy 0.675 on 40 hold-out tasks, against 0.675 of the serving version: "
        f"it may be {-decision.comparison.lower:.3f} worse (with 95 % confidence not more), and 0.01 is allowed."
    )


def test_a_worse_version_is_refused_with_the_numbers_in_a_sentence() -> None:
    decision = decide(Evaluation(with_right(90, 100)), Evaluation(with_right(80, 100)), Rules(), Random(1))
    assert (decision.outcome, decision.reason, decision.basis) == (Outcome.REFUSE, Reason.WORSE, Basis.HOLDOUT)
    assert (decision.tasks, decision.score) == (100, 0.8)
    assert decision.text == (
        "Not promoted: F1 0.800 on 100 hold-out tasks, against 0.900 of the serving version: "
        "0.100 worse, and 0.01 is allowed."
    )


def test_a_better_version_is_promoted_with_the_numbers_in_a_sentence() -> None:
    decision = decide(Evaluation(with_right(80, 100)), Evaluation(with_right(90, 100)), Rules(), Random(1))
    assert (decision.outcome, decision.reason) == (Outcome.PROMOTE, Reason.BETTER)
    assert decision.comparison is not None
    assert decision.text == (
        "Promoted: F1 0.900 on 100 hold-out tasks, against 0.800 of the serving version: "
        f"with 95 % confidence at least {decision.comparison.lower:.3f} better."
    )


def test_an_untrained_base_that_finds_nothing_is_beaten_and_one_that_finds_more_is_not() -> None:
    base = [marked(f"task-{n}", {"PER": (0, 0, 2)}) for n in range(40)]
    trained = [marked(f"task-{n}", {"PER": (1, 0, 1)}) for n in range(40)]
    assert decide(Evaluation(base), Evaluation(trained), Rules(), Random(1)).reason is Reason.BETTER
    assert decide(Evaluation(trained), Evaluation(base), Rules(), Random(1)).reason is Reason.WORSE


def test_with_nothing_to_find_who_says_nothing_is_better_than_who_says_something() -> None:
    silent, talking = ([marked(f"task-{n}", {"PER": (0, fp, 0)} if fp else {}) for n in range(40)] for fp in (0, 1))
    assert decide(Evaluation(silent), Evaluation(talking), Rules(), Random(1)).reason is Reason.WORSE
    assert decide(Evaluation(talking), Evaluation(silent), Rules(), Random(1)).reason is Reason.BETTER


def test_where_nothing_serves_the_first_version_is_promoted() -> None:
    decision = decide(None, Evaluation(with_right(3, 30)), Rules(), Random(1))
    assert (decision.outcome, decision.reason) == (Outcome.PROMOTE, Reason.NO_SERVING_VERSION)
    assert decision.text == "Promoted: nothing served before; F1 0.100 on 30 hold-out tasks."


def test_where_nothing_serves_and_the_hold_out_is_small_the_first_version_is_provisional() -> None:
    decision = decide(None, Evaluation(with_right(3, 29), with_right(60, 80)), Rules(), Random(1))
    assert (decision.outcome, decision.reason) == (Outcome.PROVISIONAL, Reason.NO_SERVING_VERSION)
    assert decision.text == (
        "Promoted provisionally: nothing served before, and 29 hold-out tasks are too few to judge by "
        "(30 are needed); F1 0.750 on 80 cross-validated tasks."
    )
    assert decide(None, Evaluation([]), Rules(), Random(1)).outcome is Outcome.PROVISIONAL


@pytest.mark.parametrize(
    ("right", "outcome", "reason"),
    [(60, Outcome.PROVISIONAL, Reason.BETTER), (20, Outcome.REFUSE, Reason.WORSE)],
    ids=["better", "worse"],
)
def test_below_the_minimum_hold_out_cross_validation_decides(right: int, outcome: Outcome, reason: Reason) -> None:
    # On the hold-out itself each would be decided the other way.
    serving = Evaluation(with_right(60 - right, 29), with_right(40, 80))
    candidate = Evaluation(with_right(right - 20, 29), with_right(right, 80))
    decision = decide(serving, candidate, Rules(), Random(1))
    assert (decision.outcome, decision.reason, decision.basis) == (outcome, reason, Basis.CROSS_VALIDATION)
    assert (decision.tasks, decision.score) == (80, right / 80)
    assert f"{right / 80:.3f} on 80 cross-validated tasks" in decision.text


def test_one_hold_out_task_more_and_the_hold_out_decides() -> None:
    serving, candidate = (Evaluation(with_right(n, 30), with_right(30 - n, 30)) for n in (10, 20))
    decision = decide(serving, candidate, Rules(), Random(1))
    assert (decision.outcome, decision.basis) == (Outcome.PROMOTE, Basis.HOLDOUT)


@pytest.mark.parametrize(("before", "after"), [(19, 19), (0, 50), (50, 0)])
def test_with_too_little_of_everything_what_serves_goes_on(before: int, after: int) -> None:
    serving = Evaluation(with_right(0, 5), with_right(0, before))
    decision = decide(serving, Evaluation(with_right(5, 5), with_right(after, after)), Rules(), Random(1))
    assert (decision.outcome, decision.reason, decision.comparison) == (Outcome.REFUSE, Reason.TOO_FEW, None)
    assert decision.text == (
        "Not promoted: 5 hold-out tasks are too few to judge by (30 are needed), and so are "
        f"{min(before, after)} that both versions were cross-validated on (20 are needed)."
    )


def test_versions_scored_on_different_tasks_are_not_compared() -> None:
    with pytest.raises(NotComparable, match="different tasks: 2 of one only, the first is task-030"):
        decide(Evaluation(with_right(9, 30)), Evaluation(with_right(9, 32)), Rules(), Random(1))


def test_versions_scored_against_different_truths_are_not_compared() -> None:
    other = [answered("task-000", right=True, true="c"), *with_right(9, 30)[1:]]
    with pytest.raises(NotComparable, match="different truths: on 1 tasks, the first is task-000"):
        decide(Evaluation(with_right(9, 30)), Evaluation(other), Rules(), Random(1))


def test_a_task_that_is_scored_twice_is_refused() -> None:
    twice = [*with_right(9, 30), answered("task-000", right=True)]
    with pytest.raises(NotComparable, match="scored twice"):
        decide(Evaluation(twice), Evaluation(twice), Rules(), Random(1))


def test_no_tasks_are_no_comparison() -> None:
    with pytest.raises(NotComparable, match="no task"):
        compare([], [], Rules(), Random(1))


@pytest.mark.parametrize(
    "wrong",
    [{"margin": -0.01}, {"margin": 1}, {"confidence": 0.4}, {"confidence": 1.0}, {"resamples": 0}, {"minimum": 0}],
)
def test_rules_that_nothing_could_be_judged_by_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"margin|confidence|at least one"):
        Rules(**wrong)  # type: ignore[arg-type]


@settings(max_examples=20)
@given(st.integers())
def test_the_same_seed_gives_the_same_decision(seed: int) -> None:
    serving, candidate = (Evaluation(results) for results in classifiers([0.8, 0.82], 60, Random(seed)))
    one, again = (decide(serving, candidate, QUICK, Random(seed)) for _ in range(2))
    assert one == again
