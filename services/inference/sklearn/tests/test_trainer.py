"""What is trained is loaded by the provider as it is, predicts what it never saw, and is the same in every run."""

import hashlib
import os
import random
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from prelabel_contract.projects import Question
from prelabel_contract.regions import REGIONS, Choice, Region
from prelabel_inference_sklearn.provider import SklearnProvider
from prelabel_inference_sklearn.trainer import SklearnTrainer
from prelabel_provider.base import BadSettings, Input, PredictedJson
from prelabel_provider.models.manifest import Rules
from prelabel_provider.models.scanned import scan
from prelabel_provider.trainer import CannotTrain, Example, Job, Progress, Trained
from pydantic import JsonValue
from sklearn.datasets import load_digits

TOPICS = {
    "food": ["bread", "soup", "apple", "cheese", "butter", "dinner", "kitchen", "recipe"],
    "sport": ["goal", "match", "team", "score", "league", "coach", "player", "referee"],
    "music": ["song", "melody", "guitar", "piano", "concert", "rhythm", "singer", "chorus"],
}
FILLER = ["the", "a", "of", "very", "today", "new", "some", "with", "and", "was"]
TOPIC = Question.model_validate(
    {"name": "topic", "kind": "choice", "field": "text", "labels": [*TOPICS], "multiple": False}
)
TOPICS_OF = TOPIC.model_copy(update={"name": "topics", "multiple": True})
DIGIT = Question.model_validate(
    {"name": "digit", "kind": "choice", "field": "pixels", "labels": [str(one) for one in range(10)], "multiple": False}
)

Train = Callable[..., Trained]


def _text(topics: Sequence[str], rng: random.Random) -> str:
    words = [*rng.choices(FILLER, k=6), *(word for topic in topics for word in rng.choices(TOPICS[topic], k=2))]
    rng.shuffle(words)
    return " ".join(words)


def _example(number: int, value: JsonValue, labels: Sequence[str], question: Question) -> Example:
    regions = (Choice(field=question.field, question=question.name, labels=tuple(labels)),) if labels else ()
    return Example(f"task-{number}", {question.field: value}, regions)


def _texts(count: int, seed: int = 1) -> tuple[Example, ...]:
    rng = random.Random(seed)
    topics = [list(TOPICS)[number % 3] for number in range(count)]
    return tuple(_example(number, _text([topic], rng), [topic], TOPIC) for number, topic in enumerate(topics))


def _several(count: int, seed: int = 1) -> tuple[Example, ...]:
    rng = random.Random(seed)
    chosen = [[topic for topic in TOPICS if rng.random() < 0.5] for _ in range(count)]
    return tuple(_example(number, _text(topics, rng), topics, TOPICS_OF) for number, topics in enumerate(chosen))


def _digits(first: int, last: int) -> tuple[Example, ...]:
    found = load_digits()
    return tuple(
        _example(number, found.images[number].tolist(), [str(found.target[number])], DIGIT)
        for number in range(first, last)
    )


def _silent(_: Progress) -> None:
    return None


def _job(folder: Path, examples: Sequence[Example], question: Question = TOPIC, **settings: JsonValue) -> Job:
    folder.mkdir(exist_ok=True)
    return Job(tuple(examples), (question,), folder, seed=7, settings=settings)


def _train(job: Job, report: Callable[[Progress], None] = _silent) -> Trained:
    return SklearnTrainer().train(job, report)


def _refused(job: Job) -> CannotTrain:
    with pytest.raises(CannotTrain) as refused:
        _train(job)
    assert not list(job.folder.iterdir())
    return refused.value


def _provider(job: Job) -> SklearnProvider:
    return SklearnProvider.load(SklearnProvider.Settings.model_validate({"path": str(job.folder)}))


def _answers(model: SklearnProvider, examples: Sequence[Example], question: Question) -> list[tuple[Region, ...]]:
    said = model.predict([Input(one.task, one.data, question.field) for one in examples])
    assert all(isinstance(one, PredictedJson) for one in said)
    return [REGIONS.validate_json(one.regions) for one in said if isinstance(one, PredictedJson)]


def _labels(regions: Sequence[Region]) -> set[str]:
    return {label for region in regions for label in region.labels}


def _right(model: SklearnProvider, examples: Sequence[Example], question: Question) -> float:
    answers = _answers(model, examples, question)
    return sum(_labels(said) == _labels(one.regions) for said, one in zip(answers, examples, strict=True)) / len(
        examples
    )


# ------------------------------------------------------------------------------------------------- what is learned


def test_a_classifier_of_texts_is_right_about_texts_it_has_not_seen(tmp_path: Path) -> None:
    job = _job(tmp_path, _texts(90))
    trained = _train(job)
    model = _provider(job)
    assert dict(model.describe().labels) == {"choice": ("food", "music", "sport")}
    assert _right(model, _texts(90, seed=2), TOPIC) > 0.9
    assert trained.metrics["accuracy"] > 0.8
    assert trained.metrics["examples"] == 90


def test_any_number_of_labels_is_learned_under_their_own_names(tmp_path: Path) -> None:
    job = _job(tmp_path, _several(120), TOPICS_OF)
    trained = _train(job)
    model = _provider(job)
    assert dict(model.describe().labels) == {"choice": ("food", "sport", "music")}
    assert _right(model, _several(90, seed=2), TOPICS_OF) > 0.6  # by chance 1/8
    assert {name for name in trained.metrics if name.startswith("f1/")} == {"f1/food", "f1/sport", "f1/music"}


def test_a_classifier_of_numbers_is_right_about_digits_it_has_not_seen(tmp_path: Path) -> None:
    job = _job(tmp_path, _digits(0, 200), DIGIT, input="vector")
    trained = _train(job)
    right = _right(_provider(job), _digits(1000, 1400), DIGIT)
    assert right > 0.8
    assert abs(trained.metrics["accuracy"] - right) < 0.12


def test_a_label_that_nobody_chose_is_not_said_and_hinders_nothing(tmp_path: Path) -> None:
    two = [one for one in _several(120) if "music" not in _labels(one.regions)]
    job = _job(tmp_path, two, TOPICS_OF)
    _train(job)
    assert all("music" not in _labels(said) for said in _answers(_provider(job), _several(60, seed=2), TOPICS_OF))


def test_a_label_that_everybody_chose_is_said_of_everything(tmp_path: Path) -> None:
    music = Choice(field="text", question="topics", labels=("music",))
    job = _job(tmp_path, [replace(one, regions=(*one.regions, music)) for one in _several(60)], TOPICS_OF)
    _train(job)
    assert all("music" in _labels(said) for said in _answers(_provider(job), _several(60, seed=2), TOPICS_OF))


def test_calibration_makes_scores_of_unseen_examples_better_and_waits_for_enough_of_them(tmp_path: Path) -> None:
    rng = random.Random(3)
    wrong = [
        replace(one, regions=_texts(3)[rng.randrange(3)].regions) if rng.random() < 0.4 else one for one in _texts(150)
    ]
    measured = _train(_job(tmp_path / "many", wrong, c=1000.0)).metrics
    assert measured["log_loss"] < measured["log_loss_uncalibrated"] - 0.05
    few = _train(_job(tmp_path / "few", wrong, c=1000.0, calibrate_from=151)).metrics
    assert few["log_loss"] == few["log_loss_uncalibrated"]


def test_an_example_that_weighs_more_counts_more(tmp_path: Path) -> None:
    same = [_example(number, "one and the same", ["food" if number % 2 else "sport"], TOPIC) for number in range(20)]
    for heavy in ("food", "sport"):
        weighed = [replace(one, weight=9.0 if heavy in _labels(one.regions) else 1.0) for one in same]
        job = _job(tmp_path / heavy, weighed)
        _train(job)
        assert [_labels(said) for said in _answers(_provider(job), same[:1], TOPIC)] == [{heavy}]


@pytest.mark.parametrize(
    "text", [pytest.param("?", id="a-sign"), pytest.param("x", id="a-letter"), pytest.param("日本", id="no-spaces")]
)
def test_texts_that_are_hardly_any_are_learned_all_the_same(tmp_path: Path, text: str) -> None:
    examples = [
        _example(number, text * (1 + number % 2), [["food", "sport"][number % 2]], TOPIC) for number in range(20)
    ]
    job = _job(tmp_path, examples)
    _train(job)
    assert _right(_provider(job), examples, TOPIC) == 1.0


def test_what_the_provider_could_not_read_is_left_out_and_counted(tmp_path: Path) -> None:
    odd = [
        _example(100, 7, ["food"], TOPIC),
        _example(101, "  \n", ["food"], TOPIC),
        _example(102, "bread" * 200, ["food"], TOPIC),
        _example(103, "nobody said what this is", [], TOPIC),
        _example(104, "two at once", ["food", "sport"], TOPIC),
    ]
    with_odd = _train(_job(tmp_path / "a", [*odd, *_texts(30)], max_length=500)).metrics
    without = _train(_job(tmp_path / "b", _texts(30), max_length=500)).metrics
    assert dict(with_odd) == {**without, "examples_skipped": 5.0}


# ------------------------------------------------------------------------------------------------- how it is trained


@pytest.mark.parametrize(
    ("examples", "question", "settings"),
    [
        pytest.param(_texts(60), TOPIC, {}, id="one-label"),
        pytest.param(_several(60), TOPICS_OF, {}, id="any-labels"),
        pytest.param(_digits(0, 80), DIGIT, {"input": "vector"}, id="numbers"),
    ],
)
def test_the_same_job_makes_the_same_bytes_and_another_seed_other_parts(
    tmp_path: Path, examples: tuple[Example, ...], question: Question, settings: Mapping[str, JsonValue]
) -> None:
    jobs = [_job(tmp_path / name, examples, question, **settings) for name in ("a", "b", "c")]
    jobs[2] = replace(jobs[2], seed=8)
    trained = [_train(job) for job in jobs]
    hashes = [hashlib.sha256((job.folder / "model.skops").read_bytes()).hexdigest() for job in jobs]
    assert (hashes[0], trained[0]) == (hashes[1], trained[1])
    assert trained[2].metrics["log_loss"] != trained[0].metrics["log_loss"]


_IN_A_PROCESS = """
import sys
from pathlib import Path
from prelabel_contract.projects import Question
from prelabel_contract.regions import Choice
from prelabel_inference_sklearn.trainer import SklearnTrainer
from prelabel_provider.trainer import Example, Job

topics = ("food", "sport", "music")
words = {"food": "bread soup", "sport": "goal match", "music": "song piano"}
question = Question(name="topic", kind="choice", field="text", labels=topics, multiple=sys.argv[2] == "many")
examples = tuple(
    Example(f"t{n}", {"text": f"{words[topics[n % 3]]} {n}"}, (Choice(question="topic", labels=(topics[n % 3],)),))
    for n in range(60)
)
SklearnTrainer().train(Job(examples, (question,), Path(sys.argv[1]), seed=3), lambda _: None)
"""


@pytest.mark.parametrize("labels", ["one", "many"])
def test_another_process_with_other_hashes_makes_the_same_bytes(tmp_path: Path, labels: str) -> None:
    made = []
    for seed in ("1", "2"):
        folder = tmp_path / seed
        folder.mkdir()
        environment = {**os.environ, "PYTHONHASHSEED": seed, "OMP_NUM_THREADS": "1"}
        subprocess.run([sys.executable, "-c", _IN_A_PROCESS, str(folder), labels], check=True, env=environment)
        made.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert made[0] == made[1]


def test_a_trained_folder_says_itself_what_it_reads_whatever_the_settings_of_another_file_were(tmp_path: Path) -> None:
    job = _job(tmp_path, _digits(0, 80), DIGIT, input="vector")
    _train(job)
    of_a_file = {"path": str(tmp_path), "input": "text", "labels": ["a", "b"], "emit": "choice"}
    model = SklearnProvider.load(SklearnProvider.Settings.model_validate(of_a_file))
    assert model.describe() == _provider(job).describe()
    assert _answers(model, _digits(0, 5), DIGIT) == _answers(_provider(job), _digits(0, 5), DIGIT)


@pytest.mark.parametrize(
    ("said", "match"),
    [
        pytest.param(None, "reads.json cannot be read", id="missing"),
        pytest.param("{", "is not what a training writes", id="damaged"),
        pytest.param('{"input": "text", "trusted": ["os.system"]}', "is not what a training writes", id="unknown"),
    ],
)
def test_a_folder_that_does_not_say_what_it_reads_is_refused(tmp_path: Path, said: str | None, match: str) -> None:
    job = _job(tmp_path, _texts(30))
    _train(job)
    (tmp_path / "reads.json").unlink()
    if said is not None:
        (tmp_path / "reads.json").write_text(said)
    with pytest.raises(BadSettings, match=match):
        _provider(job)


def test_without_a_path_there_is_no_model_yet() -> None:
    with pytest.raises(BadSettings, match="no model yet"):
        SklearnProvider.load(SklearnProvider.Settings())


def test_the_model_store_takes_what_is_written_and_nothing_else_lies_there(tmp_path: Path) -> None:
    job = _job(tmp_path, _texts(30))
    trained = _train(job)
    stored = scan(job.folder, trained.files, Rules(SklearnTrainer.name, SklearnTrainer.writes))
    assert set(stored) == {"model.skops", "reads.json"}
    assert set(trained.libraries) == {"numpy", "scikit-learn", "scipy", "skops"}


def test_every_fold_is_told_with_a_score_and_the_time_that_is_left(tmp_path: Path) -> None:
    told: list[Progress] = []
    seconds = iter(range(100))
    SklearnTrainer(clock=lambda: float(next(seconds))).train(_job(tmp_path, _texts(30), folds=4), told.append)
    assert [(one.step, one.steps) for one in told] == [(step, 5) for step in range(6)]
    assert told[0].score is None
    assert all(one.score is not None and 0 <= one.score <= 1 for one in told[1:])
    assert [one.seconds_left for one in told] == [None, 4.0, 3.0, 2.0, 1.0, 0.0]


# ------------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("examples", "reason"),
    [
        pytest.param((), "too_few", id="none"),
        pytest.param(_texts(9), "too_few", id="nine-of-ten"),
        pytest.param([_example(n, "words", [], TOPIC) for n in range(20)], "too_few", id="nobody-answered"),
        pytest.param([*_texts(60)[::3], _texts(2)[1]], "too_few", id="a-second-label-once"),
        pytest.param(_texts(60)[::3], "single_class", id="one-label"),
        pytest.param([_example(n, 7, ["food"], TOPIC) for n in range(20)], "no_text", id="numbers-for-texts"),
        pytest.param([_example(n, " ", ["food"], TOPIC) for n in range(20)], "no_text", id="blank"),
        pytest.param([*_texts(20), _example(20, "x", ["ghost"], TOPIC)], "unknown_label", id="outside"),
        pytest.param(_several(20), "unknown_label", id="of-another-question"),
    ],
)
def test_what_no_model_comes_of_is_said_by_a_reason(tmp_path: Path, examples: Sequence[Example], reason: str) -> None:
    refused = _refused(_job(tmp_path, examples))
    assert refused.reason == reason
    assert "words" not in refused.detail


@pytest.mark.parametrize(
    ("examples", "reason"),
    [
        pytest.param([_example(n, "w", ["food"], TOPICS_OF) for n in range(20)], "single_class", id="always-the-same"),
        pytest.param([_example(n, "w", [], TOPICS_OF) for n in range(20)], "single_class", id="never-any"),
        pytest.param([_example(n, "w", ["food"] * (n == 0), TOPICS_OF) for n in range(20)], "too_few", id="once"),
    ],
)
def test_what_no_several_labels_come_of_is_said_by_a_reason(
    tmp_path: Path, examples: Sequence[Example], reason: str
) -> None:
    assert _refused(_job(tmp_path, examples, TOPICS_OF)).reason == reason


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        pytest.param("words", "no_vector", id="a-text"),
        pytest.param([], "no_vector", id="empty"),
        pytest.param([1.0, 1e200], "numbers", id="too-large"),
    ],
)
def test_what_are_no_numbers_is_said_by_a_reason(tmp_path: Path, value: JsonValue, reason: str) -> None:
    examples = [_example(number, value, [str(number % 2)], DIGIT) for number in range(20)]
    assert _refused(_job(tmp_path, examples, DIGIT, input="vector")).reason == reason


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"folds": 1}, id="one-fold"),
        pytest.param({"trusted": ["os.system"]}, id="unknown"),
        pytest.param({"columns": ["a"]}, id="no-effect-on-texts"),
        pytest.param({"input": "vector", "features": 500}, id="no-effect-on-numbers"),
        pytest.param({"c": 0}, id="no-strength"),
    ],
)
def test_settings_that_have_no_effect_or_no_sense_are_refused(tmp_path: Path, settings: dict[str, JsonValue]) -> None:
    assert _refused(_job(tmp_path, _texts(30), **settings)).reason == "settings"


def test_a_model_answers_one_question_of_choice(tmp_path: Path) -> None:
    span = Question.model_validate({"name": "names", "kind": "span", "field": "text", "labels": ["x"]})
    for questions in ((), (span,), (TOPIC, TOPICS_OF)):
        assert _refused(replace(_job(tmp_path, _texts(30)), label_set=questions)).reason == "questions"


def test_columns_of_one_number_each_are_learned_in_their_order(tmp_path: Path) -> None:
    rng = random.Random(5)
    rows = [(rng.random(), rng.random()) for _ in range(60)]
    asked = DIGIT.model_copy(update={"field": "a"})
    examples = [
        replace(_example(number, None, ["1" if a > b else "0"], asked), data={"a": a, "b": b})
        for number, (a, b) in enumerate(rows)
    ]
    job = _job(tmp_path, examples, asked, input="vector", columns=["a", "b"])
    _train(job)
    assert _right(_provider(job), examples, asked) > 0.9
