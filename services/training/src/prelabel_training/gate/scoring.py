"""What a version got right on tasks whose truth is known: counts per task, and the metrics that are sums of them.

A task's result is counts alone, so that a version can be scored in one process and judged in another, and any set of
tasks (a hold-out, the folds of a cross-validation, a bootstrap's resample) has its metrics by addition.

What matches what, within one question:

* a span (also of HTML, dialogues, recordings, time series, and ranges of frames) matches one with the same field, the
  same ends and the same label; each true span is found once, so a span said twice is right once and wrong once
* choices and taxonomies are sets of labels (of paths) per field
* texts, numbers, dates, ratings and comparisons match when they are equal
* what is drawn (boxes, polygons, ellipses, points, masks, tracks), relations, rankings, messages and kinds of later
  versions are not scored: equality would say nothing about them, how much they overlap is another measure

A predicted region that is marked as below its threshold was not said: it neither helps nor harms. A region of a
question that was not asked is not looked at.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import NamedTuple

from prelabel_contract.projects import Question
from prelabel_contract.regions import Pairwise, Rating, RegionBase, Taxonomy

from .bootstrap import Resampling, percentiles, sums

_PLACES: Mapping[str, tuple[str, ...]] = {
    "span": ("start", "end"),
    "html_span": ("start", "start_offset", "end", "end_offset"),
    "paragraph_span": ("start", "start_offset", "end", "end_offset"),
    "timed_span": ("start", "end", "channel"),
    "series_span": ("start", "end"),
    "timeline": ("ranges",),
    "choice": (),
    "taxonomy": (),
    "text": ("text",),
    "number": ("number",),
    "datetime": ("datetime",),
    "rating": (),
    "pairwise": (),
}
"""The kinds that are scored, and which of their fields must be equal beside field and label."""

_SETS = frozenset({"choice", "taxonomy", "rating", "pairwise"})
"""Kinds of which saying a thing twice says it once."""

SCORED = frozenset(_PLACES)
"""The kinds of regions that are scored."""


class LabelKey(NamedTuple):
    """A label of a question. Equal words under two questions are two labels; "" where a region has none."""

    question: str
    label: str


@dataclass(frozen=True, slots=True)
class Counts:
    """Of things said and things true: how many were both (`tp`), only said (`fp`), only true (`fn`)."""

    tp: int
    fp: int
    fn: int

    @property
    def precision(self) -> float | None:
        """The share of what was said that is true, 0 to 1. None: nothing was said."""
        return _three(self.tp, self.fp, self.fn)[0]

    @property
    def recall(self) -> float | None:
        """The share of what is true that was said, 0 to 1. None: there was nothing to say."""
        return _three(self.tp, self.fp, self.fn)[1]

    @property
    def f1(self) -> float | None:
        """Their harmonic mean, 0 to 1. None: nothing was said and there was nothing to say."""
        return _three(self.tp, self.fp, self.fn)[2]


@dataclass(frozen=True, slots=True)
class LabelCounts:
    """What one task adds to the counts of one label."""

    key: LabelKey
    counts: Counts


@dataclass(frozen=True, slots=True)
class Result:
    """What a version got right on one task. Two results of the same task with the same truth can be compared."""

    task: str
    """The task's uid."""
    labels: tuple[LabelCounts, ...]
    """In the order of their keys; labels neither said nor true are left out."""
    asked: tuple[str, ...]
    """The questions that were scored, in the order of their names."""
    right: tuple[str, ...]
    """Those of them whose answer was right as a whole: all that is true and nothing else, so also rightly nothing."""

    @property
    def truth(self) -> tuple[tuple[str, ...], tuple[tuple[LabelKey, int], ...]]:
        """What was asked and how often each label is true: the same for every version."""
        times = ((one.key, one.counts.tp + one.counts.fn) for one in self.labels)
        return self.asked, tuple((key, n) for key, n in times if n)

    @property
    def counts(self) -> Counts:
        """All labels together."""
        return _added(one.counts for one in self.labels)


class Metric(StrEnum):
    """What versions are compared by, 0 to 1, more is better."""

    MICRO_F1 = "micro_f1"
    """F1 of all labels' counts together: what is frequent weighs most."""
    MACRO_F1 = "macro_f1"
    """The mean of the F1 of each label that is true somewhere: what is rare weighs as much."""
    ACCURACY = "accuracy"
    """The share of asked questions that were answered right as a whole."""


def usual_metric(questions: Sequence[Question]) -> Metric:
    """Accuracy where there are only sets to choose from, else micro F1."""
    kinds = {kind for question in questions for kind in question.kinds if kind in SCORED}
    return Metric.ACCURACY if kinds and kinds <= _SETS else Metric.MICRO_F1


def score(
    task: str, predicted: Iterable[RegionBase], true: Iterable[RegionBase], questions: Sequence[Question]
) -> Result:
    """The result of one task: what a version said, held against what is true, for each of the questions."""
    said = _by_question(region for region in predicted if not region.below_threshold)
    so = _by_question(true)
    labels: list[LabelCounts] = []
    asked = sorted({question.name for question in questions if SCORED.intersection(question.kinds)})
    right: list[str] = []
    for question in asked:
        here, there = said.get(question, Counter()), so.get(question, Counter())
        if here == there:
            right.append(question)
        labels += _by_label(question, here, there)
    return Result(task=task, labels=tuple(labels), asked=tuple(asked), right=tuple(right))


_Item = tuple[str, tuple[object, ...]]
"""A label, and everything else that must be equal."""


def _by_question(regions: Iterable[RegionBase]) -> dict[str, Counter[_Item]]:
    found: dict[str, Counter[_Item]] = {}
    for region in regions:
        kind: str = getattr(region, "kind", "")
        if kind not in SCORED:
            continue
        items = found.setdefault(region.question, Counter())
        place = (kind, region.field, *(getattr(region, name) for name in _PLACES[kind]))
        for label in _labels(region):
            items[label, place] = 1 if kind in _SETS else items[label, place] + 1
    return found


def _labels(region: RegionBase) -> Sequence[str]:
    match region:
        case Taxonomy():
            return [" > ".join(path) for path in region.paths]
        case Rating():
            return [str(region.rating)]
        case Pairwise():
            return [region.selected]
        case _:
            return region.labels or ("",)


def _by_label(question: str, said: Counter[_Item], true: Counter[_Item]) -> list[LabelCounts]:
    tp, fp, fn = (_per_label(items) for items in (said & true, said - true, true - said))
    return [
        LabelCounts(LabelKey(question, label), Counts(tp[label], fp[label], fn[label]))
        for label in sorted({*tp, *fp, *fn})
    ]


def _per_label(items: Counter[_Item]) -> Counter[str]:
    found: Counter[str] = Counter()
    for (label, _), times in items.items():
        found[label] += times
    return found


@dataclass(frozen=True, slots=True)
class Layout:
    """Which count stands where in a task's vector, so that a sum of vectors is the counts of many tasks."""

    metric: Metric
    labels: tuple[LabelKey, ...]

    @classmethod
    def of(cls, metric: Metric, results: Iterable[Result]) -> "Layout":
        """The vector of these results for this metric: not longer than the metric needs."""
        return cls(metric, _label_keys(results) if metric is Metric.MACRO_F1 else ())

    def vector(self, result: Result) -> tuple[int, ...]:
        """The counts of one task."""
        match self.metric:
            case Metric.ACCURACY:
                return len(result.right), len(result.asked)
            case Metric.MICRO_F1:
                counts = result.counts
                return counts.tp, counts.fp, counts.fn
            case Metric.MACRO_F1:
                return _flat(self.labels, result)

    def value(self, summed: Sequence[int]) -> float | None:
        """The metric of a sum of vectors. None: there was nothing to be right or wrong about."""
        match self.metric:
            case Metric.ACCURACY:
                return _share(summed[0], summed[1])
            case Metric.MICRO_F1:
                return Counts(*summed).f1
            case Metric.MACRO_F1:
                return _macro_f1(summed)


def measure(metric: Metric, results: Sequence[Result]) -> float | None:
    """A metric of all these tasks. None: there was nothing to be right or wrong about."""
    layout = Layout.of(metric, results)
    vectors = [layout.vector(result) for result in results]
    return layout.value([sum(column) for column in zip(*vectors, strict=True)]) if vectors else None


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure, 0 to 1, and the interval that it lies in. None where it is not defined (nothing said, nothing true)."""

    value: float | None
    low: float | None
    high: float | None


def estimate(metric: Metric, results: Sequence[Result], resampling: Resampling, rng: Random) -> Estimate:
    """A metric of all these tasks, with the percentile interval of a bootstrap over them.

    The order of the tasks changes nothing. Raises ValueError without a task.
    """
    layout = Layout.of(metric, results)
    vectors = [layout.vector(result) for result in sorted(results, key=lambda result: result.task)]
    drawn = (layout.value(summed) for summed in sums(vectors, resampling, rng))
    whole = layout.value([sum(column) for column in zip(*vectors, strict=True)])
    return _estimate(whole, [value for value in drawn if value is not None], resampling.tail)


@dataclass(frozen=True, slots=True)
class LabelReport:
    """How well one label is found."""

    key: LabelKey
    counts: Counts
    precision: Estimate
    recall: Estimate
    f1: Estimate


@dataclass(frozen=True, slots=True)
class Report:
    """How well a version does, overall and per label, with confidence intervals."""

    tasks: int
    counts: Counts
    precision: Estimate
    recall: Estimate
    f1: Estimate
    macro_f1: Estimate
    accuracy: Mapping[str, Estimate]
    """By question: the share of tasks on which its answer was right as a whole."""
    labels: tuple[LabelReport, ...]


def report(results: Sequence[Result], resampling: Resampling, rng: Random) -> Report:
    """All figures of these tasks, with percentile intervals of a bootstrap over the tasks.

    The order of the tasks changes nothing. A resample in which a figure is not defined is left out of its interval.
    Raises ValueError without a task.
    """
    keys = _label_keys(results)
    questions = sorted({question for result in results for question in result.asked})
    ordered = sorted(results, key=lambda result: result.task)
    vectors = [(*_flat(keys, result), *_answers(questions, result)) for result in ordered]
    drawn = [_figures(vector, len(keys)) for vector in sums(vectors, resampling, rng)]
    whole = [sum(column) for column in zip(*vectors, strict=True)]
    estimates = [
        _estimate(value, [figure for figure in figures if figure is not None], resampling.tail)
        for value, *figures in zip(_figures(whole, len(keys)), *drawn, strict=True)
    ]
    overall, per_label = estimates[:4], estimates[4 : 4 + 3 * len(keys)]
    counts = [Counts(*three) for three in _triples(whole[: 3 * len(keys)])]
    return Report(
        tasks=len(results),
        counts=_added(counts),
        precision=overall[0],
        recall=overall[1],
        f1=overall[2],
        macro_f1=overall[3],
        accuracy=dict(zip(questions, estimates[4 + 3 * len(keys) :], strict=True)),
        labels=tuple(
            LabelReport(key, counts[i], *per_label[3 * i : 3 * i + 3])  # precision, recall, F1
            for i, key in enumerate(keys)
        ),
    )


def _figures(summed: Sequence[int], labels: int) -> list[float | None]:
    """Precision, recall, F1, macro F1; the first three of each label; each question's accuracy."""
    counts, answers = summed[: 3 * labels], summed[3 * labels :]
    both = Counts(sum(counts[::3]), sum(counts[1::3]), sum(counts[2::3]))
    return [
        *(both.precision, both.recall, both.f1, _macro_f1(counts)),
        *(figure for tp, fp, fn in _triples(counts) for figure in _three(tp, fp, fn)),
        *(_share(right, asked) for right, asked in zip(answers[::2], answers[1::2], strict=True)),
    ]


def _estimate(value: float | None, figures: Sequence[float], tail: float) -> Estimate:
    if value is None or not figures:
        return Estimate(value, None, None)
    return Estimate(value, *percentiles(figures, tail, 1 - tail))


def _label_keys(results: Iterable[Result]) -> tuple[LabelKey, ...]:
    return tuple(sorted({one.key for result in results for one in result.labels}))


def _flat(keys: Sequence[LabelKey], result: Result) -> tuple[int, ...]:
    here = {one.key: (one.counts.tp, one.counts.fp, one.counts.fn) for one in result.labels}
    return tuple(count for key in keys for count in here.get(key, (0, 0, 0)))


def _answers(questions: Sequence[str], result: Result) -> tuple[int, ...]:
    return tuple(int(one in there) for one in questions for there in (result.right, result.asked))


def _triples(summed: Sequence[int]) -> Iterable[tuple[int, int, int]]:
    return zip(summed[::3], summed[1::3], summed[2::3], strict=True)


def _three(tp: int, fp: int, fn: int) -> tuple[float | None, float | None, float | None]:
    # As Counts has them; a resample of a thousand labels is not worth a thousand objects.
    return _share(tp, tp + fp), _share(tp, tp + fn), _share(2 * tp, 2 * tp + fp + fn)


def _added(counts: Iterable[Counts]) -> Counts:
    tp = fp = fn = 0
    for one in counts:
        tp, fp, fn = tp + one.tp, fp + one.fp, fn + one.fn
    return Counts(tp, fp, fn)


def _macro_f1(summed: Sequence[int]) -> float | None:
    # Only labels that are true somewhere: which those are is the same for every version that is compared.
    found = [2 * tp / (2 * tp + fp + fn) for tp, fp, fn in _triples(summed) if tp + fn]
    return sum(found) / len(found) if found else None


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
