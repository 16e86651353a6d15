"""What "trains" means: the suite that every trainer passes.

    class TestTraining(TrainerTests):
        trainer = LedgerTrainer
        provider = LedgerProvider
        label_set = (Question(name="what", kind="choice", field="text", labels=("a", "b")),)
        examples = tuple(...)

As with providers, a test of the suite is not overridden to make it pass: what cannot hold is marked
`pytest.mark.xfail(reason=...)`.
"""

import hashlib
import json
import sys
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
from prelabel_contract.projects import Question
from pydantic import JsonValue

from .base import Failed, Input, Provider
from .models.manifest import Rules
from .models.store import Models, Origin
from .models.workspace import EXAMPLES, ExampleLine, Workspaces
from .predictor import Told, key_of
from .testing import dumped, regions_of
from .trainer import ENTRY_POINTS, CannotTrain, Example, Job, Progress, Trained, Trainer
from .training.process import Launch, TrainingProcess, trained
from .training.steps import version_settings
from .training.words import JobFile, Made
from .worker.worker import ModelWorker, WorkerLimits

Start = Literal["blank", "settings"]
_SECONDS = 300.0


class TrainerTests:
    """Set the class attributes in a subclass whose name starts with Test."""

    trainer: ClassVar[type[Trainer[Any]]]
    provider: ClassVar[type[Provider[Any]]]
    label_set: ClassVar[tuple[Question, ...]]
    examples: ClassVar[tuple[Example, ...]]
    """Enough for a model that says something about them, of two labels at least."""
    settings: ClassVar[Mapping[str, JsonValue]] = {}
    """Of a training that takes seconds."""
    model_settings: ClassVar[Mapping[str, JsonValue]] = {}
    """The provider's, of the model that is trained."""
    start: ClassVar[Start] = "blank"
    """settings: from the model that `model_settings` name, for a trainer that does not begin with nothing."""
    seed: ClassVar[int] = 7

    @pytest.fixture(scope="class")
    @classmethod
    def made(cls, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Trained]:
        """A folder, trained in this process, and what was said about it."""
        folder = tmp_path_factory.mktemp("trained")
        return folder, cls.trainer().train(cls._job(folder), lambda progress: None)

    @classmethod
    def _job(cls, folder: Path, **values: Any) -> Job:
        base = None if cls.start == "blank" else cls.trainer().base_of(cls.model_settings)
        given: dict[str, Any] = {"examples": cls.examples, "settings": cls.settings, "base": base, **values}
        return Job(label_set=cls.label_set, folder=folder, seed=cls.seed, **given)

    @classmethod
    def _rules(cls) -> Rules:
        return Rules(cls.trainer.name, cls.trainer.writes)

    @classmethod
    def _inputs(cls) -> list[Input]:
        return [Input(one.task, one.data, cls.label_set[0].field) for one in cls.examples]

    def test_is_found_by_its_name_beside_its_provider(self) -> None:
        """The entry point has the provider's name."""
        (found,) = entry_points(group=ENTRY_POINTS, name=self.trainer.name)
        assert found.load() is self.trainer
        assert self.trainer.name == self.provider.name
        assert self.trainer.kinds <= self.provider.kinds

    def test_its_provider_takes_what_it_trains(self) -> None:
        """Every source of a model is a setting of the provider, and `path` is one of them."""
        known = set(self.provider.Settings.model_fields)
        assert "path" in self.trainer.source_settings
        assert self.trainer.source_settings <= known

    def test_settings_have_a_schema(self) -> None:
        """Settings draw a form: their JSON Schema is one, and refuses what it does not know."""
        schema = self.trainer.Settings.model_json_schema()
        assert schema["type"] == "object"
        assert schema["additionalProperties"] is False

    def test_unknown_settings_are_refused_before_anything_is_computed(self, tmp_path: Path) -> None:
        """A misspelt setting would have no effect."""
        self._check_refused(tmp_path, "settings", settings={**self.settings, "no-such-setting": 1})

    def test_nothing_to_learn_from_is_refused(self, tmp_path: Path) -> None:
        """No examples, and examples in which nobody said anything."""
        self._check_refused(tmp_path, None, examples=())
        silent = tuple(Example(one.task, one.data, ()) for one in self.examples)
        self._check_refused(tmp_path, None, examples=silent)

    def _check_refused(self, folder: Path, reason: str | None, **values: Any) -> None:
        with pytest.raises(CannotTrain) as refused:
            self.trainer().train(self._job(folder, **values), lambda progress: None)
        assert refused.value.reason == (reason or refused.value.reason)
        assert refused.value.reason.replace("_", "").isalpha()
        assert refused.value.detail
        assert not list(folder.iterdir())

    def test_reports_how_far_it_is(self, tmp_path: Path) -> None:
        """Steps grow and end at their number at most; figures are figures."""
        said: list[Progress] = []
        self.trainer().train(self._job(tmp_path), said.append)
        assert said
        assert [one.step for one in said] == sorted(one.step for one in said)
        for one in said:
            assert 0 <= one.step <= one.steps
            assert one.score is None or 0 <= one.score <= 1
            assert one.seconds_left is None or one.seconds_left >= 0

    def test_says_what_it_wrote_and_wrote_nothing_else(self, made: tuple[Path, Trained]) -> None:
        """What lies in the folder is what was named, with the versions of what it depends on."""
        folder, said = made
        assert set(said.files) == {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
        assert said.libraries
        assert all(isinstance(value, float) for value in said.metrics.values())

    # Marked, so that it runs in the strict mode too, which is what a folder without settings for pytest has.
    @pytest.mark.asyncio
    async def test_the_same_job_gives_the_same_files_in_a_process_of_its_own(
        self, made: tuple[Path, Trained], tmp_path: Path
    ) -> None:
        """As it is trained in earnest."""
        folder, said = made
        again = await self._in_a_process(tmp_path)
        assert sorted(again.files) == sorted(said.files)
        assert _hashes(tmp_path / "artifact") == _hashes(folder)

    @classmethod
    async def _in_a_process(cls, folder: Path) -> Made:
        workspace = Workspaces(str(folder / "space")).of("p", "m", 1)
        await workspace.write(EXAMPLES, [ExampleLine.of(one) for one in cls.examples])
        await workspace.download(EXAMPLES, folder / "examples")
        (folder / "artifact").mkdir()
        job = JobFile(
            examples=str(folder / "examples"),
            label_set=cls.label_set,
            folder=str(folder / "artifact"),
            seed=cls.seed,
            settings=json.loads(json.dumps(dict(cls.settings))),
            base_settings=None if cls.start == "blank" else dict(cls.model_settings),
        )
        (folder / "job.json").write_text(job.model_dump_json())
        launch, until = Launch(provider=cls.trainer.name, python=sys.executable), time.monotonic() + _SECONDS
        async with TrainingProcess.begun(launch, folder / "job.json", until) as process:
            await process.known()
            said = await trained(process, lambda step: None, _SECONDS)
        assert isinstance(said, Made)
        return said

    @pytest.mark.asyncio
    async def test_what_it_wrote_is_published_loaded_by_path_and_says_what_is_asked(
        self, made: tuple[Path, Trained], tmp_path: Path
    ) -> None:
        """From the model store into a worker: some of the examples are answered, in the label set's words."""
        folder, said = made
        models = Models(str(tmp_path / "models"), tmp_path / "cache")
        artifact = await models.publish(folder, said.files, Origin(self.seed, "f"), self._rules())
        fetched = await models.fetch(artifact, self._rules())
        settings = version_settings(self.model_settings, self.trainer.source_settings, fetched)
        worker = ModelWorker(self.provider.name, limits=WorkerLimits(start_seconds=120, batch_seconds=120))
        try:
            described = await worker.load(settings)
            answers = await worker.predict(key_of(settings), self._inputs())
        finally:
            await worker.stop()
        assert described.kinds & self.trainer.kinds
        self._check_answers(answers)
        alone = self.provider.load(self.provider.Settings.model_validate(settings))
        assert dumped(alone.predict(self._inputs())) == answers

    def _check_answers(self, answers: Sequence[bytes | Told | Failed]) -> None:
        labels = {label.value for question in self.label_set for label in question.labels}
        kinds = {kind for question in self.label_set for kind in question.kinds}
        said = [region for one in answers for region in regions_of(one)]
        asked = [region for region in said if region.kind in kinds]
        assert asked
        assert all(not labels or set(region.labels) <= labels for region in asked)

    def test_a_base_is_left_as_it_is(self, made: tuple[Path, Trained], tmp_path: Path) -> None:
        """Other processes serve it."""
        folder, _ = made
        before = _hashes(folder)
        try:
            self.trainer().train(self._job(tmp_path, base=folder), lambda progress: None)
        except CannotTrain as refused:
            assert refused.reason  # noqa: PT017 - one that cannot go on from a version says so
        assert _hashes(folder) == before


def _hashes(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
