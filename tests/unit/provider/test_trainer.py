"""What a trainer is told, and how it says no."""

from collections.abc import Callable
from pathlib import Path

import pytest
from prelabel_contract.projects import Label, Question
from prelabel_contract.regions import Choice
from prelabel_provider.trainer import CannotTrain, Example, Job, Progress, Trained, Trainer, TrainerSettings


class _Settings(TrainerSettings):
    least: int = 2


class _Counting(Trainer[_Settings]):
    """Learns the labels there are."""

    name = "counting"
    kinds = frozenset({"choice"})
    Settings = _Settings
    writes = frozenset({".txt"})

    def train(self, job: Job, report: Callable[[Progress], None]) -> Trained:
        if len(job.examples) < self.settings(job).least:
            raise CannotTrain("too_few", "label more tasks")
        labels = sorted({label for example in job.examples for region in example.regions for label in region.labels})
        (job.folder / "labels.txt").write_text("\n".join(labels))
        report(Progress(1, 1))
        return Trained(("labels.txt",), {"labels": len(labels)})


def job(folder: Path, examples: int, **settings: int | str) -> Job:
    labelled = tuple(Example(f"t{n}", {"text": "x"}, (Choice(labels=(f"l{n}",)),)) for n in range(examples))
    question = Question(name="q", kind="choice", field="text", labels=tuple(Label(value=f"l{n}") for n in range(9)))
    return Job(labelled, (question,), folder, 7, settings)


def test_a_trainer_writes_files_and_says_which(tmp_path: Path) -> None:
    told: list[Progress] = []
    assert _Counting().train(job(tmp_path, 3), told.append) == Trained(("labels.txt",), {"labels": 3})
    assert (tmp_path / "labels.txt").read_text() == "l0\nl1\nl2"
    assert told == [Progress(1, 1)]


def test_what_cannot_be_trained_on_is_said_by_a_word_for_machines(tmp_path: Path) -> None:
    with pytest.raises(CannotTrain, match="label more tasks") as told:
        _Counting().train(job(tmp_path, 3, least=4), lambda _: None)
    assert told.value.reason == "too_few"


@pytest.mark.parametrize(("name", "value"), [("most", 3), ("least", "many")])
def test_settings_that_make_no_sense_are_named_without_their_value(tmp_path: Path, name: str, value: int | str) -> None:
    with pytest.raises(CannotTrain) as told:
        _Counting().train(job(tmp_path, 3, **{name: value}), lambda _: None)
    assert told.value.reason == "settings"
    assert name in told.value.detail
    assert "many" not in told.value.detail
