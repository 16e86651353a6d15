"""What counts as right: spans by their ends and label, choices by their set, and metrics that are sums over tasks."""

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prelabel_contract.projects import Question
from prelabel_contract.regions import KINDS, Choice, Number, Pairwise, Rating, Rectangle, RegionBase, Span, Taxonomy
from prelabel_training.gate.bootstrap import Resampling
from prelabel_training.gate.scoring import (
    SCORED,
    Counts,
    LabelCounts,
    LabelKey,
    Metric,
    Result,
    measure,
    report,
    score,
    usual_metric,
)

from tests.unit.training.versions import answered, classifiers, marked, taggers

NAMES = Question.model_validate({"name": "names", "kind": "span", "field": "text", "labels": ["PER", "ORG"]})
TOPIC = Question.model_validate({"name": "topic", "kind": "choice", "field": "text", "labels": ["a", "b", "c"]})
PLACE = Question.model_validate({"name": "place", "kind": "taxonomy", "field": "text", "labels": ["x", "y"]})
BOXES = Question.model_validate({"name": "boxes", "kind": "rectangle", "field": "image", "labels": ["cat"]})


def span(start: int, end: int, *labels: str, field: str = "text", question: str = "names") -> Span:
    return Span(field=field, question=question, labels=labels, start=start, end=end)


def choice(*labels: str, field: str = "text") -> Choice:
    return Choice(field=field, question="topic", labels=labels)


def counts(result: Result) -> dict[str, tuple[int, int, int]]:
    return {one.key.label: (one.counts.tp, one.counts.fp, one.counts.fn) for one in result.labels}


@pytest.mark.parametrize(
    "other",
    [
        span(1, 4, "PER"),
        span(0, 5, "PER"),
        span(0, 4, "ORG"),
        span(0, 4, "PER", field="title"),
    ],
    ids=["start", "end", "label", "field"],
)
def test_a_span_that_differs_in_one_thing_is_wrong_and_misses_the_true_one(other: Span) -> None:
    result = score("t", [other], [span(0, 4, "PER")], [NAMES])
    assert result.counts == Counts(0, 1, 1)
    assert result.right == ()


def test_a_span_matches_whatever_its_id_score_and_text_are() -> None:
    said = span(0, 4, "PER").model_copy(update={"id": "7", "score": 0.3, "text": "Anna"})
    assert counts(score("t", [said], [span(0, 4, "PER")], [NAMES])) == {"PER": (1, 0, 0)}


def test_a_span_said_twice_is_right_once_and_wrong_once() -> None:
    result = score("t", [span(0, 4, "PER")] * 2, [span(0, 4, "PER"), span(9, 12, "ORG")], [NAMES])
    assert counts(result) == {"ORG": (0, 0, 1), "PER": (1, 1, 0)}


def test_a_span_with_two_labels_counts_for_each() -> None:
    assert counts(score("t", [span(0, 4, "PER")], [span(0, 4, "PER", "ORG")], [NAMES])) == {
        "ORG": (0, 0, 1),
        "PER": (1, 0, 0),
    }


def test_choices_are_sets_however_they_are_cut_into_regions() -> None:
    result = score("t", [choice("b", "a")], [choice("a"), choice("b"), choice("a")], [TOPIC])
    assert counts(result) == {"a": (1, 0, 0), "b": (1, 0, 0)}
    assert result.right == ("topic",)


def test_one_choice_too_many_is_wrong_as_a_whole_and_right_in_part() -> None:
    result = score("t", [choice("a", "b")], [choice("a")], [TOPIC])
    assert counts(result) == {"a": (1, 0, 0), "b": (0, 1, 0)}
    assert result.right == ()


def test_taxonomies_are_compared_by_whole_paths() -> None:
    def chosen(*paths: tuple[str, ...]) -> Taxonomy:
        return Taxonomy(field="text", question="place", paths=paths)

    assert counts(score("t", [chosen(("x", "y"))], [chosen(("x",), ("x", "y"))], [PLACE])) == {
        "x": (0, 0, 1),
        "x > y": (1, 0, 0),
    }


def test_rightly_saying_nothing_is_right() -> None:
    result = score("t", [], [], [TOPIC, NAMES])
    assert result.asked == result.right == ("names", "topic")
    assert measure(Metric.ACCURACY, [result]) == 1
    assert measure(Metric.MICRO_F1, [result]) is None


def test_what_was_not_asked_is_not_looked_at() -> None:
    assert score("t", [choice("a")], [span(0, 4, "PER")], [NAMES]) == score("t", [], [span(0, 4, "PER")], [NAMES])


def test_what_is_below_its_threshold_was_not_said_but_what_a_person_accepted_is_true() -> None:
    below = span(0, 4, "PER").model_copy(update={"below_threshold": True})
    assert counts(score("t", [below], [span(0, 4, "PER")], [NAMES])) == {"PER": (0, 0, 1)}
    assert counts(score("t", [span(0, 4, "PER")], [below], [NAMES])) == {"PER": (1, 0, 0)}


def test_what_is_drawn_is_not_scored_and_its_question_not_asked() -> None:
    box = Rectangle(field="image", question="boxes", labels=("cat",), x=1, y=1, width=5, height=5)
    assert score("t", [box], [box], [BOXES]) == Result("t", (), (), ())
    assert SCORED < KINDS
    assert "rectangle" not in SCORED


@pytest.mark.parametrize(
    ("said", "true", "expected"),
    [
        (Number(number=1.5), Number(number=1.5), {"": (1, 0, 0)}),
        (Number(number=1.5), Number(number=1.25), {"": (0, 1, 1)}),
        (Rating(rating=4), Rating(rating=5), {"4": (0, 1, 0), "5": (0, 0, 1)}),
        (Pairwise(selected="left"), Pairwise(selected="left"), {"left": (1, 0, 0)}),
    ],
    ids=["number", "other number", "rating", "pairwise"],
)
def test_answers_match_when_they_are_equal(
    said: RegionBase, true: RegionBase, expected: dict[str, tuple[int, int, int]]
) -> None:
    question = NAMES.model_copy(update={"name": "", "kind": getattr(said, "kind", "")})
    assert counts(score("t", [said], [true], [question])) == expected


labels = st.sampled_from(["PER", "ORG"])
spans = st.lists(st.builds(lambda s, n, label: span(s, s + n, label), st.integers(0, 3), st.integers(0, 2), labels))


@given(spans, spans)
def test_saying_and_being_true_change_places_when_the_regions_do(said: list[Span], true: list[Span]) -> None:
    one, other = score("t", said, true, [NAMES]), score("t", true, said, [NAMES])
    assert counts(one) == {label: (tp, fn, fp) for label, (tp, fp, fn) in counts(other).items()}
    assert one.right == other.right


@given(spans, spans, st.randoms())
def test_every_region_is_counted_once_in_whatever_order(said: list[Span], true: list[Span], rng: Random) -> None:
    result = score("t", said, true, [NAMES])
    assert result.counts.tp + result.counts.fp == len(said)
    assert result.counts.tp + result.counts.fn == len(true)
    assert score("t", rng.sample(said, len(said)), rng.sample(true, len(true)), [NAMES]) == result


def test_metrics_are_those_of_the_summed_counts() -> None:
    results = [marked("1", {"PER": (3, 1, 0)}), marked("2", {"PER": (1, 0, 2), "ORG": (0, 1, 0)}), marked("3", {})]
    assert measure(Metric.MICRO_F1, results) == pytest.approx(8 / (8 + 2 + 2))
    assert measure(Metric.ACCURACY, results) == pytest.approx(1 / 3)
    # ORG is true nowhere: it costs the micro F1, and is no label to take the mean over.
    assert measure(Metric.MACRO_F1, results) == pytest.approx(8 / (8 + 1 + 2))
    assert measure(Metric.MICRO_F1, []) is None


def test_micro_f1_of_single_choices_is_their_accuracy() -> None:
    (results,) = classifiers([0.7], 50, Random(2))
    assert measure(Metric.MICRO_F1, results) == measure(Metric.ACCURACY, results)


def test_the_usual_metric_is_accuracy_for_choices_and_f1_where_spans_are_asked_for() -> None:
    assert usual_metric([TOPIC, PLACE, BOXES]) is Metric.ACCURACY
    assert usual_metric([TOPIC, NAMES]) is Metric.MICRO_F1


def test_a_report_says_all_figures_and_each_lies_in_its_interval() -> None:
    results = [
        replace(one, labels=(*one.labels, LabelCounts(LabelKey("topic", "a"), Counts(1, 0, 1))))
        for one in taggers([0.8], 100, Random(5))[0]
    ]
    found = report(results, Resampling(count=500), Random(1))
    total = Counts(*(sum(getattr(one.counts, name) for one in results) for name in ("tp", "fp", "fn")))
    assert (found.tasks, found.counts) == (100, total)
    assert found.f1.value == measure(Metric.MICRO_F1, results) == total.f1
    assert found.macro_f1.value == measure(Metric.MACRO_F1, results)
    assert (found.precision.value, found.recall.value) == (total.precision, total.recall)
    assert found.accuracy["names"].value == measure(Metric.ACCURACY, results)
    per, topic = found.labels
    assert (per.key, topic.key) == (LabelKey("names", "PER"), LabelKey("topic", "a"))
    assert topic.counts == Counts(100, 0, 100)
    assert (topic.precision.value, topic.recall.value, topic.recall.low) == (1, 0.5, 0.5)
    for one in (found.precision, found.recall, found.f1, found.macro_f1, found.accuracy["names"], per.f1):
        assert one.low is not None
        assert one.value is not None
        assert one.high is not None
        assert one.low < one.value < one.high


def test_more_tasks_make_narrower_intervals() -> None:
    few, many = (report(classifiers([0.8], tasks, Random(1))[0], Resampling(), Random(1)).f1 for tasks in (50, 800))
    assert None not in (few.low, few.high, many.low, many.high)
    assert 3 * (many.high - many.low) < few.high - few.low  # type: ignore[operator]


def test_an_interval_of_95_percent_holds_the_truth_about_so_often() -> None:
    found = (
        report(classifiers([0.8], 120, Random(seed))[0], Resampling(count=200), Random(seed)).f1 for seed in range(100)
    )
    held = sum(one.low is not None and one.high is not None and one.low <= 0.8 <= one.high for one in found)
    assert 85 <= held <= 100


def test_a_label_that_is_never_true_nor_said_right_has_no_figure_to_show() -> None:
    (org,) = report([marked("1", {"ORG": (0, 1, 0)})], Resampling(count=10), Random(1)).labels
    assert (org.recall.value, org.recall.low, org.precision.value, org.f1.value) == (None, None, 0, 0)


@given(st.integers(0, 9), st.randoms(use_true_random=False))
def test_the_order_of_the_tasks_changes_no_report(seed: int, shuffled: Random) -> None:
    (results,) = taggers([0.8], 12, Random(seed))
    other = shuffled.sample(results, len(results))
    drawing = Resampling(count=20)
    assert report(results, drawing, Random(seed)) == report(other, drawing, Random(seed))


def test_a_report_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to draw from"):
        report([], Resampling(), Random(1))


def test_wrong_answers_count_against_both_labels() -> None:
    assert counts(answered("t", right=False)) == {"a": (0, 0, 1), "b": (0, 1, 0)}
