"""When a training starts, and what is said when none does."""

from dataclasses import replace

import pytest
from prelabel_training.triggers.triggers import (
    Decision,
    Facts,
    Met,
    Nothing,
    Phase,
    Reason,
    Refused,
    Start,
    Stop,
    Training,
    TriggerRules,
    TriggerState,
    Wait,
    Why,
    announced,
    asked,
    cancelled,
    decide,
    ended,
)

RULES = TriggerRules(every_n=20, quiet_seconds=30, minimum=10)
"""A gap of 10 s, 3 attempts, 60 s before the second."""
START_MS = 1_000_000
NEW = TriggerState(since_ms=START_MS)


def facts(examples: int, *, new: int | None = None, name: str | None = None) -> Facts:
    """So many examples, by the first so many annotations."""
    return Facts(examples, name or f"set-{examples}", examples - 1, examples if new is None else new)


def at(seconds: float) -> int:
    return START_MS + round(seconds * 1000)


def started(state: TriggerState, given: Facts, seconds: float, rules: TriggerRules = RULES) -> TriggerState:
    """After a training that starts now has been announced."""
    state, decision = decide(state, given, rules, at(seconds))
    assert isinstance(decision, Start), decision
    return announced(state, decision.training)


def done(state: TriggerState, seconds: float, end: Phase = Phase.TRAINED) -> TriggerState:
    assert state.last is not None
    return ended(state, state.last.number, end, at(seconds))


def last(state: TriggerState) -> Training:
    assert state.last is not None
    return state.last


def word(decision: Decision) -> Reason:
    return decision.training.reason if isinstance(decision, Start | Stop) else decision.why.reason


# --------------------------------------------------------------------------------------------------- what starts


def test_every_n_new_examples_start_a_training_that_names_its_cut() -> None:
    state, decision = decide(NEW, facts(19), RULES, at(0))
    assert isinstance(decision, Wait)
    state, decision = decide(state, facts(20), RULES, at(1))
    assert isinstance(decision, Start)
    assert decision.training == Training(
        1, Reason.ENOUGH, cut=19, fingerprint="set-20", examples=20, requested_ms=at(1), phase_ms=at(1)
    )


def test_a_single_new_example_starts_one_after_the_quiet_period_and_not_before() -> None:
    state = done(started(NEW, facts(20), 0), 5)
    state, decision = decide(state, facts(21, new=1), RULES, at(100))
    assert isinstance(decision, Wait)
    assert (decision.until_ms, decision.why.reason) == (at(130), Reason.QUIET)
    state, decision = decide(state, facts(22, new=2), RULES, at(129))
    assert isinstance(decision, Wait), "what came meanwhile begins the quiet period anew"
    assert decision.until_ms == at(159)
    state, decision = decide(state, facts(22, new=2), RULES, at(158))
    assert isinstance(decision, Wait)
    _, decision = decide(state, facts(22, new=2), RULES, at(159))
    assert isinstance(decision, Start)
    assert word(decision) is Reason.QUIET


def test_a_schedule_starts_one_if_anything_is_new_and_none_otherwise() -> None:
    rules = TriggerRules(every_n=None, quiet_seconds=None, schedule_seconds=3600)
    state, decision = decide(NEW, facts(20), rules, at(10))
    assert isinstance(decision, Wait)
    assert decision.until_ms == at(3600)
    state = done(started(state, facts(20), 3600, rules), 3700)
    state, decision = decide(state, facts(20, new=0), rules, at(9000))
    assert isinstance(decision, Nothing)
    assert word(decision) is Reason.NOTHING_NEW
    _, decision = decide(state, facts(21, new=1), rules, at(9001))
    assert isinstance(decision, Start)
    assert word(decision) is Reason.SCHEDULE


def test_by_hand_one_starts_at_once_though_nothing_is_new_and_the_last_was_a_moment_ago() -> None:
    state = asked(done(started(NEW, facts(20), 0), 1), 1)
    _, decision = decide(state, facts(20, new=0), RULES, at(2))
    assert isinstance(decision, Start)
    assert word(decision) is Reason.ASKED
    assert decision.training.number == 2


def test_with_no_rule_only_hands_start_trainings_and_that_is_said() -> None:
    rules = TriggerRules(every_n=None, quiet_seconds=None)
    state, decision = decide(NEW, facts(50), rules, at(99_999))
    assert isinstance(decision, Nothing)
    assert decision.why.sentence == "50 new; trainings of this model start by hand only."
    assert isinstance(decide(asked(state, 1), facts(50), rules, at(99_999))[1], Start)


def test_a_deletion_alone_leads_to_a_training_without_it() -> None:
    state = done(started(NEW, facts(20), 0), 5)
    state, decision = decide(state, facts(19, new=1), RULES, at(50))
    assert isinstance(decision, Wait)
    _, decision = decide(state, facts(19, new=1), RULES, decision.until_ms)
    assert isinstance(decision, Start)
    assert decision.training.fingerprint == "set-19"


def test_what_comes_late_with_an_older_place_is_noticed_though_no_offset_is_after_the_cut() -> None:
    state = done(started(NEW, facts(20), 0), 5)
    late = Facts(examples=21, fingerprint="with-the-late-one", cut=19, new=0)
    state, decision = decide(state, late, RULES, at(50))
    assert isinstance(decision, Wait)
    assert isinstance(decide(state, late, RULES, at(80))[1], Start)


def test_what_changes_nothing_to_learn_from_starts_nothing() -> None:
    state = done(started(NEW, facts(20), 0), 5)
    held_out = replace(facts(20), cut=60, new=40)  # 40 annotations came, all of held-out tasks or said before
    _, decision = decide(state, held_out, RULES, at(9999))
    assert isinstance(decision, Nothing)
    assert word(decision) is Reason.NOTHING_NEW


def test_an_annotation_that_changes_nothing_does_not_begin_the_quiet_period_anew() -> None:
    state = done(started(NEW, facts(20), 0), 5)
    state, _ = decide(state, facts(21, new=1), RULES, at(100))
    state, _ = decide(state, replace(facts(21, new=1), cut=70), RULES, at(129))
    assert isinstance(decide(state, facts(21, new=1), RULES, at(130))[1], Start)


# ------------------------------------------------------------------------------------------------- one at a time


def test_what_comes_during_a_training_starts_the_next_when_it_has_ended() -> None:
    state = started(NEW, facts(20), 0)
    state, decision = decide(state, facts(90, new=70), RULES, at(600))
    assert isinstance(decision, Nothing)
    assert word(decision) is Reason.RUNNING
    _, decision = decide(done(state, 700), facts(90, new=70), RULES, at(700))
    assert isinstance(decision, Start)
    assert (decision.training.number, decision.training.cut) == (2, 89)


def test_wishes_during_a_training_wait_for_what_came_meanwhile_and_are_one_training() -> None:
    state = started(NEW, facts(20), 0)
    for wish in (1, 2, 3):
        state = asked(state, wish)
    state, decision = decide(state, facts(21, new=1), RULES, at(1))
    assert isinstance(decision, Nothing)
    assert word(decision) is Reason.RUNNING
    state = started(done(state, 2), facts(21, new=1), 2)
    assert last(state).reason is Reason.ASKED
    _, decision = decide(done(state, 3), facts(21, new=0), RULES, at(999))
    assert isinstance(decision, Nothing)


def test_a_wish_during_a_training_that_has_all_there_is_is_met_by_it_and_starts_none() -> None:
    state = asked(started(NEW, facts(20), 0), 1)
    state, decision = decide(state, facts(20, new=0), RULES, at(1))
    assert isinstance(decision, Met)
    assert (decision.wish, decision.number) == (1, 1)
    assert decision.why.sentence == (
        "Training 1 has been given all there is; to train on the same again, ask when it has ended."
    )
    for moment, now in ((2, state), (999, done(state, 3))):
        _, decision = decide(now, facts(20, new=0), RULES, at(moment))
        assert isinstance(decision, Nothing)


def test_a_wish_that_nobody_looked_at_until_that_training_had_ended_is_met_by_it() -> None:
    state = done(asked(started(NEW, facts(20), 0), 1), 1)
    state, decision = decide(state, facts(20, new=0), RULES, at(2))
    assert isinstance(decision, Met)
    assert isinstance(decide(asked(state, 2), facts(20, new=0), RULES, at(3))[1], Start), "asked when none runs"


@pytest.mark.parametrize("end", [Phase.FAILED, Phase.REFUSED, Phase.CANCELLED])
def test_a_wish_is_not_met_by_a_training_that_came_to_nothing(end: Phase) -> None:
    state = done(asked(started(NEW, facts(20), 0), 1), 1, end)
    _, decision = decide(state, facts(20, new=0), RULES, at(2))
    assert isinstance(decision, Start)
    assert word(decision) is Reason.ASKED


def test_a_wish_after_the_project_was_changed_is_not_met_by_a_training_of_before() -> None:
    state = asked(started(NEW, replace(facts(20), config="before"), 0), 1)
    changed = replace(facts(20, new=0), config="changed")
    state, decision = decide(state, changed, RULES, at(1))
    assert isinstance(decision, Nothing)
    _, decision = decide(done(state, 2), changed, RULES, at(2))
    assert isinstance(decision, Start)
    assert decision.training.config == "changed"


def test_a_wish_that_is_told_again_is_not_granted_again() -> None:
    state = done(started(asked(NEW, 7), facts(20), 0), 1)
    for again in (7, 6):
        _, decision = decide(asked(state, again), facts(20, new=0), RULES, at(2))
        assert isinstance(decision, Nothing)


def test_a_start_is_decided_again_under_its_number_until_it_is_announced() -> None:
    state, first = decide(NEW, facts(20), RULES, at(0))
    assert isinstance(first, Start)
    state, again = decide(state, facts(40), RULES, at(500))
    assert again == first
    _, decision = decide(announced(state, first.training), facts(40), RULES, at(500))
    assert isinstance(decision, Nothing)


def test_the_end_of_an_older_training_ends_nothing() -> None:
    state = done(started(NEW, facts(20), 0), 10)
    state = started(state, facts(40, new=20), 20)
    assert ended(state, 1, Phase.TRAINED, at(21)) == state
    assert ended(state, 3, Phase.TRAINED, at(21)) == state


def test_an_end_that_is_told_twice_is_told_once() -> None:
    state = done(started(NEW, facts(20), 0), 10)
    assert ended(state, 1, Phase.FAILED, at(99)) == state


def test_what_is_no_end_is_refused() -> None:
    with pytest.raises(ValueError, match="no end"):
        ended(started(NEW, facts(20), 0), 1, Phase.CANCELLING, at(1))


# ------------------------------------------------------------------------------------------------------- cancelling


def test_after_a_cancellation_the_next_waits_until_the_trainer_has_stopped_or_lost_its_lease() -> None:
    state = asked(cancelled(started(NEW, facts(20), 0), 1, at(5)), 1)
    state, decision = decide(state, facts(60, new=40), RULES, at(5))
    assert isinstance(decision, Stop)
    state = announced(state, decision.training)
    state, decision = decide(state, facts(60, new=40), RULES, at(64.999))
    assert isinstance(decision, Wait)
    assert decision.until_ms == at(65)
    assert isinstance(decide(state, facts(60, new=40), RULES, at(65))[1], Start)
    stopped = ended(state, 1, Phase.CANCELLED, at(9))
    assert isinstance(decide(stopped, facts(60, new=40), RULES, at(9))[1], Start)


def test_what_was_cancelled_does_not_start_by_itself_again_but_is_in_the_next() -> None:
    state = done(cancelled(started(NEW, facts(20), 0), 1, at(5)), 6, Phase.CANCELLED)
    state = announced(state, last(state))
    state, decision = decide(state, facts(20), RULES, at(9999))
    assert isinstance(decision, Nothing)
    assert word(decision) is Reason.GIVEN_UP
    assert "cancelled" in decision.why.sentence
    state, _ = decide(state, facts(21, new=1), RULES, at(10_000))
    _, decision = decide(state, facts(21, new=1), RULES, at(10_030))
    assert isinstance(decision, Start)
    assert decision.training.examples == 21


def test_a_result_that_comes_after_the_cancellation_is_cancelled_all_the_same() -> None:
    state = done(cancelled(started(NEW, facts(20), 0), 1, at(5)), 6, Phase.TRAINED)
    assert last(state).phase is Phase.CANCELLED


def test_a_cancellation_is_published_though_the_training_ended_meanwhile() -> None:
    state = done(cancelled(started(NEW, facts(20), 0), 1, at(5)), 6)
    state, decision = decide(state, facts(90), RULES, at(70))
    assert isinstance(decision, Stop)
    _, decision = decide(announced(state, decision.training), facts(90), RULES, at(70))
    assert isinstance(decision, Start)


def test_who_announces_a_request_says_nothing_of_its_cancellation() -> None:
    state, start = decide(NEW, facts(20), RULES, at(0))
    assert isinstance(start, Start)
    state = announced(cancelled(state, 1, at(1)), start.training)
    assert isinstance(decide(state, facts(20), RULES, at(2))[1], Stop)


@pytest.mark.parametrize("number", [0, 1, 3])
def test_only_the_training_under_way_can_be_cancelled(number: int) -> None:
    state = done(started(NEW, facts(20), 0), 1)
    state = started(state, facts(40, new=20), 20)
    assert cancelled(state, number, at(21)) == state
    over = done(state, 22)
    assert cancelled(over, 2, at(23)) == over


# ---------------------------------------------------------------------------------------------------- what is bad


@pytest.mark.parametrize("by_hand", [False, True])
def test_below_the_minimum_nobody_trains_and_how_many_are_missing_is_said(by_hand: bool) -> None:
    state = asked(NEW, 1) if by_hand else NEW
    state, decision = decide(state, facts(7), RULES, at(9999))
    assert isinstance(decision, Refused if by_hand else Nothing)
    assert (decision.why.reason, decision.why.have, decision.why.need) == (Reason.TOO_FEW, 7, 10)
    assert decision.why.sentence == "Too few examples: 7 of at least 10; 3 more needed (held-out tasks do not count)."
    state, decision = decide(state, facts(10), RULES, at(9999))
    assert isinstance(decision, Wait), "a refused wish does not come true later, unasked"


def test_a_failed_training_is_repeated_ever_more_seldom_and_then_left_until_something_is_new() -> None:
    state = done(started(NEW, facts(20), 0), 10, Phase.FAILED)
    for seconds, attempt in ((70, 2), (200, 3)):
        waiting, decision = decide(state, facts(20), RULES, at(seconds - 0.001))
        assert isinstance(decision, Wait)
        assert (decision.until_ms, decision.why.reason) == (at(seconds), Reason.AGAIN)
        state = started(waiting, facts(20), seconds)
        assert (last(state).number, last(state).attempt) == (attempt, attempt)
        state = done(state, seconds + 10, Phase.FAILED)
    state, decision = decide(state, facts(20), RULES, at(99_999))
    assert isinstance(decision, Nothing)
    assert word(decision) is Reason.GIVEN_UP
    state, _ = decide(state, facts(40, new=20), RULES, at(100_000))
    assert last(state).attempt == 1


def test_data_that_cannot_be_learned_from_is_not_tried_again() -> None:
    state = done(started(NEW, facts(20), 0), 10, Phase.REFUSED)
    _, decision = decide(state, facts(20), RULES, at(99_999))
    assert isinstance(decision, Nothing)
    assert decision.why.sentence.startswith("The last training: refused.")


def test_a_failing_trainer_is_not_asked_more_often_than_the_gap_allows() -> None:
    rules = replace(RULES, every_n=1, minimum=1)
    state = done(started(NEW, facts(1), 0, rules), 0.01, Phase.FAILED)
    _, decision = decide(state, facts(2, new=1), rules, at(0.02))
    assert isinstance(decision, Wait)
    assert (decision.until_ms, decision.why.reason) == (at(10), Reason.ENOUGH)


def test_a_clock_that_was_put_back_delays_by_a_period_at_most() -> None:
    state = done(started(NEW, facts(20), 10_000), 10_001, Phase.FAILED)
    state, _ = decide(state, facts(21, new=1), RULES, at(10_002))
    state, decision = decide(state, facts(21, new=1), RULES, at(0))
    assert isinstance(decision, Wait)
    assert decision.until_ms == at(30)
    assert isinstance(decide(state, facts(21, new=1), RULES, at(30))[1], Start)


def test_what_was_noticed_later_by_another_clock_does_not_matter() -> None:
    """Offsets and moments of annotations come from elsewhere; only our own clock tells how long it has been quiet."""
    state, decision = decide(NEW, facts(12), RULES, at(0))
    assert isinstance(decision, Wait)
    state, again = decide(state, facts(12), RULES, at(29))
    assert again == decision, "asking does not begin the quiet period anew"


@pytest.mark.parametrize(
    "wrong",
    [
        {"every_n": 0},
        {"quiet_seconds": 0.0},
        {"quiet_seconds": float("nan")},
        {"schedule_seconds": -1.0},
        {"minimum": 0},
        {"attempts": 0},
        {"retry_seconds": 0.0},
        {"grace_seconds": float("inf")},
        {"gap_seconds": -1.0},
        {"quiet_seconds": 5.0, "gap_seconds": 6.0},
    ],
)
def test_rules_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        TriggerRules(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_a_sentence(reason: Reason) -> None:
    assert Why(reason, 3, 5, Phase.FAILED).sentence.endswith(".")
