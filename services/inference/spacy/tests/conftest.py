"""Pipelines made on the spot: small, trained for a moment, the same in every run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import spacy
from spacy.training import Example
from spacy.util import fix_random_seed

Shown = list[tuple[str, Mapping[str, Any]]]
"""Texts and what is to be learned of them."""

NER: Shown = [
    ("Ada met Bob in Paris", {"entities": [(0, 3, "PERSON"), (8, 11, "PERSON"), (15, 20, "CITY")]}),
    ("Ada lives in London", {"entities": [(0, 3, "PERSON"), (13, 19, "CITY")]}),
    ("Paris is far from London", {"entities": [(0, 5, "CITY"), (18, 24, "CITY")]}),
    ("nobody is here", {"entities": []}),
]
SPANS: Shown = [
    (text, {"spans": {"sc": [(start, end, label) for start, end, label in said["entities"]]}}) for text, said in NER
]
ONE_OF: Shown = [
    ("good and fine", {"cats": {"good": 1.0, "bad": 0.0}}),
    ("bad and foul", {"cats": {"good": 0.0, "bad": 1.0}}),
]
_CLAUSE = {"heads": [1, 1, 1], "deps": ["nsubj", "ROOT", "obj"], "pos": ["PROPN", "VERB", "PROPN"]}
PARSED: Shown = [("Ada met Bob", _CLAUSE), ("Bob saw Ada", _CLAUSE)]

_CONFIGS: Mapping[str, dict[str, Any]] = {
    "spancat": {"suggester": {"@misc": "spacy.ngram_suggester.v1", "sizes": [1]}},
    "parser": {"min_action_freq": 1},
}


def train(folder: Path, parts: Mapping[str, Shown], *, rounds: int = 30) -> Path:
    """Train one component per part, each on its own examples, and save the pipeline."""
    fix_random_seed(1)
    nlp = spacy.blank("en")
    nlp.meta["name"] = folder.name
    for part in parts:
        nlp.add_pipe(part, config=_CONFIGS.get(part, {}))
    examples = {
        part: [Example.from_dict(nlp.make_doc(text), dict(said)) for text, said in shown]
        for part, shown in parts.items()
    }
    optimizer = nlp.initialize(lambda: [one for shown in examples.values() for one in shown])
    for part, shown in examples.items():
        with nlp.select_pipes(enable=part):
            for _ in range(rounds):
                nlp.update(shown, sgd=optimizer)
    nlp.to_disk(folder)
    return folder


@pytest.fixture(scope="session")
def pipelines(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Folders by what is in them."""
    folder = tmp_path_factory.mktemp("pipelines")
    return {
        "ner": train(folder / "ner", {"ner": NER}),
        "other_ner": train(folder / "other_ner", {"ner": NER}, rounds=29),
        "spancat": train(folder / "spancat", {"spancat": SPANS}),
        "textcat": train(folder / "textcat", {"textcat": ONE_OF}),
        "textcat_multilabel": train(folder / "textcat_multilabel", {"textcat_multilabel": ONE_OF}),
        "parsed": train(folder / "parsed", {"morphologizer": PARSED, "parser": PARSED, "ner": NER}),
    }
