"""A storm of annotations is a few trainings, and its last annotation is in one of them soon."""

import random
from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prelabel_training.triggers.triggers import (
    Decision,
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

STORM_MS = 10_000
COUNT = 1000


def stored(moments: Sequence[int], now_ms: int, state: TriggerState) -> Facts:
    """What is stored once the annotations up to now are, each of a task of its own."""
    count = bisect_right(moments, now_ms)
    return Facts(count, f"first-{count}", count - 1, count - 1 - (state.last.cut if state.last else -1))


def trainings(moments: Sequence[int], rules: TriggerRules, training_ms: int) -> list[Training]:
    """All that starts, if somebody looks whenever an annotation is stored, a training ends or a wait is over."""
    state, made = TriggerState(since_ms=0), list[Training]()
    looks = sorted(set(moments))
    now_ms = looks[0]
    while True:
        facts = stored(moments, now_ms, state)
        state, decision = decide(state, facts, rules, now_ms)
        honest(state, decision, facts, rules)
        if isinstance(decision, Start):
            made.append(decision.training)
            state = announced(state, decision.training)
        running = state.under_way
        coming = looks[bisect_right(looks, now_ms) :][:1]
        coming += [running.requested_ms + training_ms] if running else []
        coming += [decision.until_ms] if isinstance(decision, Wait) else []
        if not coming:
            return made
        now_ms = min(coming)
        if running and now_ms == running.requested_ms + training_ms:
            state = ended(state, running.number, Phase.TRAINED, now_ms)


def honest(state: TriggerState, decision: Decision, facts: Facts, rules: TriggerRules) -> None:
    """Whoever is told to wait until a moment finds a start then, and none before."""
    if isinstance(decision, Wait):
        assert not isinstance(decide(state, facts, rules, decision.until_ms - 1)[1], Start)
        assert isinstance(decide(state, facts, rules, decision.until_ms)[1], Start)


@st.composite
def storms(draw: st.DrawFn) -> list[int]:
    """A thousand moments within ten seconds, spread evenly or in bursts; some at both ends."""
    rng = draw(st.randoms(use_true_random=True))  # by a seed: a thousand draws cost half of the test
    bursts = draw(st.one_of(st.none(), st.lists(st.integers(0, STORM_MS), min_size=1, max_size=8)))
    if bursts is None:
        return sorted(rng.randint(0, STORM_MS) for _ in range(COUNT))
    return sorted(rng.choice(bursts) for _ in range(COUNT))


DURATIONS = st.one_of(st.integers(1, 2000), st.integers(1, 60_000))


@given(storms(), DURATIONS, st.one_of(st.none(), st.integers(1, 200)), st.integers(10, 60), st.integers(1, 50))
def test_a_thousand_annotations_in_ten_seconds_are_three_trainings_at_most(
    moments: list[int], training_ms: int, every_n: int | None, quiet_seconds: int, minimum: int
) -> None:
    rules = TriggerRules(every_n=every_n, quiet_seconds=quiet_seconds, minimum=minimum)
    made = trainings(moments, rules, training_ms)
    assert 1 <= len(made) <= 3


@given(storms(), DURATIONS, st.integers(1, 200), st.integers(1, 20), st.data())
def test_the_last_annotation_is_in_a_training_after_the_quiet_period_or_the_training_under_way(
    moments: list[int], training_ms: int, every_n: int, quiet_seconds: int, data: st.DataObject
) -> None:
    gap_seconds = data.draw(st.one_of(st.none(), st.integers(0, quiet_seconds)))
    rules = TriggerRules(every_n=every_n, quiet_seconds=quiet_seconds, gap_seconds=gap_seconds, minimum=1)
    made = trainings(moments, rules, training_ms)
    assert made[-1].examples == COUNT
    quiet_ms = moments[-1] + quiet_seconds * 1000
    free_ms = made[-2].requested_ms + training_ms if len(made) > 1 else 0
    assert made[-1].requested_ms <= max(quiet_ms, free_ms)


@given(storms(), DURATIONS, st.integers(1, 10), st.integers(1, 10))
def test_trainings_nobody_asked_for_keep_their_gap_however_fast_they_are(
    moments: list[int], training_ms: int, every_n: int, gap_seconds: int
) -> None:
    rules = TriggerRules(every_n=every_n, quiet_seconds=10, gap_seconds=gap_seconds, minimum=1)
    made = trainings(moments, rules, training_ms)
    assert len(made) <= STORM_MS / (gap_seconds * 1000) + 2
    for one, following in pairwise(made):
        assert following.requested_ms >= one.requested_ms + max(gap_seconds * 1000, training_ms)


@pytest.mark.parametrize("training_ms", [50, 5_000, 120_000])
def test_a_trickle_without_end_is_learned_from_all_the_time(training_ms: int) -> None:
    """It is never quiet, and the number of examples is never reached soon: what is new is not put off for ever."""
    rng = random.Random(3)
    moments = sorted(rng.randint(0, 3_600_000) for _ in range(3600))  # an hour, one a second
    made = trainings(moments, TriggerRules(), training_ms)
    assert len(made) >= 3_600_000 / (max(training_ms, 60_000) + 60_000)
    assert made[-1].examples == 3600
