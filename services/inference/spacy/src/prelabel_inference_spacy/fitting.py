"""Teaching one component: epochs, scores, stopping early."""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from prelabel_provider.pace import Pace
from spacy.training import Example
from thinc.api import Adam

from .lessons import Answer, Lesson, Lessons
from .trainer_settings import SpacyTrainerSettings

_NEW_RATE = 0.004
_FURTHER_RATE = 0.001
"""What knows something already forgets it at the rate at which a new component learns: 60 examples cost a strong base
a tenth of its F1."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """How it went."""

    epochs: int
    score: float | None
    """Micro F1 of the best epoch, which is what was kept, on the examples held back; None: nothing was scored."""


def fit(
    nlp: Any,
    name: str,
    lessons: Lessons,
    settings: SpacyTrainerSettings,
    chance: random.Random,
    pace: Pace,
    done: Callable[[int], None],
    *,
    knows: bool,
) -> Fitted:
    """Teach the component called `name`. `done` is told how many examples were shown so far, each once per epoch."""
    pipe = nlp.get_pipe(name)
    examples = [Example(one.doc, _reference(one, pipe, lessons)) for one in lessons.shown]
    if not knows:
        pipe.initialize(lambda: examples, nlp=nlp)
    # A component that knows something already is scored first: a few new examples may make it worse, and it is kept.
    best = _score(nlp, name, lessons) if knows else None
    kept, waited = pipe.model.to_bytes() if best is not None else b"", 0
    rate = settings.learn_rate or (_FURTHER_RATE if knows else _NEW_RATE)
    optimizer = Adam(rate, L2=0.01, L2_is_weight_decay=True, grad_clip=1.0)
    epoch = 0
    for epoch in range(1, settings.epochs + 1):
        losses: dict[str, float] = {}
        at = 0
        for batch in _batches(examples, lessons.shown, settings.batch, chance):
            pipe.update(batch, sgd=optimizer, drop=settings.dropout, losses=losses)
            at = min(at + len(batch), len(examples) - 1)  # the last is done when the epoch is scored
            done((epoch - 1) * len(examples) + at)
        score = _score(nlp, name, lessons)
        pace.learned(float(losses.get(name, 0.0)) / len(examples), score)
        done(epoch * len(examples))
        if score is None:
            continue
        if not best or score > best:  # while nothing is right yet, the last epoch is the best
            best, kept, waited = score, pipe.model.to_bytes(), 0
        else:
            waited += 1
            if waited >= settings.patience:
                break
    if kept:
        pipe.model.from_bytes(kept)
    return Fitted(epoch, best)


def _reference(lesson: Lesson, pipe: Any, lessons: Lessons) -> Any:
    doc = lesson.doc.copy()
    if lessons.component in ("ner", "spancat"):
        spans = [doc.char_span(start, end, label=label) for start, end, label in sorted(lesson.answers)]
        if lessons.component == "ner":
            doc.set_ents(spans)
        else:
            doc.spans[pipe.key] = spans
    else:
        doc.cats = {label: float((0, 0, label) in lesson.answers) for label in lessons.labels}
    return doc


def _batches(
    examples: Sequence[Any], lessons: Sequence[Lesson], size: int, chance: random.Random
) -> Iterator[list[Any]]:
    """An epoch: each example as often as its weight says, where that is broken now once more and now not."""
    order = [i for i, one in enumerate(lessons) for _ in range(int(one.weight + chance.random()))]
    chance.shuffle(order)
    for start in range(0, len(order), size):
        yield [examples[i] for i in order[start : start + size]]


def _score(nlp: Any, name: str, lessons: Lessons) -> float | None:
    """Micro F1 on the examples held back; of one choice each, that is the share of right ones."""
    right = found = wanted = 0
    pipe = nlp.get_pipe(name)
    for docs in _some([one.doc.copy() for one in lessons.scored], 64):
        for doc in pipe.pipe(docs):
            said = _said(doc, pipe, lessons)
            gold = lessons.scored[doc.user_data["place"]].answers
            right, found, wanted = right + len(said & gold), found + len(said), wanted + len(gold)
    return 2 * right / (found + wanted) if found + wanted else None


def _some(docs: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for place, doc in enumerate(docs):
        doc.user_data["place"] = place
    for start in range(0, len(docs), size):
        yield docs[start : start + size]


def _said(doc: Any, pipe: Any, lessons: Lessons) -> frozenset[Answer]:
    match lessons.component:
        case "ner":
            return frozenset((one.start_char, one.end_char, one.label_) for one in doc.ents)
        case "spancat":
            return frozenset((one.start_char, one.end_char, one.label_) for one in doc.spans[pipe.key])
        case "textcat":
            return frozenset({(0, 0, max(lessons.labels, key=lambda label: doc.cats[label]))})
        case _:
            least = pipe.cfg.get("threshold") or 0.0
            return frozenset((0, 0, label) for label in lessons.labels if doc.cats[label] >= least)
