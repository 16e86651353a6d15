"""Quality of annotations: what is counted, and what is warned of."""

from dataclasses import replace
from typing import Any

import orjson
import pytest
from prelabel_contract.projects import Label, Learning, Question
from prelabel_runtime.store.base import StoredAnnotation
from prelabel_training.quality.agreement import Measure
from prelabel_training.quality.quality import Census, Quality
from prelabel_training.quality.verdicts import Became

from .annotated import annotated

TOPIC = Question(name="q", kind="choice", field="text", labels=(Label(value="a"), Label(value="b")), multiple=False)
NAMES = Question(name="names", kind="span", field="text", labels=(Label(value="PERSON"),))


def span(start: int) -> dict[str, Any]:
    return {
        "kind": "span",
        "question": "names",
        "field": "text",
        "start": start,
        "end": start + 2,
        "labels": ["PERSON"],
    }


def made_from(one: StoredAnnotation, parent: str) -> StoredAnnotation:
    return replace(one, body=orjson.dumps({**orjson.loads(one.body), "parent_prediction": parent}).decode())


def counted(
    tasks: list[list[StoredAnnotation]],
    *,
    questions: tuple[Question, ...] = (TOPIC,),
    became: dict[str, Became] | None = None,
    blind: int = 0,
) -> Quality:
    """The quality of these tasks; the first `blind` of them are held out."""
    census = Census(questions, Learning(), became or {}, {})
    for place, said in enumerate(tasks):
        census.add(said, held_out=place < blind, blind=place < blind)
    return census.quality(blind_share=0.2)


def codes(quality: Quality) -> list[str]:
    return [one.code for one in quality.warnings]


def test_labels_are_counted_once_per_task_by_the_answer_that_models_learn() -> None:
    quality = counted(
        [
            [annotated(0, "a"), annotated(1, "b", by="bob")],  # the latest is the example
            [annotated(2, "b", task="u")],
            [annotated(3, "a", task="v", marked=("skipped",))],
        ]
    )
    assert [(one.label, one.examples) for one in quality.questions[0].labels] == [("a", 0), ("b", 2)]
    assert (quality.tasks, quality.examples, quality.annotations, quality.annotators) == (3, 2, 4, 2)
    assert quality.skipped == 1
    assert quality.questions[0].balance == 0
    assert "single_label" in codes(quality)
    assert "unused_label" in codes(quality)


def test_balance_is_one_where_labels_are_equally_frequent() -> None:
    even = counted([[annotated(n, "ab"[n % 2], task=f"t{n}")] for n in range(20)])
    assert even.questions[0].balance == pytest.approx(1)
    assert codes(even) == []
    lopsided = counted([[annotated(n, "ab"[n % 25 == 0], task=f"t{n}")] for n in range(250)])
    assert lopsided.questions[0].balance == pytest.approx(0.24, abs=0.01)
    assert codes(lopsided) == ["lopsided"]


def test_accepted_suggestions_as_the_only_training_data_are_warned_of() -> None:
    tasks = [[made_from(annotated(n, "ab"[n % 2], task=f"t{n}", name=f"n{n}"), f"r{n}")] for n in range(40)]
    accepted = dict.fromkeys([f"n{n}" for n in range(40)], Became.ACCEPTED)
    looped = counted(tasks, became=accepted)
    assert looped.sources.accepted_share == 1
    assert codes(looped) == ["feedback_loop"]
    assert codes(counted(tasks, became=accepted | {"n39": Became.CORRECTED})) == ["mostly_accepted"]
    mixed = counted(tasks, became=accepted | dict.fromkeys([f"n{n}" for n in range(20)], Became.CORRECTED))
    assert (mixed.sources.accepted, mixed.sources.corrected, codes(mixed)) == (20, 20, [])


def test_a_prediction_that_nobody_knows_is_no_accepted_one() -> None:
    quality = counted([[made_from(annotated(0, "a"), "never-made")]])
    assert (quality.sources.unknown, quality.sources.accepted_share) == (1, 0)


def test_what_is_held_out_is_no_source_and_may_not_have_been_suggested() -> None:
    tasks = [[made_from(annotated(0, "a"), "r")], [annotated(1, "b", task="u")]]
    quality = counted(tasks, blind=1)
    assert (quality.sources.examples, quality.held_out) == (1, 1)
    assert (quality.blind.tasks, quality.blind.annotated_share, quality.blind.seen) == (1, 0.5, 1)
    assert "blind_tasks_seen" in codes(quality)


def test_people_who_do_not_agree_are_warned_of_question_by_question() -> None:
    tasks = [
        [
            annotated(2 * n, task=f"t{n}", regions=[*choice("ab"[n % 2]), span(n)]),
            annotated(2 * n + 1, task=f"t{n}", by="bob", regions=[*choice("ab"[n // 2 % 2]), span(n)]),
        ]
        for n in range(40)
    ]
    quality = counted(tasks, questions=(TOPIC, NAMES))
    topic, spans = (one.agreement for one in quality.questions)
    assert topic is not None
    assert spans is not None
    assert (topic.measure, topic.tasks) == (Measure.COHEN, 40)
    assert topic.value == pytest.approx(0)
    assert (spans.measure, spans.value, spans.same) == (Measure.PAIRWISE_F1, 1, 1)
    assert [(one.code, one.question) for one in quality.warnings] == [("low_agreement", "q")]


def test_what_is_drawn_is_counted_and_not_compared() -> None:
    boxes = Question(name="boxes", kind="rectangle", field="image", labels=(Label(value="car"),))
    box = {"kind": "rectangle", "question": "boxes", "labels": ["car"], "x": 1, "y": 1, "width": 2, "height": 2}
    quality = counted([[annotated(0, regions=[box, box])]], questions=(boxes,))
    assert quality.questions[0].agreement is None
    assert (quality.questions[0].labels[0].examples, quality.questions[0].labels[0].regions) == (1, 2)


def choice(label: str) -> list[dict[str, Any]]:
    return [{"kind": "choice", "question": "q", "field": "text", "labels": [label]}]
