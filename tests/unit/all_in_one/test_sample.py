"""The sample's promises: where its text comes from, what is held out and marked, what training keeps to."""

import json
import re
from itertools import count
from pathlib import Path

import pytest
from prelabel_all_in_one.sample.areas import AREAS, area_of, area_rules
from prelabel_all_in_one.sample.corpus import FEWEST_WORDS, MOST_WORDS, Corpus, cut, load_corpus
from prelabel_all_in_one.sample.gold import EXCEPTION, FUNCTION, LABELS, MODULE, TYPE, Gold
from prelabel_all_in_one.sample.stdlib import Docstring, NoStandardLibrary, read_library


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return load_corpus(seed=1)


@pytest.fixture(scope="module")
def gold(corpus: Corpus) -> Gold:
    return Gold(corpus.names)


@pytest.fixture
def small_library(tmp_path: Path) -> Path:
    """A folder that looks like a standard library: two modules, a test folder, a file that is no Python."""
    words = "one two three four five six seven eight nine ten eleven twelve"
    (tmp_path / "alpha.py").write_text(
        f'"""Alpha says {words}."""\nclass Beta(ValueError):\n    """Beta says {words}."""\n'
        f'    def gamma(self):\n        """Gamma says {words}."""\n',
        encoding="utf-8",
    )
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text(f'"""Package says {words}."""\n', encoding="utf-8")
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "data.py").write_text(f'"""Test says {words}."""\n', encoding="utf-8")
    (tmp_path / "template.py").write_text("def ${name}(:", encoding="utf-8")
    (tmp_path / "boom.py").write_text('"""Docstring."""\nraise SystemExit("imported")\n', encoding="utf-8")
    return tmp_path


def test_the_corpus_is_the_same_for_the_same_seed(corpus: Corpus) -> None:
    assert load_corpus(seed=1) == corpus


def test_another_seed_deals_other_modules(corpus: Corpus) -> None:
    other = load_corpus(seed=2)
    assert {passage.module for passage in other.tasks} != {passage.module for passage in corpus.tasks}


def test_there_are_enough_tasks_for_the_demo_and_enough_to_learn_from(corpus: Corpus) -> None:
    assert len(corpus.tasks) >= 3000
    assert len(corpus.training) >= 1500


def test_held_out_passages_come_from_modules_never_trained_on(corpus: Corpus) -> None:
    trained = {passage.module.partition(".")[0] for passage in corpus.training}
    assert trained.isdisjoint(passage.module.partition(".")[0] for passage in corpus.tasks)


def test_no_text_comes_twice_and_every_id_is_its_own(corpus: Corpus) -> None:
    passages = corpus.training + corpus.tasks
    assert len({passage.text.lower() for passage in passages}) == len(passages)
    assert len({passage.id for passage in passages}) == len(passages)


def test_a_passage_is_one_line_of_prose_of_bounded_length(corpus: Corpus) -> None:
    for passage in corpus.tasks:
        assert FEWEST_WORDS <= len(passage.text.split()) <= MOST_WORDS
        assert passage.text.isprintable()
        assert ">>>" not in passage.text


def test_modules_are_read_and_never_imported(small_library: Path) -> None:
    library = read_library(small_library)
    assert [(docstring.module, docstring.name) for docstring in library.docstrings] == [
        ("alpha", ""),
        ("alpha", "Beta"),
        ("alpha", "Beta.gamma"),
        ("boom", ""),
        ("package", ""),
    ]
    assert "Beta" in library.names.exceptions
    assert {"alpha.Beta", "Beta.gamma"} <= library.names.inner | library.names.members


def test_a_python_without_sources_is_named_as_such(tmp_path: Path) -> None:
    with pytest.raises(NoStandardLibrary, match="no docstrings"):
        read_library(tmp_path)


def test_a_passage_is_known_by_where_it_stands() -> None:
    text = "This sentence has quite enough words in it to stand alone as one passage of text.\n\n"
    other = text.replace("sentence", "paragraph")
    passages = list(cut([Docstring("json.decoder", "Decoder.decode", text + other), Docstring("os", "", text)]))
    assert [passage.id for passage in passages] == [
        "json.decoder:Decoder.decode#1",
        "json.decoder:Decoder.decode#2",
    ]
    assert passages[0].area == "data"


@pytest.mark.parametrize(
    ("text", "marked"),
    [
        ("Use the pickle module, or json.dumps() instead.", [("pickle", MODULE), ("json.dumps", FUNCTION)]),
        ("Raise ValueError unless it is an int.", [("ValueError", EXCEPTION), ("int", TYPE)]),
        ("An OrderedDict, or a Thread object.", [("OrderedDict", TYPE), ("Thread", TYPE)]),
        ("Call close() after the file(s) were read.", [("close", FUNCTION)]),
        ("Warning: set the time, then copy the list to a file.", []),
        ("Mail me at int@example.org, see /usr/lib/json/str or f(x).", []),
    ],
)
def test_a_name_is_marked_only_where_its_surroundings_mean_it(
    gold: Gold, text: str, marked: list[tuple[str, str]]
) -> None:
    assert [(text[start:end], label) for start, end, label in gold.mark(text)] == marked


def test_offsets_count_code_points_also_behind_emoji(gold: Gold) -> None:
    text = "🎉👩‍👩‍👧 It may raise KeyError."
    assert [(text[start:end], label) for start, end, label in gold.mark(text)] == [("KeyError", EXCEPTION)]


def test_every_label_occurs_in_both_parts(corpus: Corpus, gold: Gold) -> None:
    for part in (corpus.training, corpus.tasks):
        assert {label for passage in part for *_, label in gold(passage)} == set(LABELS)


def test_every_module_of_the_tasks_has_an_area(corpus: Corpus) -> None:
    assert {passage.area for passage in corpus.training + corpus.tasks} <= set(AREAS)
    unknown = sum(passage.area == "other" for passage in corpus.tasks)
    assert unknown < 0.05 * len(corpus.tasks)
    assert area_of("http.server") == "networking"


def test_area_rules_come_surest_first_and_guess_better_than_chance_on_modules_never_seen(
    corpus: Corpus,
) -> None:
    rules = area_rules((passage.text, passage.module) for passage in corpus.training)["rules"]
    assert json.loads(json.dumps(rules)) == rules
    scores = [rule["score"] for rule in rules]
    assert scores == sorted(scores, reverse=True)
    assert all(0 < score < 1 for score in scores)

    answers = []
    for passage in corpus.tasks:
        words = set(re.findall(r"\w+", passage.text.lower()))
        met = next((rule for rule in rules if not words.isdisjoint(rule["words"])), None)
        if met:
            answers.append(met["label"] == passage.area)
    assert len(answers) > 0.4 * len(corpus.tasks)
    assert sum(answers) / len(answers) > 0.35  # nine areas: guessing blindly is right about once in nine


def test_training_keeps_to_its_time_and_scores_only_what_it_never_saw(corpus: Corpus, tmp_path: Path) -> None:
    spacy = pytest.importorskip("spacy")
    train = pytest.importorskip("prelabel_all_in_one.sample.train").train
    heard: list[tuple[float, str]] = []
    ticks = count()
    report = train(
        corpus,
        tmp_path / "model",
        seconds=6,
        seed=1,
        progress=lambda fraction, message: heard.append((fraction, message)),
        clock=lambda: 0.05 * next(ticks),  # as if each step took so long
    )
    assert 5 < report.seconds < 6.5
    assert heard[0][0] == 0.0
    assert all(0 <= fraction <= 1 for fraction, _ in heard)
    assert report.held_out_passages > 0
    assert set(report.by_label) == set(LABELS)
    assert json.loads(json.dumps(report.as_json()))["overall"]["f1"] == report.overall.f1
    document = spacy.load(tmp_path / "model")("It raises ValueError, see os.path.join(a, b).")
    assert [token.text for token in document if "." in token.text] == ["os.path.join", "."]
