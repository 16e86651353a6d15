"""Learning is measured with what the service decides by, and its document says what is measured."""

import json
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest
from prelabel_provider.trainer import Example
from prelabel_training.leases.sampling import Strategy

from tests.benchmarks.case import Lost
from tests.benchmarks.learning import digits, pictures, texts
from tests.benchmarks.learning.amounts import FULL, QUICK
from tests.benchmarks.learning.cases import busy, cases, storm
from tests.benchmarks.learning.cases.gate import flipped
from tests.benchmarks.learning.cases.texts import steps
from tests.benchmarks.learning.curves import Answer, Point, Subject, Taught, curve, needed
from tests.benchmarks.learning.documents import DOCUMENT, RESULTS, with_figures
from tests.benchmarks.learning.people import Asked
from tests.benchmarks.plots import draw


def subject(count: int = 200) -> Subject:
    return Subject(
        digits.QUESTION,
        tuple(Example(f"t-{one}", {"pixels": [one % 10]}, (digits.choice(str(one % 10)),)) for one in range(count)),
    )


def remembering(examples: Sequence[Example], _: int) -> Taught:
    """Knows the digits that it was shown, and is unsure of the others."""
    shown = {one.regions[0].labels[0] for one in examples}

    def say(asked: Sequence[Example]) -> Sequence[Answer]:
        labels = [str(one.data["pixels"][0]) for one in asked]  # type: ignore[index]
        return [Answer((digits.choice(one if one in shown else "0"),), float(one not in shown)) for one in labels]

    return say


def test_a_curve_learns_from_nothing_that_is_held_out_and_asks_nothing_twice() -> None:
    shown: list[list[str]] = []

    def teach(examples: Sequence[Example], seed: int) -> Taught:
        shown.append([one.task for one in examples])
        return remembering(examples, seed)

    pool, holdout = subject().parted("p")
    points = list(curve(subject(), (pool, holdout), teach, Strategy.UNCERTAINTY, [5, 10, 20], seed=1))
    assert [point.labels for point in points] == [5, 10, 20] == [len(set(one)) for one in shown]
    assert not {task for one in shown for task in one} & {one.task for one in holdout}
    assert 10 < len(holdout) < 70


def test_what_is_unsure_is_asked_first_from_the_same_first_tasks() -> None:
    parts = subject().parted("p")
    by_chance, unsure = (
        list(curve(subject(), parts, remembering, one, [3, 6, 9, 12], seed=2))
        for one in (Strategy.RANDOM, Strategy.UNCERTAINTY)
    )
    assert by_chance[0] == unsure[0]
    assert unsure[-1].score > by_chance[-1].score


def test_the_first_point_that_reaches_a_goal_counts_and_a_goal_that_none_reaches_is_no_number() -> None:
    points = [Point(10, 0.5), Point(20, 0.8), Point(30, 0.7), Point(40, 0.9)]
    assert needed(points, 0.75) == 20
    with pytest.raises(Lost):
        needed(points, 0.95)


def test_a_fifth_of_the_labels_is_wrong_and_the_rest_as_it_was() -> None:
    examples = subject(100).examples
    changed = flipped(examples, 0.2, Random(1))
    assert sum(before.regions != now.regions for before, now in zip(examples, changed, strict=True)) == 20


def test_a_curve_ends_with_all_that_there_are() -> None:
    assert list(steps(120)) == [50, 100, 120]
    assert steps(3200)[-1] == 3200
    assert list(steps(30)) == [30]


@pytest.mark.parametrize(
    "line", ["{", '{"text": "a"}', '{"text": 1, "label": "a"}', '{"text": "a", "label": ""}', "[]"]
)
def test_a_file_that_is_not_labelled_lines_is_refused_by_its_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_text(json.dumps({"text": "a", "label": "x"}) + f"\n\n{line}\n")
    with pytest.raises(Lost, match="line 3"):
        texts.from_file(path, 10)


def test_lines_of_ones_own_are_tasks_with_their_labels(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_text("".join(json.dumps({"text": f"t{n}", "label": "xy"[n % 2]}) + "\n" for n in range(6)))
    found = texts.from_file(path, 4)
    assert len(found.examples) == 4
    assert [label.value for label in found.question.labels] == ["x", "y"]


def test_a_storm_told_twice_and_late_is_in_few_trainings_whole() -> None:
    told = storm.a_storm(300, Random(3))
    assert len(told) > 300
    made = storm.trainings(told)
    assert len(made) <= 3
    assert made[-1].cut == 299


def test_a_dip_is_what_fell_behind_the_usual_rate_and_how_long() -> None:
    usual = [Asked(one / 10 - 0.1, one / 10, "old") for one in range(200)]
    stalled = [one for one in usual if not 12 < one.answered <= 13.5]
    answers = [*stalled, Asked(12, 13.5, "new"), Asked(12, 14, "", "TimeoutError")]
    values = busy.Seen(answers, busy.Span(0, 8), busy.Span(8, 12), busy.Span(12, 14)).values()
    assert values["idle"] == values["training"] == pytest.approx(10)
    assert values["swap.lowest"] == 0
    assert values["swap.dip_s"] == 1.5
    assert values["swap.longest_ms"] == pytest.approx(2000)
    assert values["failed"] == 1


def test_every_figure_has_a_name_of_its_own_at_any_size() -> None:
    for amounts in (FULL, QUICK):
        names = [figure.name for case in cases(amounts) for figure in case.figures]
        assert len(names) == len(set(names))


def test_bands_are_over_five_seeds_and_the_gate_over_twenty() -> None:
    assert FULL.seeds >= 5
    assert FULL.gate_seeds == QUICK.gate_seeds == 20


def test_the_document_names_every_figure_as_its_case_does_and_has_a_place_for_results() -> None:
    document = DOCUMENT.read_text()
    assert with_figures(document) == document, "run: python -m tests.benchmarks.learning.documents"
    assert "new" in RESULTS.written_into(document, "new")


def test_curves_are_drawn_with_their_bands(tmp_path: Path) -> None:
    runs = [[[10, 0.5], [20, 0.7]], [[10, 0.6], [20, 0.8]]]
    gate = {"name": "gate.flipped.150.refused", "unit": "of 20", "median": 20.0}
    swapped = {"per_s": [9.0, 8.0, 2.0, 9.0], "training": [0.5, 1.0], "swap": [1.0, 1.5]}
    details = {"curve.digits.random": runs, "full.digits": [0.9, 0.92], "busy.beside": [swapped]}
    report = {"results": [gate], "details": details}
    drawn = [file for _, file in draw(report, tmp_path, pictures.PLOTS)]
    assert drawn == ["digits.svg", "gate.svg", "busy-beside.svg"]
