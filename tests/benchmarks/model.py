"""The model that is measured, and its texts: spaCy's own NER in its usual size, trained on the spot.

Trained on Python's own documentation by number of examples, not by the clock, so that every machine
measures the same thing. Both are kept in a folder for the next run.
"""

import json
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prelabel_all_in_one.sample.corpus import Passage, load_corpus
from prelabel_all_in_one.sample.gold import LABELS, Gold

TOKENS = 30
"""A text's length, about: spaCy counts a few more or fewer."""
_FEWEST = 25
_TOKEN = re.compile(r"\w+|[^\w\s]")
_EXAMPLES = 6000
_BATCH = 32
_LEARN_RATE = 0.003

Progress = Callable[[float], None]
"""Told how much of the work is done, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What every way of running is given."""

    model: Path
    """The folder of the pipeline."""
    texts: tuple[str, ...]
    labels: tuple[str, ...] = LABELS

    def many(self, count: int) -> list[str]:
        """So many texts, no two alike: what comes again has its number at its end."""
        times, rest = divmod(count, len(self.texts))
        again = (f"{text} {number}" for number in range(1, times + 1) for text in self.texts)
        return [*self.texts, *again][: times * len(self.texts) + rest]


def prepare(folder: Path, progress: Progress) -> Measured:
    """The model and the texts in `folder`; made there first where they are not. Takes about a minute then."""
    model, texts = folder / "model", folder / "texts.json"
    if not texts.exists():
        corpus = load_corpus(seed=1)
        _train(corpus.training, Gold(corpus.names), model, progress)
        # Last: where it is, all is.
        texts.write_text(json.dumps(_texts((*corpus.tasks, *corpus.training))))
    return Measured(model, tuple(json.loads(texts.read_text())))


def _texts(passages: Sequence[Passage]) -> list[str]:
    found = []
    for passage in passages:
        tokens = list(_TOKEN.finditer(passage.text))
        if len(tokens) >= _FEWEST:
            found.append(passage.text[: tokens[:TOKENS][-1].end()])
    return found


def _train(passages: Sequence[Passage], gold: Gold, folder: Path, progress: Progress) -> None:
    import spacy

    spacy.util.fix_random_seed(1)
    chance = random.Random(1)
    nlp = spacy.blank("en")
    recognizer = nlp.add_pipe("ner")
    named = [_example(nlp, passage, gold) for passage in passages if gold(passage)]
    optimizer = nlp.initialize(lambda: named)
    optimizer.learn_rate = _LEARN_RATE
    for shown in range(0, _EXAMPLES, _BATCH):
        recognizer.update(chance.sample(named, _BATCH), sgd=optimizer, drop=0.1)
        progress(shown / _EXAMPLES)
    folder.mkdir(parents=True, exist_ok=True)
    nlp.to_disk(folder)
    progress(1.0)


def _example(nlp: Any, passage: Passage, gold: Gold) -> Any:
    from spacy.training import Example

    reference = nlp.make_doc(passage.text)
    spans = (reference.char_span(*span) for span in gold(passage))
    reference.set_ents([span for span in spans if span is not None])
    return Example(nlp.make_doc(passage.text), reference)
