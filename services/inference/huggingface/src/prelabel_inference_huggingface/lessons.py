"""From examples to what a model reads, and what it should say to it."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from prelabel_contract.projects import Question
from prelabel_contract.regions import Choice, Span
from prelabel_provider.trainer import CannotTrain, Example
from tokenizers import Encoding

from .batches import Piece
from .tokens import Tokens
from .trainer_settings import HuggingFaceTrainerSettings

Learned = Literal["token-classification", "text-classification"]
Answer = tuple[int, int, str]
"""Start, end and label of a span; 0, 0 and the label of a choice."""
IGNORED = -100
"""What a special token should say: nothing that counts."""
_SPLIT_FROM = 20
"""Examples; of fewer, none can be spared, and a score of two or three means nothing."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """What a model reads in one go."""

    piece: Piece
    target: NDArray[Any]
    """Of each token its tag; or the label; or of each label 0 or 1."""
    weight: float


@dataclass(frozen=True, slots=True)
class Scored:
    """A text that is not shown, and what should be said about it."""

    text: str
    answers: frozenset[Answer]


@dataclass(frozen=True, slots=True)
class Lessons:
    """All that one model learns from."""

    task: Learned
    outputs: tuple[str, ...]
    """What the model may say, in the order of its outputs: labels, or tags of them."""
    many: bool
    """Any number of labels may be true at once."""
    shown: tuple[Lesson, ...]
    scored: tuple[Scored, ...]
    left_out: Mapping[str, int]
    """How many of what could not be used."""

    def fingerprint(self) -> str:
        """SHA-256 of what is shown, in hexadecimal: of a checkpoint of the same training it is the same."""
        digest = hashlib.sha256(repr((self.task, self.outputs, self.many)).encode())
        for one in self.shown:
            digest.update(repr((list(one.piece.ids), one.target.tolist(), one.weight)).encode())
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class _Known:
    """An example whose answers can be learned."""

    task: str
    text: str
    encoded: Encoding
    answers: frozenset[Answer]
    weight: float


def task_of(label_set: Sequence[Question]) -> tuple[Question, Learned]:
    """The one question, and what a model is called that answers it. Raises `CannotTrain`."""
    if len(label_set) != 1:
        raise CannotTrain("questions", "a transformers model answers one question: give every other a model of its own")
    (question,) = label_set
    if not question.labels:
        raise CannotTrain("no_label_known", f"question {question.name!r} has no labels to learn")
    if "span" in question.kinds:
        return question, "token-classification"
    if "choice" in question.kinds:
        return question, "text-classification"
    raise CannotTrain("kind", f"question {question.name!r} takes {question.kind}: only span and choice are learned")


def lessons(
    tokens: Tokens, question: Question, examples: Sequence[Example], settings: HuggingFaceTrainerSettings, seed: int
) -> Lessons:
    """What a model is shown. Raises `CannotTrain`."""
    left_out: Counter[str] = Counter()
    texts = _texts(tokens, question, examples, settings.max_length, left_out)
    spans = "span" in question.kinds
    known = _with_spans(question, texts, left_out) if spans else _with_choices(question, texts, left_out)
    _check(known, question, settings, spans=spans)
    scored = _held_back(known, settings, seed)
    labels = [label.value for label in question.labels]
    outputs = ("O", *(f"{place}-{label}" for label in labels for place in "BI")) if spans else tuple(labels)
    return Lessons(
        "token-classification" if spans else "text-classification",
        outputs,
        not spans and question.multiple,
        tuple(one for some in known if some.task not in scored for one in _shown(tokens, some, outputs, question)),
        tuple(Scored(one.text, one.answers) for one in known if one.task in scored),
        dict(left_out),
    )


def _texts(
    tokens: Tokens, question: Question, examples: Sequence[Example], most: int, left_out: Counter[str]
) -> list[tuple[Example, str, Encoding]]:
    found = []
    for example in examples:
        text = example.data.get(question.field)
        if isinstance(text, str) and text.strip() and len(text) <= most and _encodable(text):
            found.append((example, text))
    encoded = tokens.bare([text for _, text in found])
    told = [(*one, said) for one, said in zip(found, encoded, strict=True) if len(said)]
    left_out["left_out_texts"] += len(examples) - len(told)
    return told


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeError:
        return False
    return True


def _check(known: Sequence[_Known], question: Question, settings: HuggingFaceTrainerSettings, *, spans: bool) -> None:
    if len(known) < settings.minimum:
        raise CannotTrain(
            "too_few",
            f"{len(known)} examples of question {question.name!r} can be used, {settings.minimum} are needed",
        )
    if not any(one.answers for one in known):
        raise CannotTrain("no_label_known", f"no example has a label of question {question.name!r} that can be learned")
    if not spans and len({one.answers for one in known}) == 1:
        raise CannotTrain("single_class", f"all examples of question {question.name!r} have the same answer")


def _held_back(known: Sequence[_Known], settings: HuggingFaceTrainerSettings, seed: int) -> frozenset[str]:
    """Tasks by hash: the same task is on the same side, whatever else there is."""
    if not settings.patience or len(known) < _SPLIT_FROM:
        return frozenset()
    return frozenset(one.task for one in known if _fraction(seed, one.task) < settings.development)


def _fraction(seed: int, task: str) -> float:
    digest = hashlib.sha256(f"development\0{seed}\0{task}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


# ------------------------------------------------------------------------------------------------------------- spans


def _with_spans(
    question: Question, texts: Sequence[tuple[Example, str, Encoding]], left_out: Counter[str]
) -> list[_Known]:
    labels = {label.value for label in question.labels}
    found = [
        _Known(
            example.task, text, encoded, frozenset(_spans(question, example, text, labels, left_out)), example.weight
        )
        for example, text, encoded in texts
    ]
    if overlapping := sum(_overlap(one.answers) for one in found):
        raise CannotTrain(
            "overlapping_spans",
            f"spans overlap in {overlapping} of {len(found)} examples: a token has one tag here; spaCy's spancat, "
            "or a question of its own for each label, can learn them",
        )
    return [_aligned(one, left_out) for one in found]


def _spans(question: Question, example: Example, text: str, labels: set[str], left_out: Counter[str]) -> set[Answer]:
    spans: set[Answer] = set()
    for region in example.regions:
        if isinstance(region, Span) and region.question == question.name and region.field in ("", question.field):
            said = text[region.start : region.end]
            start = region.start + len(said) - len(said.lstrip())
            end = start + len(said.strip())
            if region.end > len(text) or start == end:
                left_out["misaligned_spans"] += 1
                continue
            spans.update((start, end, label) for label in region.labels if label in labels)
            left_out["unknown_labels"] += sum(label not in labels for label in region.labels)
    return spans


def _overlap(spans: frozenset[Answer]) -> bool:
    ends = 0
    for start, end, _ in sorted(spans):
        if start < ends:
            return True
        ends = end
    return False


def _aligned(one: _Known, left_out: Counter[str]) -> _Known:
    """Without the spans that begin or end within a token: no tags would say them."""
    trimmed = [_trimmed(one.text, *offsets) for offsets in one.encoded.offsets]
    starts, ends = {start for start, _ in trimmed}, {end for _, end in trimmed}
    kept = frozenset(span for span in one.answers if span[0] in starts and span[1] in ends)
    left_out["misaligned_spans"] += len(one.answers) - len(kept)
    return _Known(one.task, one.text, one.encoded, kept, one.weight)


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """Many tokenizers count the space before a word as part of it."""
    said = text[start:end]
    start += len(said) - len(said.lstrip())
    return start, max(start, start + len(said.strip()))


def _tags(text: str, window: Encoding, answers: frozenset[Answer], outputs: Mapping[str, int]) -> NDArray[np.int64]:
    """Of each token of a dressed window."""
    begins = {start: (end, label) for start, end, label in answers}
    spans = sorted(answers)
    said = np.full(len(window), IGNORED, np.int64)
    for place, special in enumerate(window.special_tokens_mask):
        if special:
            continue
        start, end = _trimmed(text, *window.offsets[place])
        inside = next((span for span in spans if span[0] <= start < span[1]), None) if start < end else None
        if inside is None:
            said[place] = outputs["O"]
        else:
            said[place] = outputs[f"{'B' if start in begins else 'I'}-{inside[2]}"]
    return said


# ----------------------------------------------------------------------------------------------------------- choices


def _with_choices(
    question: Question, texts: Sequence[tuple[Example, str, Encoding]], left_out: Counter[str]
) -> list[_Known]:
    known = {label.value for label in question.labels}
    found = []
    for example, text, encoded in texts:
        said = {
            label
            for region in example.regions
            if isinstance(region, Choice) and region.question == question.name
            for label in region.labels
        }
        left_out["unknown_labels"] += len(said - known)
        answers = frozenset((0, 0, label) for label in said & known)
        if question.multiple or len(answers) == 1:
            found.append(_Known(example.task, text, encoded, answers, example.weight))
        else:
            left_out["left_out_choices"] += 1
    return found


# ------------------------------------------------------------------------------------------------------------ common


def _shown(tokens: Tokens, one: _Known, outputs: Sequence[str], question: Question) -> list[Lesson]:
    windows = [tokens.dressed(window) for window in tokens.windows(one.encoded, tokens.room())]
    if "span" in question.kinds:
        index = {output: place for place, output in enumerate(outputs)}
        return [
            Lesson(Piece(window.ids, window.type_ids), _tags(one.text, window, one.answers, index), one.weight)
            for window in windows
        ]
    chosen = np.array([(0, 0, label) in one.answers for label in outputs])
    target = chosen.astype(np.float32) if question.multiple else np.array(chosen.argmax())
    return [Lesson(Piece(windows[0].ids, windows[0].type_ids), target, one.weight)]
