"""From examples to what one component of a pipeline is shown, and what it should answer."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from prelabel_contract.projects import Question
from prelabel_contract.regions import Choice, Span
from prelabel_provider.trainer import CannotTrain, Example

from .trainer_settings import SpacyTrainerSettings

Component = Literal["ner", "spancat", "textcat", "textcat_multilabel"]
Answer = tuple[int, int, str]
"""Start, end and label of a span; 0, 0 and the label of a choice."""
SPANS_KEY = "sc"
_SPLIT_FROM = 20
"""Examples; of fewer, none can be spared, and a score of two or three means nothing."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """One text, cut into tokens, and what is to be learned of it."""

    task: str
    doc: Any
    answers: frozenset[Answer]
    weight: float


@dataclass(frozen=True, slots=True)
class Lessons:
    """All that one component learns from."""

    component: Component
    labels: tuple[str, ...]
    """All of the question's, in its order."""
    shown: tuple[Lesson, ...]
    scored: tuple[Lesson, ...]
    left_out: Mapping[str, int]
    """How many of what could not be used."""
    longest: int = 1
    """Tokens of the longest span."""


def lessons(
    nlp: Any, question: Question, examples: Sequence[Example], settings: SpacyTrainerSettings, seed: int
) -> Lessons:
    """What one question's component is shown. Raises `CannotTrain`."""
    if not question.labels:
        raise CannotTrain("no_label_known", f"question {question.name!r} has no labels to learn")
    left_out: Counter[str] = Counter()
    texts = list(_texts(nlp, question, examples, settings.max_length, left_out))
    if "span" in question.kinds:
        component, made, longest = _of_spans(question, texts, settings, left_out)
    else:
        component, made, longest = _of_choices(question, texts, left_out)
    if len(made) < settings.minimum:
        raise CannotTrain(
            "too_few",
            f"{len(made)} examples of question {question.name!r} can be used, {settings.minimum} are needed",
        )
    if not any(one.answers for one in made):
        raise CannotTrain("no_label_known", f"no example has a label of question {question.name!r} that can be learned")
    if component.startswith("textcat") and len({one.answers for one in made}) == 1:
        raise CannotTrain("single_class", f"all examples of question {question.name!r} have the same answer")
    scored = _held_back(made, settings, seed)
    shown = tuple(one for one in made if one.task not in scored)
    labels = tuple(label.value for label in question.labels)
    held = tuple(one for one in made if one.task in scored)
    return Lessons(component, labels, shown, held, dict(left_out), longest)


def _texts(
    nlp: Any, question: Question, examples: Sequence[Example], most: int, left_out: Counter[str]
) -> Iterator[tuple[Example, Any]]:
    for example in examples:
        text = example.data.get(question.field)
        if isinstance(text, str) and text.strip() and len(text) <= most:
            yield example, nlp.make_doc(text)
        else:
            left_out["left_out_texts"] += 1


def _of_spans(
    question: Question, texts: Sequence[tuple[Example, Any]], settings: SpacyTrainerSettings, left_out: Counter[str]
) -> tuple[Component, list[Lesson], int]:
    found = [_spans(question, example, doc, left_out) for example, doc in texts]
    overlapping = sum(map(_overlap, found))
    if overlapping and settings.spans == "ner":
        raise CannotTrain(
            "overlapping_spans",
            f"spans overlap in {overlapping} of {len(found)} examples, which ner cannot learn: "
            'set spans to "spancat", or to "either"',
        )
    component: Component = "spancat" if settings.spans == "spancat" or overlapping else "ner"
    if component == "spancat":
        short = [{one for one in spans if len(one) <= settings.longest_span} for spans in found]
        left_out["long_spans"] += sum(map(len, found)) - sum(map(len, short))
        found = short
    made = [
        Lesson(
            example.task,
            doc,
            frozenset((one.start_char, one.end_char, one.label_) for one in spans),
            example.weight,
        )
        for (example, doc), spans in zip(texts, found, strict=True)
    ]
    return component, made, max((len(one) for spans in found for one in spans), default=1)


def _spans(question: Question, example: Example, doc: Any, left_out: Counter[str]) -> set[Any]:
    labels = {label.value for label in question.labels}
    spans = set()
    for region in example.regions:
        if isinstance(region, Span) and region.question == question.name and region.field in ("", question.field):
            for label in region.labels:
                if label not in labels:
                    left_out["unknown_labels"] += 1
                elif (span := _aligned(doc, region, label)) is not None:
                    spans.add(span)
                else:
                    left_out["misaligned_spans"] += 1
    return spans


def _aligned(doc: Any, region: Span, label: str) -> Any:
    """The span in tokens, without spaces around it, which ner refuses; None where it ends within a token."""
    text = doc.text[region.start : region.end]
    start = region.start + len(text) - len(text.lstrip())
    end = start + len(text.strip())
    if region.end > len(doc.text) or start == end:
        return None
    return doc.char_span(start, end, label=label, alignment_mode="strict")


def _overlap(spans: set[Any]) -> bool:
    inside: set[int] = set()
    for span in spans:
        tokens = set(range(span.start, span.end))
        if inside & tokens:
            return True
        inside |= tokens
    return False


def _of_choices(
    question: Question, texts: Sequence[tuple[Example, Any]], left_out: Counter[str]
) -> tuple[Component, list[Lesson], int]:
    known = {label.value for label in question.labels}
    made = []
    for example, doc in texts:
        said = {
            label
            for region in example.regions
            if isinstance(region, Choice) and region.question == question.name
            for label in region.labels
        }
        left_out["unknown_labels"] += len(said - known)
        answers = frozenset((0, 0, label) for label in said & known)
        if question.multiple or len(answers) == 1:
            made.append(Lesson(example.task, doc, answers, example.weight))
        else:
            left_out["left_out_choices"] += 1
    return "textcat_multilabel" if question.multiple else "textcat", made, 1


def _held_back(made: Sequence[Lesson], settings: SpacyTrainerSettings, seed: int) -> frozenset[str]:
    """Tasks by hash: the same task is on the same side, whatever else there is."""
    if not settings.patience or len(made) < _SPLIT_FROM:
        return frozenset()
    return frozenset(one.task for one in made if _fraction(seed, one.task) < settings.development)


def _fraction(seed: int, task: str) -> float:
    digest = hashlib.sha256(f"development\0{seed}\0{task}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
