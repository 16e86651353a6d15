"""What is trained is a model that the provider serves; a kill costs an epoch at most. `make test-torch` runs it."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prelabel_contract.projects import Label, Question
from prelabel_contract.regions import Choice, Region, Span
from prelabel_inference_huggingface.provider import HuggingFaceProvider
from prelabel_inference_huggingface.trainer import HuggingFaceTrainer
from prelabel_provider.base import BadSettings, Input, Predicted
from prelabel_provider.models.manifest import Rules
from prelabel_provider.models.scanned import scan
from prelabel_provider.trainer import CannotTrain, Example, Job, Progress, Trained

from tests.rig.onnx_models import pieces

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

_PERSONS = ("Ada", "Bob", "Cleo", "Dan", "Eve", "Finn", "Gus", "Hal", "Ida", "Jon")
_CITIES = ("Paris", "London", "Rome", "Oslo", "Bern", "Kyiv", "Lima", "Quito", "New Delhi", "Cairo")
_FRAMES = ("{p} lives in {c} now", "yesterday {p} drove to {c} alone", "people from {c} know {p} well")
_MOODS = {"good": "lovely great fine", "bad": "awful foul poor"}
_TOPICS = {"food": "bread soup", "money": "bank coins"}
WHO = Question(name="who", kind="span", field="text", labels=(Label(value="PERSON"), Label(value="CITY")))
MOOD = Question(
    name="mood", kind="choice", field="text", multiple=False, labels=(Label(value="good"), Label(value="bad"))
)
TOPICS = Question(name="topics", kind="choice", field="text", labels=(Label(value="food"), Label(value="money")))
_FAST = {"learn_rate": 0.003, "batch": 8, "checkpoint_seconds": 0, "device": "cpu"}


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small encoder that knows these words, and nothing about them."""
    folder = tmp_path_factory.mktemp("base") / "encoder"
    known = (*_PERSONS, *_CITIES, *_FRAMES, *_MOODS.values(), *_TOPICS.values(), "it was there today again is here")
    tokenizer = pieces(text.replace("{p}", "").replace("{c}", "") for text in known)
    torch.manual_seed(1)
    config = transformers.BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    transformers.BertModel(config).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def _sentence(chance: random.Random) -> tuple[str, tuple[Region, ...]]:
    person, city = chance.choice(_PERSONS), chance.choice(_CITIES)
    text = chance.choice(_FRAMES).format(p=person, c=city)
    spans = ((text.index(name), name, label) for name, label in ((person, "PERSON"), (city, "CITY")))
    return text, tuple(Span(start=s, end=s + len(n), labels=(v,), question="who", field="text") for s, n, v in spans)


def _named(n: int = 60, seed: int = 7) -> tuple[Example, ...]:
    chance = random.Random(seed)
    made = [_sentence(chance) for _ in range(n)]
    return tuple(Example(f"t{i}", {"text": text}, regions) for i, (text, regions) in enumerate(made))


def _chosen(question: Question, words: dict[str, str], n: int = 60, seed: int = 7) -> tuple[Example, ...]:
    chance = random.Random(seed)
    made = []
    for i in range(n):
        wanted = [label for label in words if question.multiple and chance.random() < 0.5]
        wanted = wanted if question.multiple else [chance.choice(sorted(words))]
        said = [chance.choice(words[label].split()) for label in wanted]
        text = " ".join(("it was", *said, chance.choice(("today", "again", "there"))))
        region = Choice(labels=tuple(wanted), question=question.name, field="text") if wanted else None
        made.append(Example(f"t{i}", {"text": text}, () if region is None else (region,)))
    return tuple(made)


def _job(folder: Path, base: Path | None, examples: Sequence[Example], question: Question, **settings: Any) -> Job:
    folder.mkdir(exist_ok=True)
    return Job(tuple(examples), (question,), folder, seed=3, settings={**_FAST, **settings}, base=base)


def _silent(_: Progress) -> None:
    return None


def _train(job: Job, report: Callable[[Progress], None] = _silent) -> Trained:
    return HuggingFaceTrainer().train(job, report)


def _provider(folder: Path) -> HuggingFaceProvider:
    return HuggingFaceProvider.load(HuggingFaceProvider.Settings.model_validate({"path": str(folder), "device": "cpu"}))


def _right(folder: Path, examples: Sequence[Example]) -> float:
    """The share of texts about which everything is said, and nothing else."""
    said = _provider(folder).predict([Input(one.task, one.data, "text") for one in examples])
    right = 0
    for answer, one in zip(said, examples, strict=True):
        assert isinstance(answer, Predicted)
        right += _plain(answer.regions) == _plain(one.regions)
    return right / len(examples)


def _plain(regions: Sequence[Region]) -> set[tuple[int, int, str]]:
    return {(getattr(one, "start", 0), getattr(one, "end", 0), label) for one in regions for label in one.labels or ()}


def _hashes(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


# ------------------------------------------------------------------------------------------------- what is learned


def test_spans_are_found_in_sentences_never_shown_and_the_folder_says_what_it_is(base: Path, tmp_path: Path) -> None:
    trained = _train(_job(tmp_path, base, _named(120), WHO, epochs=20))
    assert trained.metrics["f1"] > 0.9
    assert trained.metrics["shown"] + trained.metrics["scored"] == 120
    assert _right(tmp_path, _named(40, seed=8)) > 0.9
    assert _provider(tmp_path).describe().labels == {"span": ("PERSON", "CITY")}
    assert set(scan(tmp_path, trained.files, Rules("huggingface", HuggingFaceTrainer.writes))) == {
        *("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
    }
    assert set(trained.libraries) == {"torch", "transformers", "safetensors", "tokenizers"}


def test_one_choice_each_is_learned(base: Path, tmp_path: Path) -> None:
    _train(_job(tmp_path, base, _chosen(MOOD, _MOODS), MOOD))
    assert _right(tmp_path, _chosen(MOOD, _MOODS, 40, seed=8)) > 0.9


def test_choices_beside_each_other_are_learned_and_none_is_an_answer(base: Path, tmp_path: Path) -> None:
    _train(_job(tmp_path, base, _chosen(TOPICS, _TOPICS, 120), TOPICS, epochs=20))
    assert _right(tmp_path, _chosen(TOPICS, _TOPICS, 40, seed=8)) > 0.9


def _long(n: int, times: int) -> list[Example]:
    before = "it was there today " * times
    long = []
    for number, one in enumerate(_named(n)):
        places = ((start + len(before), end + len(before), label) for start, end, label in _plain(one.regions))
        spans = tuple(Span(start=s, end=e, labels=(label,), question="who") for s, e, label in places)
        long.append(Example(f"l{number}", {"text": before + str(one.data["text"])}, spans))
    return long


def test_long_texts_are_learned_to_their_ends_and_read_in_windows_of_the_same_size(base: Path, tmp_path: Path) -> None:
    trained = _train(_job(tmp_path, base, _long(80, 8), WHO, epochs=20, max_tokens=24))
    assert trained.metrics["shown"] + trained.metrics["scored"] > 100
    assert _right(tmp_path, _long(80, 8)) > 0.9


def test_patience_begins_when_something_is_right(base: Path, tmp_path: Path) -> None:
    metrics = _train(_job(tmp_path, base, _long(40, 2), WHO, epochs=40, patience=2)).metrics
    assert metrics["f1"] > 0.5  # first everything is said to be outside, for some epochs


def test_what_was_trained_is_trained_further_with_its_head(base: Path, tmp_path: Path) -> None:
    _train(_job(tmp_path / "first", base, _named(), WHO, epochs=15))
    before = _hashes(tmp_path / "first")
    further = _train(_job(tmp_path / "further", tmp_path / "first", _named(30), WHO, epochs=1, learn_rate=1e-6))
    assert further.metrics["f1"] > 0.9
    assert _hashes(tmp_path / "first") == before


def test_a_head_of_the_same_size_for_other_labels_is_not_kept(base: Path, tmp_path: Path) -> None:
    _train(_job(tmp_path / "first", base, _chosen(MOOD, _MOODS), MOOD))
    turned = MOOD.model_copy(update={"labels": tuple(reversed(MOOD.labels))})
    examples = _chosen(MOOD, _MOODS, 40)
    job = _job(tmp_path / "second", tmp_path / "first", examples, turned, epochs=1, learn_rate=1e-7)
    assert _train(job).metrics["f1"] > 0.1  # a head that is kept says the other label every time
    assert _provider(tmp_path / "second").describe().labels == {"choice": ("bad", "good")}


@pytest.mark.parametrize("heavy", ["good", "bad"])
def test_of_examples_that_contradict_each_other_the_heavier_win(base: Path, tmp_path: Path, heavy: str) -> None:
    split = [
        Example(f"t{i}", {"text": "it was"}, (Choice(labels=(v,), question="mood"),), weight=9.0 if v == heavy else 1.0)
        for i, v in enumerate(("good", "bad") * 8)
    ]
    _train(_job(tmp_path, base, split, MOOD))
    assert _right(tmp_path, [one for one in split if one.weight > 1][:1]) == 1.0


def test_spans_that_end_within_a_token_are_counted_and_left_out(base: Path, tmp_path: Path) -> None:
    cut = Example("cut", {"text": "Ada is here"}, (Span(start=0, end=2, labels=("PERSON",), question="who"),))
    spaced = Example("spaced", {"text": "Ada is here"}, (Span(start=0, end=4, labels=("PERSON",), question="who"),))
    beyond = Example("beyond", {"text": "Ada"}, (Span(start=0, end=9, labels=("PERSON",), question="who"),))
    ghost = Example("ghost", {"text": "Ada"}, (Span(start=0, end=3, labels=("GHOST",), question="who"),))
    odd = (cut, spaced, beyond, ghost, Example("blank", {"text": " "}, ()), Example("none", {"text": 7}, ()))
    metrics = _train(_job(tmp_path, base, (*_named(20), *odd), WHO, epochs=1)).metrics
    assert (metrics["misaligned_spans"], metrics["unknown_labels"], metrics["left_out_texts"]) == (2.0, 1.0, 2.0)


# ------------------------------------------------------------------------------------------------- how it is trained


@pytest.mark.parametrize(
    ("examples", "question"),
    [
        pytest.param(_named(24), WHO, id="spans"),
        pytest.param(_chosen(MOOD, _MOODS, 24), MOOD, id="one-choice"),
        pytest.param(_chosen(TOPICS, _TOPICS, 24), TOPICS, id="choices"),
    ],
)
def test_the_same_job_gives_the_same_files_and_another_seed_others(
    base: Path, tmp_path: Path, examples: tuple[Example, ...], question: Question
) -> None:
    jobs = [_job(tmp_path / name, base, examples, question, epochs=2) for name in ("a", "b", "c")]
    jobs[2] = replace(jobs[2], seed=4)
    for job in jobs:
        _train(job)
    a, b, c = (_hashes(job.folder) for job in jobs)
    assert a == b
    assert a["model.safetensors"] != c["model.safetensors"]


_IN_A_PROCESS = """
import os, signal, sys
from pathlib import Path
import test_trainer as tests
from prelabel_provider.trainer import Progress

job = tests._job(Path(sys.argv[1]), Path(sys.argv[2]), tests._named(24), tests.WHO, epochs=4)
reports = []

def killed(said: Progress) -> None:
    if said.step > 2.5 * said.steps / 4:
        os.kill(os.getpid(), signal.SIGKILL)

clock = iter(range(10**6))
tests.HuggingFaceTrainer(clock=lambda: float(next(clock))).train(job, killed)
"""


def test_what_was_killed_goes_on_and_ends_as_if_nothing_had_been(base: Path, tmp_path: Path) -> None:
    whole = _job(tmp_path / "whole", base, _named(24), WHO, epochs=4)
    assert _train(whole).metrics["went_on"] == 0.0
    job = _job(tmp_path / "killed", base, _named(24), WHO, epochs=4)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(Path(__file__).parent), *sys.path))}
    died = subprocess.run(
        [sys.executable, "-c", _IN_A_PROCESS, str(job.folder), str(base)], check=False, env=environment
    )
    assert died.returncode == -signal.SIGKILL
    assert [path.name for path in job.folder.iterdir()] == ["checkpoints"]
    reports: list[Progress] = []
    assert _train(job, reports.append).metrics["went_on"] == 1.0
    assert reports[0].step == reports[0].steps / 2
    assert _hashes(job.folder) == _hashes(whole.folder)


def test_checkpoints_of_another_training_and_damaged_ones_are_not_gone_on_from(base: Path, tmp_path: Path) -> None:
    class Stopped(Exception):
        pass

    def stops(said: Progress) -> None:
        if said.step > said.steps / 2:
            raise Stopped

    seconds = iter(range(10_000))
    for name in ("other", "damaged"):
        job = _job(tmp_path / name, base, _named(24), WHO, epochs=4)
        with pytest.raises(Stopped):
            HuggingFaceTrainer(clock=lambda: float(next(seconds))).train(job, stops)
        assert any((job.folder / "checkpoints").iterdir())
    assert _train(replace(job, folder=tmp_path / "other", seed=4)).metrics["went_on"] == 0.0
    for path in (tmp_path / "damaged" / "checkpoints").glob("*/weights.safetensors"):
        path.write_bytes(path.read_bytes()[:100])
    assert _train(replace(job, folder=tmp_path / "damaged")).metrics["went_on"] == 0.0
    assert not (tmp_path / "damaged" / "checkpoints").exists()


def test_training_ends_where_the_score_stays_and_never_without_patience(base: Path, tmp_path: Path) -> None:
    early = _train(_job(tmp_path / "early", base, _chosen(MOOD, _MOODS, 40), MOOD, epochs=60, patience=1)).metrics
    whole = _train(_job(tmp_path / "whole", base, _named(24), WHO, epochs=2, patience=0)).metrics
    assert early["epochs"] < 60
    assert (whole["epochs"], whole["shown"], whole["scored"]) == (2, 24, 0)
    assert "f1" not in whole


def test_progress_goes_forward_and_tells_loss_score_and_time(base: Path, tmp_path: Path) -> None:
    reports: list[Progress] = []
    seconds = iter(range(10_000))
    job = _job(tmp_path, base, _named(40), WHO, epochs=3)
    HuggingFaceTrainer(clock=lambda: float(next(seconds))).train(job, reports.append)
    assert [one.step for one in reports] == sorted(one.step for one in reports)
    assert (reports[0].step, reports[-1].step) == (0, reports[-1].steps)
    assert (reports[0].loss, reports[0].seconds_left, reports[-1].seconds_left) == (None, None, 0.0)
    assert reports[-1].loss is not None
    assert reports[-1].score is not None


def test_what_is_written_says_nothing_about_where_the_base_lay(base: Path, tmp_path: Path) -> None:
    _train(_job(tmp_path / "m", base, _named(24), WHO, epochs=1))
    for name in ("config.json", "tokenizer_config.json"):
        assert str(base.parent) not in (tmp_path / "m" / name).read_text()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_a_gpu_learns_the_same(base: Path, tmp_path: Path) -> None:
    _train(_job(tmp_path, base, _named(), WHO, epochs=15, device="auto"))
    assert _right(tmp_path, _named(40, seed=8)) > 0.9


# ------------------------------------------------------------------------------------------------- what is refused


def _overlapping(n: int) -> tuple[Example, ...]:
    return tuple(
        replace(one, regions=(*one.regions, one.regions[0].model_copy(update={"labels": ("CITY",)})))
        for one in _named(n)
    )


_RELATION = Question(name="how", kind="relation", field="text", labels=(Label(value="of"),))
_ALL_GOOD = tuple(Example(f"t{i}", {"text": "fine"}, (Choice(labels=("good",), question="mood"),)) for i in range(20))
_UNMARKED = tuple(Example(f"t{i}", {"text": "it was there"}, ()) for i in range(20))


@pytest.mark.parametrize(
    ("reason", "examples", "questions", "settings"),
    [
        pytest.param("overlapping_spans", _overlapping(20), (WHO,), {}, id="overlap"),
        pytest.param("too_few", _named(9), (WHO,), {}, id="few"),
        pytest.param("too_few", (), (WHO,), {}, id="none"),
        pytest.param("no_label_known", _UNMARKED, (WHO,), {}, id="no span"),
        pytest.param("single_class", _ALL_GOOD, (MOOD,), {}, id="one class"),
        pytest.param("kind", _named(20), (_RELATION,), {}, id="kind"),
        pytest.param("questions", _named(20), (MOOD, WHO), {}, id="two"),
        pytest.param("settings", _named(20), (WHO,), {"epochs": 0}, id="range"),
        pytest.param("settings", _named(20), (WHO,), {"colour": "red"}, id="unknown setting"),
        pytest.param("device", _named(20), (WHO,), {"device": "cuda:77"}, id="no such device"),
    ],
)
def test_what_cannot_be_learned_is_refused_in_a_word_before_anything_is_written(
    base: Path,
    tmp_path: Path,
    reason: str,
    examples: tuple[Example, ...],
    questions: tuple[Question, ...],
    settings: Any,
) -> None:
    job = replace(_job(tmp_path / "m", base, examples, WHO, **settings), label_set=questions)
    with pytest.raises(CannotTrain) as refused:
        _train(job)
    assert refused.value.reason == reason
    assert "\n" not in refused.value.detail
    assert not any(job.folder.iterdir())


def _copied(base: Path, folder: Path, **config: Any) -> Path:
    folder.mkdir()
    for path in base.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    said = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**said, **config}))
    return folder


def test_a_base_is_needed_and_one_that_is_none_is_refused(base: Path, tmp_path: Path) -> None:
    own = _copied(base, tmp_path / "own", model_type="own", auto_map={"AutoModelForTokenClassification": "own.Own"})
    (own / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Own: pass\n")
    pickled = _copied(base, tmp_path / "pickled")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    other = _copied(base, tmp_path / "other", model_type="distilbert")
    (tmp_path / "empty").mkdir()
    for found in (None, tmp_path / "empty", own, pickled, other):
        with pytest.raises(CannotTrain) as refused:
            _train(_job(tmp_path / "m", found, _named(20), WHO))
        assert refused.value.reason == "base", found
        assert "\n" not in refused.value.detail
    assert not (tmp_path / "ran").exists()
    assert not any((tmp_path / "m").iterdir())


def test_the_base_is_what_the_models_settings_name(base: Path, tmp_path: Path) -> None:
    trainer = HuggingFaceTrainer()
    assert trainer.base_of({"path": str(base), "task": "zero-shot", "labels": ["a"]}) == base
    assert trainer.base_of({"task": "token-classification"}) is None
    for settings in ({"path": str(tmp_path)}, {"hub": "nobody/nothing", "revision": "0" * 40}, {"path": 7}):
        with pytest.raises(CannotTrain) as refused:
            trainer.base_of(settings)  # type: ignore[arg-type]
        assert refused.value.reason == "base"


def test_without_a_path_there_is_no_model_yet() -> None:
    with pytest.raises(BadSettings, match="no model yet"):
        HuggingFaceProvider.load(HuggingFaceProvider.Settings())
