"""Whether what people submit is good to learn from: which labels, how far people agree, where the answers came from.

Counted task by task, from the annotations that are stored. What models learn from is one answer per task, by the
project's policy; that is what labels are counted in. Agreement compares the latest answers of different people.

What is warned of, and from where on, is written at `_warnings`.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import log
from typing import Any, Final

import orjson
from prelabel_contract.answers import answer
from prelabel_contract.projects import Learning, Question
from prelabel_runtime.store.base import StoredAnnotation

from ..examples.truth import current
from .agreement import Agreed, Marks, Numbers, Values
from .verdicts import Became

FEW: Final = 10
"""Examples of a label below which a model hardly learns it."""
LOPSIDED: Final = 20
"""How many times as frequent as the rarest the most frequent label may be."""
LOW_AGREEMENT: Final = 0.667
"""Krippendorff's bound for conclusions that are only tentative."""
COMPARED: Final = 10
"""Tasks that two people answered, below which their agreement says little."""
MOSTLY: Final = 0.8
"""Share of accepted suggestions among the examples, from which on models learn mainly what they said themselves."""

_SETS: Final = frozenset({"choice", "taxonomy", "pairwise", "text", "datetime"})
_NUMBERS: Final = frozenset({"rating", "number"})
_SPANS: Final = frozenset({"span", "html_span", "paragraph_span", "timed_span", "series_span", "timeline"})


@dataclass(frozen=True, slots=True)
class LabelCount:
    """How often a label stands in the examples."""

    label: str
    examples: int
    """Tasks whose example has it."""
    regions: int
    share: float
    """Of the question's regions, 0 to 1."""


@dataclass(frozen=True, slots=True)
class QuestionQuality:
    """One question."""

    question: str
    labels: tuple[LabelCount, ...]
    """Those of the label set, in its order, unused ones included; then others that stand in answers."""
    balance: float | None
    """1: all labels are equally frequent; 0: there is only one (entropy over its maximum). None: nothing to count."""
    agreement: Agreed | None
    """None: its kind of answers is not compared (what is drawn, relations, rankings)."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the examples that models learn from came from; held-out ones are not counted."""

    own: int
    """Made from no suggestion."""
    accepted: int
    corrected: int
    unknown: int
    """They name a prediction that is not known, or not yet."""

    @property
    def examples(self) -> int:
        """All of them."""
        return self.own + self.accepted + self.corrected + self.unknown

    @property
    def accepted_share(self) -> float | None:
        """Of all, 0 to 1. None: there are none."""
        return self.accepted / self.examples if self.examples else None


@dataclass(frozen=True, slots=True)
class Blind:
    """Tasks that people are shown without suggestions."""

    share: float
    """Of all tasks, as the project says: the hold-out and the further share."""
    tasks: int
    """Annotated ones."""
    annotated_share: float | None
    """Of the annotated tasks, 0 to 1. None: there are none."""
    seen: int
    """Of them, answered from a suggestion all the same: somebody has shown one."""


@dataclass(frozen=True, slots=True)
class Warned:
    """Something to look at."""

    code: str
    """A word for machines."""
    detail: str
    """A sentence for people."""
    question: str | None = None
    label: str | None = None


@dataclass(frozen=True, slots=True)
class Quality:
    """What can be said of a project's annotations."""

    tasks: int
    """Annotated ones."""
    examples: int
    """To learn from or to be judged by."""
    held_out: int
    """Of the examples."""
    annotations: int
    annotators: int
    skipped: int
    """Annotations in which somebody declined to answer."""
    questions: tuple[QuestionQuality, ...]
    sources: Sources
    suggestions: Mapping[str, int]
    """Verdicts on suggestions: accepted, corrected, rejected."""
    blind: Blind
    warnings: tuple[Warned, ...]


class Census:
    """Counts, one task after the other."""

    def __init__(
        self,
        questions: Sequence[Question],
        learning: Learning,
        became: Mapping[str, Became],
        verdicts: Mapping[str, int],
    ) -> None:
        """`became`: by annotation, what it made of a suggestion. `verdicts`: how many of each there are in all."""
        self._questions = {question.name: _Tally(question) for question in questions}
        self._learning = learning
        self._became = became
        self._verdicts = verdicts
        self._annotators: set[str] = set()
        self._sources: Counter[str] = Counter()
        self._counts: Counter[str] = Counter()

    def add(self, annotations: Sequence[StoredAnnotation], *, held_out: bool, blind: bool) -> None:
        """A task with everything that was said of it, oldest first; `blind` where no suggestion should be shown."""
        self._counts["tasks"] += 1
        self._counts["annotations"] += len(annotations)
        self._annotators.update(one.annotator for one in annotations)
        self._counts["skipped"] += sum(one.skipped for one in annotations)
        bodies = {one.key: orjson.loads(one.body) for one in annotations}
        if blind:
            self._counts["blind"] += 1
            self._counts["seen"] += any(body.get("parent_prediction") for body in bodies.values())
        latest = {one.annotator: bodies[one.key].get("regions", ()) for one in annotations if not one.skipped}
        for tally in self._questions.values():
            tally.compare(latest)
        example = current(annotations, self._learning)
        if example is None:
            return
        self._counts["examples"] += 1
        for tally in self._questions.values():
            tally.count(bodies[example.key].get("regions", ()))
        if held_out:
            self._counts["held_out"] += 1
        else:
            self._sources[self._source(example, bodies[example.key])] += 1

    def _source(self, example: StoredAnnotation, body: Mapping[str, Any]) -> str:
        if not body.get("parent_prediction"):
            return "own"
        return str(self._became.get(example.annotation, "unknown"))

    def quality(self, *, blind_share: float) -> Quality:
        """What was counted. `blind_share`: of all tasks, the share that should be shown without suggestions."""
        tasks = self._counts["tasks"]
        questions = tuple(tally.quality() for tally in self._questions.values())
        sources = Sources(**{name: self._sources[name] for name in ("own", "accepted", "corrected", "unknown")})
        blind = Blind(
            blind_share, self._counts["blind"], self._counts["blind"] / tasks if tasks else None, self._counts["seen"]
        )
        return Quality(
            tasks=tasks,
            examples=self._counts["examples"],
            held_out=self._counts["held_out"],
            annotations=self._counts["annotations"],
            annotators=len(self._annotators),
            skipped=self._counts["skipped"],
            questions=questions,
            sources=sources,
            suggestions={str(one): self._verdicts.get(one, 0) for one in Became},
            blind=blind,
            warnings=tuple(_warnings(questions, sources, blind, self._counts["examples"])),
        )


class _Tally:
    """One question."""

    def __init__(self, question: Question) -> None:
        self._question = question
        kinds = frozenset(question.kinds)
        self._regions: Counter[str] = Counter()
        self._examples: Counter[str] = Counter()
        self._values = Values() if kinds and kinds <= _SETS else None
        self._numbers = Numbers() if kinds and kinds <= _NUMBERS else None
        self._marks = Marks() if kinds and kinds <= _SPANS else None

    def compare(self, answers: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
        own = {
            who: [one for one in said if one.get("question") == self._question.name] for who, said in answers.items()
        }
        if self._values is not None:
            self._values.add({who: answer(said).decode() for who, said in own.items()})
        elif self._numbers is not None:
            numbers = {who: [one.get("rating", one.get("number")) for one in said] for who, said in own.items()}
            self._numbers.add({who: float(said[0]) for who, said in numbers.items() if len(said) == 1})
        elif self._marks is not None:
            self._marks.add({who: Counter(answer([one]).decode() for one in said) for who, said in own.items()})

    def count(self, regions: Sequence[Mapping[str, Any]]) -> None:
        labels = [label for one in regions if one.get("question") == self._question.name for label in _labels(one)]
        self._regions.update(labels)
        self._examples.update(set(labels))

    def quality(self) -> QuestionQuality:
        known = dict.fromkeys(_named(self._question))
        known.update(dict.fromkeys(sorted(self._regions.keys() - known.keys())))
        total = self._regions.total()
        compared = self._values or self._numbers or self._marks
        return QuestionQuality(
            question=self._question.name,
            labels=tuple(
                LabelCount(one, self._examples[one], self._regions[one], self._regions[one] / total if total else 0.0)
                for one in known
            ),
            balance=_evenness([self._regions[one] for one in known]),
            agreement=compared.agreed() if compared is not None else None,
        )


def _labels(region: Mapping[str, Any]) -> Sequence[str]:
    if region.get("kind") == "taxonomy":
        return [" > ".join(path) for path in region.get("paths", ())]
    if region.get("kind") == "rating":
        return [str(region.get("rating"))]
    if region.get("kind") == "pairwise":
        return [str(region.get("selected"))]
    return list(region.get("labels", ()))


def _named(question: Question) -> Sequence[str]:
    """The labels of a question, as answers are counted: of a tree, whatever paths stand in answers."""
    return () if "taxonomy" in question.kinds else [label.value for label in question.labels]


def _evenness(counts: Sequence[int]) -> float | None:
    total = sum(counts)
    if not total or len(counts) < 2:
        return None
    entropy = -sum(n / total * log(n / total) for n in counts if n)
    return entropy / log(len(counts))


# -------------------------------------------------------------------------------------------------------- warnings


def _warnings(questions: Sequence[QuestionQuality], sources: Sources, blind: Blind, examples: int) -> Iterator[Warned]:
    share = sources.accepted_share
    if share == 1:
        detail = (
            f"All {sources.examples} examples to learn from are suggestions that were accepted as they were: models "
            "would learn what they said themselves. Show more tasks without suggestions (learning.blind)."
        )
        yield Warned("feedback_loop", detail)
    elif share is not None and share >= MOSTLY:
        detail = f"{share:.0%} of the examples to learn from are suggestions that were accepted as they were."
        yield Warned("mostly_accepted", detail)
    if blind.seen:
        detail = f"{blind.seen} of {blind.tasks} tasks that are shown without suggestions were answered from one."
        yield Warned("blind_tasks_seen", detail)
    for question in questions:
        yield from _of_labels(question, examples)
        yield from _of_agreement(question)


def _of_labels(question: QuestionQuality, examples: int) -> Iterator[Warned]:
    used = [one for one in question.labels if one.examples]
    if not examples or not question.labels:
        return
    name = question.question
    if len(used) == 1 and len(question.labels) > 1:
        yield Warned("single_label", f"{name}: every answer says {used[0].label!r}.", name, used[0].label)
    for one in question.labels:
        if not one.examples:
            yield Warned("unused_label", f"{name}: nobody has used {one.label!r}.", name, one.label)
        elif one.examples < FEW:
            detail = f"{name}: {one.label!r} stands in {one.examples} examples, fewer than {FEW}."
            yield Warned("few_examples", detail, name, one.label)
    if len(used) > 1:
        most, least = max(used, key=lambda one: one.regions), min(used, key=lambda one: one.regions)
        if most.regions >= LOPSIDED * least.regions:
            detail = (
                f"{name}: {most.label!r} is {most.regions / least.regions:.0f} times as frequent as {least.label!r}."
            )
            yield Warned("lopsided", detail, name, least.label)


def _of_agreement(question: QuestionQuality) -> Iterator[Warned]:
    agreed = question.agreement
    if agreed is None or agreed.value is None or agreed.tasks < COMPARED or agreed.value >= LOW_AGREEMENT:
        return
    detail = (
        f"{question.question}: people agree little ({agreed.measure.value.replace('_', ' ')} {agreed.value:.2f} on "
        f"{agreed.tasks} tasks); below {LOW_AGREEMENT:.2f} look at the instructions before at the model."
    )
    yield Warned("low_agreement", detail, question.question)
