"""What is asked next follows from what is known and a seed, and from nothing else; nothing is asked twice."""

from collections import Counter
from collections.abc import Mapping
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prelabel_contract.projects import Question
from prelabel_contract.regions import Choice, Region, Span
from prelabel_training.leases.diversity import spread, weighted
from prelabel_training.leases.sampling import (
    POOL,
    SPREAD,
    USUAL,
    Candidate,
    Mix,
    Strategy,
    Turn,
    disagreement,
    order,
)

figures = st.none() | st.floats(0, 1)
texts = st.text("ab ", max_size=8) | st.text(max_size=8)
seeds = st.integers(0, 2**32)


def candidates(found: list[tuple[float | None, float | None, str]]) -> list[Candidate]:
    return [Candidate(f"task-{number:02}", *figures) for number, figures in enumerate(found)]


pools = st.lists(st.tuples(figures, figures, texts), max_size=12).map(candidates)
mixes = st.lists(
    st.builds(Turn, st.sampled_from(Strategy), st.floats(0.01, 100)),
    min_size=1,
    max_size=4,
    unique_by=lambda turn: turn.strategy,
).map(lambda turns: Mix(tuple(turns)))
strategies: st.SearchStrategy[Strategy | Mix] = st.sampled_from(Strategy) | mixes


@given(pools, strategies, st.integers(0, 15), seeds)
def test_no_task_is_asked_twice_and_none_is_lost(
    pool: list[Candidate], strategy: Strategy | Mix, count: int, seed: int
) -> None:
    asked = [each.task for each in order(pool, strategy, count, Random(seed))]
    assert len(asked) == len(set(asked)) == min(count, len(pool))
    assert {*asked} <= {each.task for each in pool}


@given(pools, strategies, seeds, st.randoms(use_true_random=False))
def test_the_order_that_candidates_come_in_changes_nothing(
    pool: list[Candidate], strategy: Strategy | Mix, seed: int, shuffled: Random
) -> None:
    mixed = shuffled.sample(pool, len(pool))
    assert order(mixed, strategy, 12, Random(seed)) == order(pool, strategy, 12, Random(seed))


@given(pools, strategies, st.integers(0, 12), seeds)
def test_who_asks_for_fewer_is_told_the_same_ones_first(
    pool: list[Candidate], strategy: Strategy | Mix, count: int, seed: int
) -> None:
    assert order(pool, strategy, count, Random(seed)) == order(pool, strategy, 12, Random(seed))[:count]


@pytest.mark.parametrize("strategy", [Strategy.UNCERTAINTY, Strategy.DISAGREEMENT], ids=lambda one: one.value)
@given(pools, seeds)
def test_what_is_higher_is_asked_before(strategy: Strategy, pool: list[Candidate], seed: int) -> None:
    known = {one.task: getattr(one, strategy.value) for one in pool}
    told = [known[each.task] for each in order(pool, strategy, 12, Random(seed)) if known[each.task] is not None]
    assert told == sorted(told, reverse=True)


@pytest.mark.parametrize("unknown", [1, 100], ids=["one", "hundred"])
def test_what_nothing_is_known_of_comes_in_the_middle(unknown: int) -> None:
    told = {f"told-{number}": number / 10 for number in (1, 2, 8, 9)}
    pool = [Candidate(task, figure) for task, figure in told.items()]
    pool += [Candidate(f"unknown-{number}") for number in range(unknown)]
    asked = [each.task for each in order(pool, Strategy.UNCERTAINTY, len(pool), Random(1))]
    assert asked[:2] == ["told-9", "told-8"]
    assert asked[-2:] == ["told-2", "told-1"]


@pytest.mark.parametrize("strategy", [*Strategy, USUAL], ids=[*(one.value for one in Strategy), "mixed"])
def test_equals_are_drawn_and_not_asked_by_their_names(strategy: Strategy | Mix) -> None:
    pool = [Candidate(f"task-{number}", 0.5, 0.5, "the same") for number in range(5)]
    firsts = Counter(order(pool, strategy, 1, Random(seed))[0].task for seed in range(200))
    assert len(firsts) == 5
    assert max(firsts.values()) < 80


@given(mixes, seeds)
def test_a_mix_gives_each_strategy_its_share_at_any_time(mix: Mix, seed: int) -> None:
    pool = [Candidate(f"task-{number:02}", number / 60, 1 - number / 60, f"word{number}") for number in range(60)]
    whole = sum(turn.share for turn in mix.turns)
    had: Counter[Strategy] = Counter()
    for number, each in enumerate(order(pool, mix, 40, Random(seed)), start=1):
        had[each.by] += 1
        for turn in mix.turns:
            ahead = had[turn.strategy] - number * turn.share / whole
            assert -(len(mix.turns) - 1) - 1e-9 <= ahead < 1 + 1e-9


def test_a_strategy_s_turn_takes_its_own_best_that_is_left() -> None:
    pool = [Candidate("both", 0.9, 0.9), Candidate("unsure", 0.8, 0.1), Candidate("disputed", 0.1, 0.8)]
    mix = Mix((Turn(Strategy.UNCERTAINTY, 1), Turn(Strategy.DISAGREEMENT, 1)))
    asked = [(each.task, each.by) for each in order(pool, mix, 2, Random(1))]
    assert asked == [("both", Strategy.UNCERTAINTY), ("disputed", Strategy.DISAGREEMENT)]


TOPICS: Mapping[str, str] = {
    "sport": "goal match team player referee",
    "money": "bank loan interest stock broker",
    "food": "bread butter oven salt recipe",
}


def topical(number: int) -> list[Candidate]:
    return [
        Candidate(f"{topic}-{at}", text=f"{words} note{at}") for topic, words in TOPICS.items() for at in range(number)
    ]


@pytest.mark.parametrize("seed", range(5), ids=str)
def test_diversity_asks_of_each_topic_before_it_asks_of_one_again(seed: int) -> None:
    asked = order(topical(5), Strategy.DIVERSITY, 3, Random(seed))
    assert {each.task.split("-")[0] for each in asked} == {*TOPICS}


@pytest.mark.parametrize("seed", range(5), ids=str)
def test_diversity_keeps_away_from_what_was_asked(seed: int) -> None:
    asked = order(topical(5), Strategy.DIVERSITY, 1, Random(seed), done=[TOPICS["sport"], TOPICS["money"]])
    assert asked[0].task.startswith("food")


@settings(max_examples=50)
@given(st.lists(texts, min_size=1, max_size=8), st.lists(texts, max_size=3))
def test_each_text_is_as_far_from_the_nearest_before_it_as_any_that_is_left(found: list[str], done: list[str]) -> None:
    places = list(spread(found, done))
    assert sorted(places) == list(range(len(found)))
    vectors = weighted([*found, *done])

    def near(one: int, other: int) -> float:
        return sum(weight * vectors[other].get(word, 0.0) for word, weight in vectors[one].items())

    before = list(range(len(found), len(vectors)))
    for at, place in enumerate(places):
        if before:
            least = min(max(near(left, one) for one in before) for left in places[at:])
            assert max(near(place, one) for one in before) <= least + 1e-9
        before.append(place)


def test_texts_without_words_are_alike_and_are_asked_once() -> None:
    assert 2 in list(spread(["", "?!", "bread", "..."]))[:2]
    assert 2 in list(spread(["", "?!", "bread", "..."], ["---"]))[:1]


def test_what_is_written_without_spaces_has_words() -> None:
    one, other, _ = weighted(["今日は雨", "明日は雨", "bread"])
    assert {*one} & {*other}


def test_lone_surrogates_and_one_endless_word_are_texts() -> None:
    assert sorted(spread(["\ud800", "x" * 1_000_000, "a\x00b"])) == [0, 1, 2]


def test_a_pool_beyond_the_bound_is_asked_as_a_whole() -> None:
    pool = [Candidate(f"task-{number:04}", text=f"w{number % 7}") for number in range(POOL + 10)]
    asked = [each.task for each in order(pool, Strategy.DIVERSITY, len(pool), Random(1))]
    assert sorted(asked) == [one.task for one in pool]
    assert len(pool) > SPREAD


NAMES = [Question(name="names", kind="span", field="text")]


def span(start: int, label: str = "PER", score: float | None = None) -> Region:
    return Span(field="text", question="names", start=start, end=start + 1, labels=(label,), score=score)


@pytest.mark.parametrize(
    ("predictions", "expected"),
    [
        ([], None),
        ([[span(0)]], None),
        ([[], []], 0.0),
        ([[span(0, score=0.9)], [span(0, score=0.1)]], 0.0),
        ([[span(0)], [span(0, "ORG")]], 1.0),
        ([[span(0)], []], 1.0),
        ([[span(0), span(1)], [span(0), span(2)]], 0.5),
        ([[span(0)], [span(0)], [span(1)]], pytest.approx(2 / 3)),
    ],
    ids=["none", "one", "both_nothing", "same", "other_label", "one_nothing", "half", "two_of_three"],
)
def test_disagreement_is_what_providers_do_not_share(predictions: list[list[Region]], expected: float | None) -> None:
    assert disagreement(predictions, NAMES) == expected
    assert disagreement(predictions[::-1], NAMES) == expected


def test_without_a_question_that_is_scored_there_is_no_disagreement() -> None:
    assert disagreement([[Choice(labels=("a",))], [Choice(labels=("b",))]], []) is None


@pytest.mark.parametrize("figure", [-0.1, 1.1, float("nan")], ids=["under", "over", "nan"])
def test_figures_out_of_range_are_refused(figure: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        Candidate("a", uncertainty=figure)
    with pytest.raises(ValueError, match="between 0 and 1"):
        Candidate("a", disagreement=figure)


def test_a_task_that_is_a_candidate_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="a is a candidate twice"):
        order([Candidate("a", 0.1), Candidate("a", 0.9)], Strategy.RANDOM, 1, Random(1))


def test_a_negative_count_is_refused() -> None:
    with pytest.raises(ValueError, match="no fewer"):
        order([Candidate("a")], Strategy.RANDOM, -1, Random(1))


@pytest.mark.parametrize(
    "turns",
    [
        (),
        (Turn(Strategy.RANDOM, 0),),
        (Turn(Strategy.RANDOM, float("nan")),),
        (Turn(Strategy.RANDOM, float("inf")),),
        (Turn(Strategy.RANDOM, 1), Turn(Strategy.RANDOM, 1)),
    ],
    ids=["empty", "zero", "nan", "infinite", "twice"],
)
def test_mixes_that_say_nothing_are_refused(turns: tuple[Turn, ...]) -> None:
    with pytest.raises(ValueError, match="mix"):
        Mix(turns)
