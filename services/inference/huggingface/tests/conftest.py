"""Models made on the spot: encoders with weights by chance, and tables with known answers."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from prelabel_inference_huggingface.export import quantize

from tests.rig.onnx_models import SPECIAL, Shape, contains, encoder, lookup, pieces, save, words

TEXTS = ("Ada met Bob in Paris", "London is good", "bad news for Bob", "Émile saw 東京 and Œuvre")
TAGS = ("O", "B-PERSON", "I-PERSON", "B-CITY", "I-CITY")
CHOICES = ("good", "bad", "neither")
WORDS = ("Ada", "met", "Bob", "in", "Par", "##is", "Lon", "##don", "good", "bad", "news", "about", "New", "York", ".")

_SAID = {  # of each token, the probabilities of TAGS in hundredths; where nothing is said, it is O
    "Ada": (10, 80, 4, 3, 3),
    "Bob": (10, 80, 4, 3, 3),
    "Par": (4, 40, 2, 52, 2),
    "##is": (3, 90, 3, 2, 2),
    "Lon": (2, 2, 3, 90, 3),
    "##don": (3, 2, 2, 3, 90),
    "New": (10, 2, 2, 83, 3),
    "York": (10, 2, 2, 3, 83),
}


def table(said: Mapping[str, Sequence[float]], otherwise: tuple[float, ...]) -> np.ndarray:
    """A row per token, special ones included."""
    return np.array([said.get(token, otherwise) for token in (*SPECIAL, *WORDS)], np.float32)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Folders by what is in them."""
    folder = tmp_path_factory.mktemp("models")
    small, known = pieces(TEXTS), words(WORDS)
    tokens = Shape(small.get_vocab_size(), len(TAGS), per_token=True)
    texts = Shape(small.get_vocab_size(), len(CHOICES), per_token=False)
    good = {"good": (4.0, 0.0, 0.0), "bad": (0.0, 4.0, 0.0)}
    broken = {"good": (4.0, np.nan, 0.0), "bad": (0.0, np.inf, 0.0)}
    tagged: dict[str, Sequence[float]] = {token: np.log(row).tolist() for token, row in _SAID.items()}
    tagged["Bob"] = (np.nan,) * len(TAGS)
    claims = np.eye(len(SPECIAL) + len(WORDS), dtype=np.float32)
    claims[: len(SPECIAL)] = 0
    many = {"problem_type": "multi_label_classification"}
    made = {
        "tags": save(folder / "tags", small, TAGS, encoder(tokens, seed=1)),
        "other_tags": save(folder / "other_tags", small, TAGS, encoder(tokens, seed=2)),
        "choices": save(folder / "choices", small, CHOICES, encoder(texts, seed=3)),
        "many": save(folder / "many", small, CHOICES, encoder(texts, seed=3), **many),
        "known_tags": save(
            folder / "known_tags", known, TAGS, lookup(np.log(table(_SAID, (96, 1, 1, 1, 1))), per_token=True)
        ),
        "known_choices": save(
            folder / "known_choices", known, CHOICES, lookup(table(good, (0.0, 0.0, 0.0)), per_token=False)
        ),
        "known_many": save(
            folder / "known_many", known, CHOICES, lookup(table(good, (-1.0, -1.0, -1.0)), per_token=False), **many
        ),
        "broken_tags": save(
            folder / "broken_tags", known, TAGS, lookup(table(tagged, (9.0, 0.0, 0.0, 0.0, 0.0)), per_token=True)
        ),
        "broken_choices": save(
            folder / "broken_choices", known, CHOICES, lookup(table(broken, (0.0, 0.0, 0.0)), per_token=False)
        ),
        "claims": save(folder / "claims", known, ("contradiction", "entailment"), contains(claims)),
    }
    for name in ("tags", "choices"):
        quantized = folder / f"{name}_int8"
        quantized.mkdir()
        for file in ("config.json", "tokenizer.json"):
            (quantized / file).write_bytes((made[name] / file).read_bytes())
        quantize(made[name] / "model.onnx", quantized / "model_int8.onnx")
        made[quantized.name] = quantized
    return made
