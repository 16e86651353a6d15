"""What "supported" means: the suite that every provider passes.

    class TestConformance(ProviderTests):
        provider = EchoProvider
        settings = {"regions": [...]}
        other_settings = {"regions": []}
        samples = ({"text": "..."},)

A provider's own tests stand beside it. A test of the suite is not overridden to make it pass: what cannot
hold for a provider is marked `pytest.mark.xfail(reason=...)`, so that it is seen.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from importlib.metadata import entry_points
from typing import Any, ClassVar

import pytest
import pytest_asyncio
from prelabel_contract.regions import REGIONS, Region, Relation, Span
from pydantic import JsonValue, ValidationError

from .base import ENTRY_POINTS, Failed, Input, Predicted, PredictedJson, Prediction, Provider
from .predictor import Told, key_of
from .worker.worker import ModelWorker, WorkerLimits

_AWKWARD = (
    "",
    " ",
    "\n",
    "😀 Ada 👩‍👩‍👧‍👦 met Émile e\u0301te\u0301 in 東京",
    "\u202b\u05e9\u05dc\u05d5\u05dd Ada \u05e2\u05d5\u05dc\u05dd\u202c \u0645\u0631\u062d\u0628\u0627",
    "\ufeffAda\u0000Lovelace\u200b",
    "\U0001f1eb\U0001f1f7\U0001f1e9\U0001f1ea Ada",
    "İSTANBUL ŒUVRE ﬁancé Straße",
)
"""Texts on which code points, UTF-8 bytes, UTF-16 units and folded letters count differently."""


class ProviderTests:
    """Set the class attributes in a subclass whose name starts with Test."""

    provider: ClassVar[type[Provider[Any]]]
    settings: ClassVar[Mapping[str, JsonValue]]
    """Of a model that says something about the samples."""
    other_settings: ClassVar[Mapping[str, JsonValue]]
    """Of a model with other content."""
    samples: ClassVar[Sequence[Mapping[str, JsonValue]]]
    """Data of tasks, two at least, that the model says something about."""
    field: ClassVar[str] = "text"
    """The field that the model reads."""
    long_text_characters: ClassVar[int] = 200_000

    @pytest.fixture(scope="class")
    @classmethod
    def model(cls) -> Provider[Any]:
        """The model of `settings`, in this process."""
        return cls._load(cls.settings)

    @pytest_asyncio.fixture
    async def worker(self) -> AsyncIterator[ModelWorker]:
        """A worker process of the provider."""
        worker = ModelWorker(self.provider.name, limits=WorkerLimits(start_seconds=120, batch_seconds=120))
        yield worker
        await worker.stop()

    @classmethod
    def _load(cls, settings: Mapping[str, JsonValue]) -> Provider[Any]:
        return cls.provider.load(cls.provider.Settings.model_validate(settings))

    @classmethod
    def _inputs(cls) -> list[Input]:
        return [Input(f"task-{i}", data, cls.field) for i, data in enumerate(cls.samples)]

    @classmethod
    def _texts(cls, *texts: str) -> list[Input]:
        rest = cls.samples[0]
        return [Input(f"text-{i}", {**rest, cls.field: text}, cls.field) for i, text in enumerate(texts)]

    def test_no_silent_override(self) -> None:
        """A subclass that replaces a test of the suite marks it as an expected failure and says why."""
        for cls in type(self).__mro__:
            if cls is ProviderTests:
                return
            for name, member in vars(cls).items():
                if name.startswith("test_") and hasattr(ProviderTests, name):
                    marks = getattr(member, "pytestmark", ())
                    told = any(mark.name == "xfail" and mark.kwargs.get("reason") for mark in marks)
                    assert told, f"{cls.__name__}.{name} replaces a test of the suite without saying why"

    def test_is_found_by_its_name(self) -> None:
        """The entry point has the provider's name."""
        (found,) = entry_points(group=ENTRY_POINTS, name=self.provider.name)
        assert found.load() is self.provider

    def test_settings_have_a_schema(self) -> None:
        """Settings draw a form: their JSON Schema is one, and refuses what it does not know."""
        schema = self.provider.Settings.model_json_schema()
        assert schema["type"] == "object"
        assert schema["additionalProperties"] is False

    def test_unknown_settings_are_refused(self) -> None:
        """A misspelt setting would have no effect."""
        with pytest.raises(ValidationError):
            self.provider.Settings.model_validate({**self.settings, "no-such-setting": 1})

    def test_the_version_names_the_content(self, model: Provider[Any]) -> None:
        """The same settings are the same version, other content is another."""
        version = model.describe().version
        assert version
        assert self._load(self.settings).describe().version == version
        assert self._load(self.other_settings).describe().version != version

    def test_says_something_about_the_samples(self, model: Provider[Any]) -> None:
        """Otherwise this suite shows nothing."""
        assert len(self.samples) > 1
        assert any(_regions(said) for said in model.predict(self._inputs()))

    def test_one_prediction_per_input_in_order(self, model: Provider[Any]) -> None:
        """As many out as in; turned round, the answers are turned round."""
        inputs = self._inputs()
        said = list(model.predict(inputs))
        assert len(said) == len(inputs)
        assert dumped(model.predict(inputs[::-1])) == dumped(said[::-1])

    def test_is_deterministic(self, model: Provider[Any]) -> None:
        """The same input gets the same answer, now and from another copy of the model."""
        said = dumped(model.predict(self._inputs()))
        assert dumped(model.predict(self._inputs())) == said
        assert dumped(self._load(self.settings).predict(self._inputs())) == said

    def test_the_batch_does_not_matter(self, model: Provider[Any]) -> None:
        """One by one, together, or many times over: what a neighbour says changes nothing."""
        inputs = self._inputs()
        alone = [dumped(model.predict([one]))[0] for one in inputs]
        assert [_rounded(one) for one in dumped(model.predict(inputs))] == [_rounded(one) for one in alone]
        many = dumped(model.predict(inputs * 40))
        assert [_rounded(one) for one in many] == [_rounded(one) for one in alone] * 40

    def test_an_empty_batch_is_no_work(self, model: Provider[Any]) -> None:
        """Nothing in, nothing out."""
        assert list(model.predict([])) == []

    @pytest.mark.parametrize("text", _AWKWARD)
    def test_offsets_count_code_points(self, model: Provider[Any], text: str) -> None:
        """Every span lies in its text, and says what stands there."""
        sample = self.samples[0].get(self.field)
        texts = (text, f"{text} {sample}") if isinstance(sample, str) else (text,)
        inputs = self._texts(*texts)
        for one, said in zip(inputs, model.predict(inputs), strict=True):
            for region in _regions(said):
                if isinstance(region, Span) and (region.field or one.field) == one.field:
                    self._check_span(region, one.text)

    @staticmethod
    def _check_span(region: Span, text: str) -> None:
        assert region.start < region.end <= len(text)
        assert region.text is None or region.text == text[region.start : region.end]

    def test_a_long_text_is_answered(self, model: Provider[Any]) -> None:
        """Long is predicted or refused, not raised."""
        sample = str(self.samples[0].get(self.field))
        long = (sample + " ") * (self.long_text_characters // (len(sample) + 1))
        (said,) = model.predict(self._texts(long))
        assert isinstance(said, Prediction)

    def test_a_missing_field_fails_alone(self, model: Provider[Any]) -> None:
        """An input without the text fails, or is answered where none is needed; no neighbour notices."""
        good = self._inputs()
        bad = [Input("none", {}, self.field), Input("null", {self.field: None}, self.field)]
        said = model.predict([good[0], *bad])
        assert all(isinstance(one, Prediction) for one in said)
        assert dumped(said[:1]) == dumped(model.predict(good[:1]))

    def test_scores_are_confidences_or_null(self, model: Provider[Any]) -> None:
        """0 to 1, or nothing; a region that was built without checks may hold anything."""
        for said in model.predict(self._inputs()):
            for region in _regions(said):
                assert region.score is None or 0 <= region.score <= 1

    def test_an_uncertainty_is_one_and_the_batch_does_not_matter(self, model: Provider[Any]) -> None:
        """0 to 1, or nothing; alone as in company; of an answer too that has no regions."""
        inputs = [*self._inputs(), *self._texts(*_AWKWARD)]
        together = [_doubt(one) for one in model.predict(inputs)]
        alone = [_doubt(said) for one in inputs for said in model.predict([one])]
        assert all(doubt is None or 0 <= doubt <= 1 for doubt in together)
        assert [doubt is None for doubt in alone] == [doubt is None for doubt in together]
        apart = [(a, t) for a, t in zip(alone, together, strict=True) if a is not None and t is not None]
        assert [a for a, _ in apart] == pytest.approx([t for _, t in apart], abs=2e-3)

    def test_says_only_what_it_described(self, model: Provider[Any]) -> None:
        """Kinds, and labels of kinds that it lists."""
        described = model.describe()
        assert described.kinds <= self.provider.kinds
        for said in model.predict(self._inputs()):
            for region in _regions(said):
                assert region.kind in described.kinds
                assert set(region.labels) <= set(described.labels.get(region.kind, region.labels))

    def test_relations_point_to_its_own_regions(self, model: Provider[Any]) -> None:
        """Both ends are in the same answer."""
        for said in model.predict(self._inputs()):
            ids = {region.id for region in _regions(said)}
            for region in _regions(said):
                if isinstance(region, Relation):
                    assert {region.from_id, region.to_id} <= ids

    def test_regions_go_through_json(self, model: Provider[Any]) -> None:
        """What the contract writes, it reads."""
        for said in model.predict(self._inputs()):
            regions = _regions(said)
            written = REGIONS.dump_json(regions, exclude_none=True)
            assert REGIONS.validate_json(written) == regions

    # Marked, so that it runs in the strict mode too, which is what a folder without settings for pytest has.
    @pytest.mark.asyncio
    async def test_a_worker_process_says_the_same(self, model: Provider[Any], worker: ModelWorker) -> None:
        """In a process of its own: the same version, the same answers."""
        description = await worker.load(self.settings)
        assert description == model.describe()
        said = await worker.predict(key_of(self.settings), self._inputs())
        assert said == dumped(model.predict(self._inputs()))


def _regions(said: Prediction) -> tuple[Region, ...]:
    if isinstance(said, PredictedJson):
        return REGIONS.validate_json(said.regions)
    return said.regions if isinstance(said, Predicted) else ()


def _doubt(said: Prediction) -> float | None:
    return None if isinstance(said, Failed) else said.uncertainty


def dumped(said: Sequence[Prediction]) -> list[bytes | Told | Failed]:
    """Predictions as a worker's process hands them on."""
    return [one if isinstance(one, Failed) else _written(one) for one in said]


def _written(said: Predicted | PredictedJson) -> bytes | Told:
    regions = said.regions if isinstance(said, PredictedJson) else REGIONS.dump_json(said.regions, exclude_none=True)
    return regions if said.uncertainty is None else Told(regions, uncertainty=float(said.uncertainty))


def regions_of(said: bytes | Told | Failed) -> tuple[Region, ...]:
    """The regions of what a worker's process hands on; of what failed none."""
    if isinstance(said, Failed):
        return ()
    return REGIONS.validate_json(said.regions if isinstance(said, Told) else said)


def _rounded(said: bytes | Told | Failed) -> object:
    # How a library blocks its sums depends on the batch's shape: the last digits of a score are not the
    # model's.
    if isinstance(said, Failed):
        return said
    regions = regions_of(said)
    return [r.model_copy(update={"score": None if r.score is None else round(r.score, 3)}) for r in regions]
