"""How far annotators agree, beyond what chance explains: plain sums, so that tasks can come one after the other.

Which measure, for answers that are one value each (choices, ratings, numbers):

* two annotators: Cohen's kappa
* more, and the same number of answers to every task that is compared: Fleiss' kappa
* otherwise (somebody answered here and not there): Krippendorff's alpha

All three are 1 where everybody agrees and 0 where they agree as often as chance would have it; below 0 is worse than
chance. None is defined where everybody always gave the same answer: chance alone would have given it too. Ratings and
numbers are compared by Krippendorff's alpha for intervals, whoever gave them: near is less wrong than far.

For spans there is no chance to correct for (nobody can count what was not marked): the measure is F1 of one annotator
held against the other, over all pairs, with the exact ends and label. 1 where all marked the same, 0 where nothing.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Measure(StrEnum):
    """What was measured."""

    COHEN = "cohen_kappa"
    FLEISS = "fleiss_kappa"
    KRIPPENDORFF = "krippendorff_alpha"
    INTERVAL = "krippendorff_alpha_interval"
    PAIRWISE_F1 = "pairwise_f1"


@dataclass(frozen=True, slots=True)
class Agreed:
    """How far annotators agree on a question."""

    measure: Measure
    value: float | None
    """At most 1. None: it is not defined, since nothing was compared or everybody always said the same."""
    same: float | None
    """The share of pairs of answers that are equal, 0 to 1, chance included. None: nothing was compared."""
    tasks: int
    """Tasks that two or more people answered."""
    annotators: int
    """People who answered them."""


@dataclass(slots=True)
class Values:
    """Answers that are one value each, as names: equal or not."""

    _by_annotator: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    _sizes: Counter[int] = field(default_factory=Counter)
    """Tasks by how many answered."""
    _equal: int = 0
    """Ordered pairs of equal answers."""
    _shares: float = 0.0
    """Of each task: ordered pairs of equal answers / (answers - 1)."""
    _of_pairs: float = 0.0
    """Of each task: the share of its pairs that are equal."""

    def add(self, answers: Mapping[str, str]) -> None:
        """One task: what each person said."""
        size = len(answers)
        if size < 2:
            return
        counts = Counter(answers.values())
        equal = sum(n * (n - 1) for n in counts.values())
        self._sizes[size] += 1
        self._equal += equal
        self._shares += equal / (size - 1)
        self._of_pairs += equal / (size * (size - 1))
        for annotator, value in answers.items():
            self._by_annotator[annotator][value] += 1

    def agreed(self) -> Agreed:
        """How far they agree."""
        tasks, people = sum(self._sizes.values()), len(self._by_annotator)
        pairs = sum(n * size * (size - 1) for size, n in self._sizes.items())
        if people == 2:
            measure, value = Measure.COHEN, self._cohen(tasks)
        elif len(self._sizes) == 1:
            measure, value = Measure.FLEISS, self._fleiss(tasks)
        else:
            measure, value = Measure.KRIPPENDORFF, self._krippendorff()
        return Agreed(measure, value, self._equal / pairs if pairs else None, tasks, people)

    def _cohen(self, tasks: int) -> float | None:
        one, other = self._by_annotator.values()
        chance = sum(n * other[value] for value, n in one.items()) / (tasks * tasks)
        return _beyond(self._of_pairs / tasks, chance)

    def _fleiss(self, tasks: int) -> float | None:
        total = self._totals()
        answers = sum(total.values())
        chance = sum((n / answers) ** 2 for n in total.values())
        return _beyond(self._of_pairs / tasks, chance)

    def _krippendorff(self) -> float | None:
        total = self._totals()
        answers = sum(total.values())
        if not answers:
            return None
        chance = sum(n * (n - 1) for n in total.values()) / (answers * (answers - 1))
        return _beyond(self._shares / answers, chance)

    def _totals(self) -> Counter[str]:
        total: Counter[str] = Counter()
        for counts in self._by_annotator.values():
            total.update(counts)
        return total


@dataclass(slots=True)
class Numbers:
    """Answers that are numbers: the farther apart, the worse."""

    _people: set[str] = field(default_factory=set)
    _tasks: int = 0
    _answers: int = 0
    _sum: float = 0.0
    _squares: float = 0.0
    _within: float = 0.0
    """Of each task: squared differences of its ordered pairs / (answers - 1)."""
    _equal: int = 0
    _pairs: int = 0

    def add(self, answers: Mapping[str, float]) -> None:
        """One task: what each person said."""
        size = len(answers)
        if size < 2:
            return
        values = list(answers.values())
        total, squares = sum(values), sum(value * value for value in values)
        self._people.update(answers)
        self._tasks += 1
        self._answers += size
        self._sum += total
        self._squares += squares
        self._within += max(0.0, 2 * (size * squares - total * total)) / (size - 1)
        self._equal += sum(n * (n - 1) for n in Counter(values).values())
        self._pairs += size * (size - 1)

    def agreed(self) -> Agreed:
        """How far they agree."""
        n = self._answers
        apart = 2 * (n * self._squares - self._sum * self._sum) / (n * (n - 1)) if n else 0.0
        value = 1 - self._within / n / apart if apart > 0 else None
        same = self._equal / self._pairs if self._pairs else None
        return Agreed(Measure.INTERVAL, value, same, self._tasks, len(self._people))


@dataclass(slots=True)
class Marks:
    """Answers that are sets of marks: spans with their labels."""

    _people: set[str] = field(default_factory=set)
    _tasks: int = 0
    _both: int = 0
    _all: int = 0
    _equal: int = 0
    _pairs: int = 0

    def add(self, answers: Mapping[str, Counter[str]]) -> None:
        """One task: what each person marked, every mark as one name."""
        if len(answers) < 2:
            return
        people = len(answers)
        self._people.update(answers)
        self._tasks += 1
        # Summed up by mark, not pair by pair: of a task that thousands answered there are millions of pairs.
        times: defaultdict[str, list[int]] = defaultdict(list)
        for said in answers.values():
            for mark, count in said.items():
                times[mark].append(count)
        for counts in times.values():
            counts.sort()  # of two people the one who marked it less often says how often both did
            self._both += 2 * sum(count * (len(counts) - place) for place, count in enumerate(counts, start=1))
            self._all += sum(counts) * (people - 1)
        alike = Counter(frozenset(said.items()) for said in answers.values())
        self._equal += sum(n * (n - 1) // 2 for n in alike.values())
        self._pairs += people * (people - 1) // 2

    def agreed(self) -> Agreed:
        """How far they agree."""
        value = self._both / self._all if self._all else None
        same = self._equal / self._pairs if self._pairs else None
        return Agreed(Measure.PAIRWISE_F1, value, same, self._tasks, len(self._people))


def _beyond(observed: float, chance: float) -> float | None:
    return (observed - chance) / (1 - chance) if chance < 1 else None
