"""Agreement beyond chance, held against the examples of the literature."""

from collections import Counter
from itertools import combinations
from random import Random

import pytest
from prelabel_training.quality.agreement import Marks, Measure, Numbers, Values


def test_two_people_are_measured_by_cohens_kappa() -> None:
    values = Values()
    for one, other, times in (("y", "y", 20), ("y", "n", 5), ("n", "y", 10), ("n", "n", 15)):
        for _ in range(times):
            values.add({"ann": one, "bob": other})
    agreed = values.agreed()
    assert (agreed.measure, agreed.tasks, agreed.annotators) == (Measure.COHEN, 50, 2)
    assert agreed.value == pytest.approx(0.4)
    assert agreed.same == pytest.approx(0.7)


def test_as_many_people_everywhere_are_measured_by_fleiss_kappa() -> None:
    rows = ("02642", "00356", "03920", "22811", "77000", "32630", "25322", "65210", "02237")
    values = Values()
    for row in [[0, 0, 0, 0, 14], *([int(char) for char in row] for row in rows)]:
        said = [str(category) for category, times in enumerate(row) for _ in range(times)]
        values.add({f"person-{number}": one for number, one in enumerate(said)})
    agreed = values.agreed()
    assert agreed.measure is Measure.FLEISS
    assert agreed.value == pytest.approx(0.210, abs=5e-4)


def test_people_who_answered_here_and_there_are_measured_by_krippendorffs_alpha() -> None:
    a, b, c = "* * * * * 3 4 1 2 1 1 3 3 * 3", "1 * 2 1 3 3 4 3 * * * * * * *", "* * 2 1 3 4 4 * 2 1 1 3 3 * 4"
    values, numbers = Values(), Numbers()
    for unit in zip(a.split(), b.split(), c.split(), strict=True):
        said = {who: value for who, value in zip("abc", unit, strict=True) if value != "*"}
        values.add(said)
        numbers.add({who: float(value) for who, value in said.items()})
    assert values.agreed().measure is Measure.KRIPPENDORFF
    assert values.agreed().value == pytest.approx(0.691, abs=5e-4)
    assert numbers.agreed().value == pytest.approx(0.811, abs=5e-4)


def test_nothing_compared_and_always_the_same_have_no_figure() -> None:
    values = Values()
    values.add({"ann": "y"})
    assert (values.agreed().value, values.agreed().same, values.agreed().tasks) == (None, None, 0)
    for _ in range(5):
        values.add({"ann": "y", "bob": "y"})
    assert (values.agreed().value, values.agreed().same) == (None, 1.0)
    assert Numbers().agreed().value is None
    assert Marks().agreed().value is None


def test_marks_agree_as_far_as_one_finds_what_the_other_marked() -> None:
    marks = Marks()
    marks.add({"ann": Counter(["x", "y"]), "bob": Counter(["x"])})
    marks.add({"ann": Counter(), "bob": Counter()})
    agreed = marks.agreed()
    assert agreed.value == pytest.approx(2 / 3)
    assert (agreed.same, agreed.tasks) == (0.5, 2)


def test_marks_are_compared_of_every_pair_of_people() -> None:
    chance = Random(7)
    tasks = [
        {f"a{who}": Counter(chance.choices("wxyz", k=chance.randrange(5))) for who in range(chance.randrange(7))}
        for _ in range(50)
    ]
    marks = Marks()
    for answers in tasks:
        marks.add(answers)
    pairs = [pair for answers in tasks for pair in combinations(answers.values(), 2)]
    both = sum(2 * (one & other).total() for one, other in pairs)
    agreed = marks.agreed()
    assert agreed.value == both / sum(one.total() + other.total() for one, other in pairs)
    assert agreed.same == sum(one == other for one, other in pairs) / len(pairs)


def test_a_task_that_very_many_answered_is_not_compared_pair_by_pair() -> None:
    marks = Marks()
    marks.add({f"a{who}": Counter({"x": 1, "y": who % 2 + 1}) for who in range(20_000)})  # 200 million pairs
    assert marks.agreed().same == pytest.approx(0.5, abs=0.001)
