"""The linear classifier that is measured, its texts, and what it does alone.

TF-IDF and logistic regression over invented texts of about 30 words, made from a seed, so that every machine measures
the same thing. `BareLinear` is the mark to reach: the same file asked by nobody but a loop, in a process of its own.

python -m tests.benchmarks.linear_model FILE < what `bare_process` says
"""

import json
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.bare_process import BareProcess, serve

WORDS = 30
"""In a text, about."""
LABELS = ("billing", "delivery", "account", "returns")
BATCH = 1000
PROJECT = "linear"
_TRAINING = 8000
_TEXTS = 20_000
_COMMON = 6000
"""Words that every label's texts use, the n-th 1/n as often as the first, as people do."""
_TYPICAL = 300
"""Words that one label's texts use more often."""


@dataclass(frozen=True, slots=True)
class Linear:
    """What every way of running is given."""

    file: Path
    texts: tuple[str, ...]

    def project(self) -> dict[str, Any]:
        """A project whose one model this is."""
        question = {"name": "topic", "kind": "choice", "field": "text", "labels": list(LABELS), "multiple": False}
        model = {"name": "topics", "provider": "sklearn", "settings": {"path": str(self.file.absolute())}}
        return {"id": PROJECT, "label_set": {"questions": [question]}, "models": [model]}


def prepare(folder: Path) -> Linear:
    """The model and the texts in `folder`; made there first where they are not. Takes about ten seconds then."""
    file, texts = folder / "linear.skops", folder / "linear-texts.json"
    if not texts.exists():
        chance = random.Random(5)
        shown = [_text(chance, label) for label in range(len(LABELS)) for _ in range(_TRAINING // len(LABELS))]
        folder.mkdir(parents=True, exist_ok=True)
        _train(shown, file)
        asked = [_text(chance, chance.randrange(len(LABELS))) for _ in range(_TEXTS)]
        # Last: where it is, all is.
        texts.write_text(json.dumps(asked))
    return Linear(file, tuple(json.loads(texts.read_text())))


def _text(chance: random.Random, label: int) -> str:
    words = []
    for _ in range(chance.randint(WORDS - 6, WORDS + 6)):
        if chance.random() < 0.12:
            words.append(_word(_COMMON + label * _TYPICAL + chance.randrange(_TYPICAL)))
        else:
            words.append(_word(int(_COMMON ** chance.random()) - 1))
    return " ".join(words).capitalize() + "."


def _word(number: int) -> str:
    """The n-th word of a language that nobody speaks: the first are short."""
    syllables = []
    number += 1
    while number:
        number, syllable = divmod(number, 75)
        syllables.append("bcdfghjklmnprst"[syllable % 15] + "aeiou"[syllable // 15])
    return "".join(syllables) + "n"


def _train(shown: Sequence[str], file: Path) -> None:
    import skops.io
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    said = [label for label in LABELS for _ in range(_TRAINING // len(LABELS))]
    model = make_pipeline(TfidfVectorizer(), LogisticRegression(max_iter=200)).fit(shown, said)
    skops.io.dump(model, file)


def bare(linear: Linear) -> BareProcess:
    """Labels and probabilities in batches of BATCH, and nothing else."""
    return BareProcess("tests.benchmarks.linear_model", linear.file, (BATCH,))


def ask(model: Any, texts: Sequence[str]) -> list[tuple[str, float]]:
    """What a batch is: the likeliest label of each text, and how likely it is."""
    probabilities = model.predict_proba(texts)
    best = probabilities.argmax(axis=1)
    return list(zip(model.classes_[best].tolist(), probabilities.max(axis=1).tolist(), strict=True))


def main() -> None:
    """Answer until standard input ends."""
    import skops.io

    model = skops.io.load(sys.argv[1])

    def run(texts: list[str], size: int) -> None:
        for start in range(0, len(texts), size):
            ask(model, texts[start : start + size])

    serve(run)


if __name__ == "__main__":
    main()
