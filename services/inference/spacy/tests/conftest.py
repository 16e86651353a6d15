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


def _as_spans(shown: Shown) -> Shown:
    return [
        (text, {"spans": {"sc": [(start, end, label) for start, end, label in said["entities"]]}})
        for text, said in shown
    ]


SPANS = _as_spans(NER)
ONE_OF: Shown = [
    ("good and fine", {"cats": {"good": 1.0, "bad": 0.0}}),
    ("bad and foul", {"cats": {"good": 0.0, "bad": 1.0}}),
]
JORDAN, BELL, CHASE = "Jordan is here", "Bell rang", "Chase ran"
UNSURE: Shown = [
    *NER,
    (JORDAN, {"entities": [(0, 6, "PERSON")]}),
    (JORDAN, {"entities": [(0, 6, "CITY")]}),
    (BELL, {"entities": [(0, 4, "PERSON")]}),
    *[(BELL, {"entities": []})] * 2,
    *[(CHASE, {"entities": [(0, 5, "PERSON")]})] * 2,
    (CHASE, {"entities": []}),
]
"""People do not agree on three texts: is Jordan the one or the other, are Bell and Chase names at all? Of three people
two say that Bell is none, and that Chase is one."""
UNSURE_CATS: Shown = [
    *ONE_OF,
    ("so and so", {"cats": {"good": 1.0, "bad": 0.0}}),
    ("so and so", {"cats": {"good": 0.0, "bad": 1.0}}),
]
_CLAUSE = {"heads": [1, 1, 1], "deps": ["nsubj", "ROOT", "obj"], "pos": ["PROPN", "VERB", "PROPN"]}
PARSED: Shown = [("Ada met Bob", _CLAUSE), ("Bob saw Ada", _CLAUSE)]

_WORDS = {"suggester": {"@misc": "spacy.ngram_suggester.v1", "sizes": [1]}}
_CONFIGS: Mapping[str, dict[str, Any]] = {
    "spancat": _WORDS,
    "spancat_singlelabel": _WORDS,
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
        "spancat_singlelabel": train(folder / "spancat_singlelabel", {"spancat_singlelabel": SPANS}),
        "textcat": train(folder / "textcat", {"textcat": ONE_OF}),
        "textcat_multilabel": train(folder / "textcat_multilabel", {"textcat_multilabel": ONE_OF}),
        "parsed": train(folder / "parsed", {"morphologizer": PARSED, "parser": PARSED, "ner": NER}),
    }


@pytest.fixture(scope="session")
def unsure(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """The same of pipelines that learned contradictions."""
    folder = tmp_path_factory.mktemp("unsure")
    ner = train(folder / "ner", {"ner": UNSURE})
    return {
        "ner": ner,
        "spancat": train(folder / "spancat", {"spancat": _as_spans(UNSURE)}),
        "textcat": train(folder / "textcat", {"textcat": UNSURE_CATS}),
        "textcat_multilabel": train(folder / "textcat_multilabel", {"textcat_multilabel": UNSURE_CATS}),
        "ruled": _ruled(ner, folder / "ruled"),
        "listening": _listening(folder / "listening"),
    }


def _ruled(ner: Path, folder: Path) -> Path:
    """With a ruler in front, which knows that Jordan is a city."""
    nlp = spacy.load(ner)
    nlp.add_pipe("entity_ruler", before="ner").add_patterns([{"label": "CITY", "pattern": "Jordan"}])
    nlp.to_disk(folder)
    return folder


def _listening(folder: Path) -> Path:
    """Whose parser reads what another component left in the doc."""
    fix_random_seed(1)
    nlp = spacy.blank("en")
    nlp.add_pipe("tok2vec")
    listener = {"@architectures": "spacy.Tok2VecListener.v1", "width": 96}
    nlp.add_pipe("ner", config={"model": {"tok2vec": listener}})
    examples = [Example.from_dict(nlp.make_doc(text), dict(said)) for text, said in UNSURE]
    optimizer = nlp.initialize(lambda: examples)
    for _ in range(30):
        nlp.update(examples, sgd=optimizer)
    nlp.to_disk(folder)
    return folder
