"""What is trained is a pipeline that the provider serves; what cannot be learned is refused in a word."""

import hashlib
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import spacy
from prelabel_contract.projects import Label, Question
from prelabel_contract.regions import Choice, Region, Span
from prelabel_inference_spacy.provider import SpacyProvider
from prelabel_inference_spacy.trainer import SpacyTrainer
from prelabel_provider.base import BadSettings, Input, Predicted
from prelabel_provider.models.manifest import Rules
from prelabel_provider.models.scanned import scan
from prelabel_provider.trainer import CannotTrain, Example, Job, Progress, Trained

_PERSONS = ("Ada", "Bob", "Cleo", "Dan", "Eve", "Finn", "Gus", "Hal", "Ida", "Jon", "Kim", "Lou")
_CITIES = ("Paris", "London", "Rome", "Oslo", "Bern", "Kyiv", "Lima", "Quito", "Delhi", "Tokyo", "Cairo", "Lagos")
_FRAMES = ("{p} lives in {c} now", "yesterday {p} drove to {c} alone", "people from {c} know {p} well")
WHO = Question(name="who", kind="span", field="text", labels=(Label(value="PERSON"), Label(value="CITY")))
MOOD = Question(
    name="mood", kind="choice", field="text", multiple=False, labels=(Label(value="good"), Label(value="bad"))
)
TOPICS = Question(name="topics", kind="choice", field="text", labels=(Label(value="food"), Label(value="money")))


def _sentence(chance: random.Random, persons: Sequence[str], cities: Sequence[str]) -> tuple[str, tuple[Region, ...]]:
    person, city = chance.choice(persons), chance.choice(cities)
    text = chance.choice(_FRAMES).format(p=person, c=city)
    spans = ((text.index(name), name, label) for name, label in ((person, "PERSON"), (city, "CITY")))
    return text, tuple(Span(start=s, end=s + len(n), labels=(v,), question="who", field="text") for s, n, v in spans)


def _named(n: int = 60) -> tuple[Example, ...]:
    chance = random.Random(7)
    made = (_sentence(chance, _PERSONS[:8], _CITIES[:8]) for _ in range(n))
    return tuple(Example(f"t{i}", {"text": text}, regions) for i, (text, regions) in enumerate(made))


def _chosen(question: Question, words: dict[str, str], n: int = 60) -> tuple[Example, ...]:
    chance = random.Random(7)
    made = []
    for i in range(n):
        wanted = [label.value for label in question.labels if question.multiple and chance.random() < 0.5]
        wanted = wanted if question.multiple else [chance.choice(question.labels).value]
        said = [chance.choice(words[label].split()) for label in wanted]
        text = " ".join(("it was", *said, chance.choice(("today", "again", "there"))))
        region = Choice(labels=tuple(wanted), question=question.name, field="text") if wanted else None
        made.append(Example(f"t{i}", {"text": text}, () if region is None else (region,)))
    return tuple(made)


def _train(folder: Path, examples: Sequence[Example], *questions: Question, **job: Any) -> Trained:
    folder.mkdir()
    made = Job(tuple(examples), questions, folder, seed=job.pop("seed", 3), base=job.pop("base", None), settings=job)
    return SpacyTrainer().train(made, lambda _: None)


def _answers(folder: Path, *texts: str) -> set[tuple[str, str]]:
    """Text ("" for choices) and label of what the provider says about some texts."""
    model = SpacyProvider.load(SpacyProvider.Settings.model_validate({"path": str(folder)}))
    answers = set()
    for said in model.predict([Input("x", {"text": text}, "text") for text in texts]):
        assert isinstance(said, Predicted)
        answers |= {(r.text or "", r.labels[0]) for r in said.regions if isinstance(r, Span)}
        answers |= {("", r.labels[0]) for r in said.regions if isinstance(r, Choice)}
    return answers


@pytest.fixture(scope="module")
def entities(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Trained]:
    folder = tmp_path_factory.mktemp("trained") / "ner"
    return folder, _train(folder, _named(), WHO)


def test_entities_are_found_in_sentences_never_shown(entities: tuple[Path, Trained]) -> None:
    folder, trained = entities
    chance = random.Random(99)
    unseen = [_sentence(chance, _PERSONS[8:], _CITIES[8:])[0] for _ in range(20)]
    gold = {(name, "PERSON") for name in _PERSONS[8:]} | {(name, "CITY") for name in _CITIES[8:]}
    found = _answers(folder, *unseen)
    assert len(found & gold) / len(found | gold) > 0.8
    assert trained.metrics["ner_f1"] > 0.8
    assert trained.metrics["ner_shown"] + trained.metrics["ner_scored"] == 60


def test_the_folder_is_an_artifact_and_its_config_names_no_code(entities: tuple[Path, Trained]) -> None:
    folder, trained = entities
    assert set(scan(folder, trained.files, Rules("spacy", SpacyTrainer.writes))) == set(trained.files)
    named = [line for line in (folder / "config.cfg").read_text().splitlines() if line.startswith("@")]
    assert all(line.split('"')[1].startswith(("spacy.", "Adam.", "compounding.")) for line in named)
    assert trained.libraries["spacy"] == spacy.__version__


def test_the_same_job_gives_the_same_files_and_another_seed_others(tmp_path: Path) -> None:
    def hashes(name: str, seed: int) -> dict[str, str]:
        files = _train(tmp_path / name, _named(24), WHO, epochs=2, seed=seed).files
        return {file: hashlib.sha256((tmp_path / name / file).read_bytes()).hexdigest() for file in files}

    first = hashes("first", 5)
    assert hashes("again", 5) == first
    assert hashes("other", 6)["ner/model"] != first["ner/model"]


_IN_A_PROCESS = """
import sys
from pathlib import Path
import test_trainer as tests

examples = tuple(
    tests.Example(e.task, e.data, (*e.regions, tests.Choice(labels=(("good", "bad")[i % 2],), question="mood")))
    for i, e in enumerate(tests._named(24))
)
tests._train(Path(sys.argv[1]), examples, tests.WHO, tests.MOOD, base=Path(sys.argv[2]), epochs=2, patience=1)
"""


def test_another_process_with_other_hashes_trains_a_base_further_to_the_same_bytes(
    entities: tuple[Path, Trained], tmp_path: Path
) -> None:
    made = []
    for seed in ("1", "2"):
        path = os.pathsep.join((str(Path(__file__).parent), *sys.path))
        environment = {**os.environ, "PYTHONHASHSEED": seed, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
        command = [sys.executable, "-c", _IN_A_PROCESS, str(tmp_path / seed), str(entities[0])]
        subprocess.run(command, check=True, env=environment)
        files = sorted(one for one in (tmp_path / seed).rglob("*") if one.is_file())
        made.append({str(one.relative_to(tmp_path / seed)): one.read_bytes() for one in files})
    assert made[0] == made[1]


def test_one_category_each_is_learned(tmp_path: Path) -> None:
    words = {"good": "lovely great fine", "bad": "awful foul poor"}
    trained = _train(tmp_path / "m", _chosen(MOOD, words), MOOD)
    assert trained.metrics["textcat_f1"] > 0.8
    assert _answers(tmp_path / "m", "we had a lovely day") == {("", "good")}
    assert _answers(tmp_path / "m", "we had an awful day") == {("", "bad")}


def test_categories_beside_each_other_are_learned_and_none_is_an_answer(tmp_path: Path) -> None:
    words = {"food": "bread soup", "money": "bank coins"}
    _train(tmp_path / "m", _chosen(TOPICS, words), TOPICS)
    assert _answers(tmp_path / "m", "it was bread bank today") == {("", "food"), ("", "money")}
    assert _answers(tmp_path / "m", "it was there") == set()


def test_spans_that_overlap_are_learned_where_the_settings_allow(tmp_path: Path) -> None:
    trained = _train(tmp_path / "m", _overlapping(60), WHO, spans="either", epochs=20)
    assert trained.metrics["spancat_shown"] > 0
    assert {("Oslo", "CITY"), ("Oslo", "PERSON")} <= _answers(tmp_path / "m", "Ada lives in Oslo now")


def test_spans_and_categories_are_learned_in_one_pipeline(tmp_path: Path) -> None:
    mood = Choice(labels=("good",), question="mood", field="text"), Choice(labels=("bad",), question="mood")
    both = tuple(Example(e.task, e.data, (*e.regions, mood[i % 2])) for i, e in enumerate(_named(24)))
    trained = _train(tmp_path / "m", both, WHO, MOOD, epochs=1)
    assert spacy.load(tmp_path / "m").pipe_names == ["ner", "textcat"]
    assert {"ner_shown", "textcat_shown"} <= set(trained.metrics)


def test_a_base_is_trained_further_and_left_as_it_is(entities: tuple[Path, Trained], tmp_path: Path) -> None:
    base, trained = entities
    before = {name: (base / name).read_bytes() for name in trained.files}
    further = _train(tmp_path / "m", _named(30), WHO, base=base, epochs=1)
    assert further.metrics["ner_continued"] == 1.0
    assert ("Kim", "PERSON") in _answers(tmp_path / "m", "Kim lives in Quito now")
    assert {name: (base / name).read_bytes() for name in trained.files} == before


def test_a_base_is_trained_further_in_smaller_steps_than_a_new_pipeline_unless_they_are_said(
    entities: tuple[Path, Trained], tmp_path: Path
) -> None:
    def model(name: str, **job: Any) -> bytes:
        # Without a part that is scored, the last epoch is kept, and shows every difference.
        _train(tmp_path / name, _named(24), WHO, epochs=1, patience=0, **job)
        return (tmp_path / name / "ner/model").read_bytes()

    base = entities[0]
    assert model("further", base=base) == model("smaller", base=base, learn_rate=0.001)
    assert model("new") == model("larger", learn_rate=0.004)
    assert model("as said", base=base, learn_rate=0.004) != model("again", base=base)


def test_what_a_base_says_beyond_the_label_set_is_not_in_the_new_pipeline(
    entities: tuple[Path, Trained], tmp_path: Path
) -> None:
    words = {"good": "lovely", "bad": "awful"}
    trained = _train(tmp_path / "m", _chosen(MOOD, words, 24), MOOD, base=entities[0], epochs=1)
    assert trained.metrics["textcat_continued"] == 0.0
    assert spacy.load(tmp_path / "m").pipe_names == ["textcat"]


def test_a_base_with_other_labels_is_not_continued(entities: tuple[Path, Trained], tmp_path: Path) -> None:
    third = WHO.model_copy(update={"labels": (*WHO.labels, Label(value="RIVER"))})
    assert _train(tmp_path / "m", _named(24), third, base=entities[0], epochs=1).metrics["ner_continued"] == 0.0
    assert set(spacy.load(tmp_path / "m").get_pipe("ner").labels) == {"PERSON", "CITY", "RIVER"}


def test_spans_that_end_within_a_token_are_counted_and_left_out(tmp_path: Path) -> None:
    cut = Example("cut", {"text": "Ada is here"}, (Span(start=0, end=2, labels=("PERSON",), question="who"),))
    blank = Example("blank", {"text": " "}, ())
    spaced = Example("spaced", {"text": "Ada is here"}, (Span(start=0, end=4, labels=("PERSON",), question="who"),))
    trained = _train(tmp_path / "m", (*_named(20), cut, blank, spaced), WHO, epochs=1)
    assert trained.metrics["misaligned_spans"] == 1.0
    assert trained.metrics["left_out_texts"] == 1.0


def test_progress_goes_forward_and_tells_loss_score_and_time(tmp_path: Path) -> None:
    reports: list[Progress] = []
    seconds = iter(range(10_000))
    job = Job(_named(40), (WHO,), tmp_path, seed=1, settings={"epochs": 4})
    SpacyTrainer(clock=lambda: float(next(seconds))).train(job, reports.append)
    assert [one.step for one in reports] == sorted(one.step for one in reports)
    assert reports[-1].step == reports[-1].steps
    assert reports[-1].seconds_left == 0.0
    assert reports[0].loss is None
    assert (reports[0].step, reports[0].seconds_left) == (0, None)
    assert reports[1].seconds_left == 1.0 / 8 * (reports[1].steps - 8)
    assert reports[-1].loss is not None
    assert reports[-1].score is not None


def test_training_ends_where_the_score_stays_and_never_without_patience(tmp_path: Path) -> None:
    early = _train(tmp_path / "early", _named(40), WHO, epochs=60, patience=1).metrics
    whole = _train(tmp_path / "whole", _named(40), WHO, epochs=3, patience=0).metrics
    assert early["ner_epochs"] < 60
    assert (whole["ner_epochs"], whole["ner_shown"], whole["ner_scored"]) == (3, 40, 0)
    assert "ner_f1" not in whole


@pytest.mark.parametrize("heavy", [pytest.param("good", id="good"), pytest.param("bad", id="bad")])
def test_of_examples_that_contradict_each_other_the_heavier_win(heavy: str, tmp_path: Path) -> None:
    split = [
        Example(
            f"t{i}", {"text": "as usual"}, (Choice(labels=(v,), question="mood"),), weight=2.5 if v == heavy else 0.5
        )
        for i, v in enumerate(("good", "bad") * 8)
    ]
    _train(tmp_path / "m", split, MOOD, epochs=10)
    assert _answers(tmp_path / "m", "as usual") == {("", heavy)}


def _overlapping(n: int) -> tuple[Example, ...]:
    def doubled(example: Example) -> Example:
        city = next(r for r in example.regions if r.labels == ("CITY",))
        return Example(example.task, example.data, (*example.regions, city.model_copy(update={"labels": ("PERSON",)})))

    return tuple(doubled(one) for one in _named(n))


def test_a_spancat_that_looks_at_shorter_spans_only_is_not_continued(tmp_path: Path) -> None:
    _train(tmp_path / "short", _named(24), WHO, spans="spancat", epochs=1)
    text = "Ada lives in New York"
    long = Example("long", {"text": text}, (Span(start=13, end=21, labels=("CITY",), question="who"),))
    same = _train(tmp_path / "same", _named(24), WHO, spans="spancat", epochs=1, base=tmp_path / "short")
    anew = _train(tmp_path / "anew", (*_named(24), long), WHO, spans="spancat", epochs=1, base=tmp_path / "short")
    assert (same.metrics["spancat_continued"], anew.metrics["spancat_continued"]) == (1.0, 0.0)


_RELATION = Question(name="how", kind="relation", field="text", labels=(Label(value="of"),))
_ALL_GOOD = tuple(Example(f"t{i}", {"text": "fine"}, (Choice(labels=("good",), question="mood"),)) for i in range(20))
_UNMARKED = tuple(Example(f"t{i}", {"text": "nobody is here"}, ()) for i in range(20))


@pytest.mark.parametrize(
    ("reason", "examples", "questions", "settings"),
    [
        pytest.param("overlapping_spans", _overlapping(20), (WHO,), {}, id="overlap"),
        pytest.param("too_few", _named(9), (WHO,), {}, id="few"),
        pytest.param("too_few", (), (WHO,), {}, id="none"),
        pytest.param("no_label_known", _UNMARKED, (WHO,), {}, id="no span"),
        pytest.param("single_class", _ALL_GOOD, (MOOD,), {}, id="one class"),
        pytest.param("kind", _named(20), (_RELATION,), {}, id="kind"),
        pytest.param("questions", _named(20), (MOOD, TOPICS), {}, id="two of a kind"),
        pytest.param("settings", _named(20), (WHO,), {"epochs": 0}, id="range"),
        pytest.param("settings", _named(20), (WHO,), {"colour": "red"}, id="unknown setting"),
        pytest.param("language", _named(20), (WHO,), {"lang": "qqq"}, id="language"),
    ],
)
def test_what_cannot_be_learned_is_refused_in_a_word_before_anything_is_written(
    reason: str, examples: tuple[Example, ...], questions: tuple[Question, ...], settings: Any, tmp_path: Path
) -> None:
    with pytest.raises(CannotTrain) as refused:
        _train(tmp_path / "m", examples, *questions, **settings)
    assert refused.value.reason == reason
    assert "\n" not in refused.value.detail
    assert not any((tmp_path / "m").iterdir())


def test_a_base_that_is_no_pipeline_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CannotTrain) as refused:
        _train(tmp_path / "m", _named(20), WHO, base=tmp_path)
    assert refused.value.reason == "base"


def test_the_base_is_what_the_models_settings_name_and_an_empty_pipeline_is_none(
    entities: tuple[Path, Trained], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = SpacyTrainer()
    package = tmp_path / "own_pipeline"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError")
    shutil.copytree(entities[0], package / "own_pipeline-1.0")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert trainer.base_of({"path": str(entities[0]), "batch_size": 8}) == entities[0]
    assert trainer.base_of({"pipeline": "own_pipeline"}) == package / "own_pipeline-1.0"
    assert trainer.base_of({"blank": "en"}) is None
    assert trainer.base_of({}) is None
    for name in ("no_such_pipeline", "own_pipeline.config", "os"):
        with pytest.raises(CannotTrain) as refused:
            trainer.base_of({"pipeline": name})
        assert refused.value.reason == "base"


def test_without_a_pipeline_there_is_no_model_yet() -> None:
    with pytest.raises(BadSettings, match="no model yet"):
        SpacyProvider.load(SpacyProvider.Settings())
