"""What "supported" means for a service that is called: the suite that every remote provider passes.

    class TestConformance(RemoteProviderTests):
        provider = RestProvider
        settings = {"url": "https://ner.example.org/predict"}
        other_settings = {"url": "https://other.example.org/predict"}
        samples = ({"text": "..."}, {"text": "..."})

        def answer(self, request):  # what the service would say
            ...

No network is needed: a provider does no I/O of its own. A test of the suite is not overridden to make it pass.
"""

from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import entry_points
from typing import Any, ClassVar

import pytest
from prelabel_contract.regions import REGIONS, Region
from pydantic import JsonValue, ValidationError

from ..base import REMOTE_ENTRY_POINTS, Failed, Input
from .base import Answers, Http, RemoteProvider, Request, Response
from .failures import CallFailed, InputRefused, TargetFailed, TargetRefuses, Throttled
from .matching import matched, written
from .secrets import Secret

__all__ = ["RemoteProviderTests", "Spoken"]

_GARBAGE = (b"", b"null", b"[]", b"{}", b"7", b'"yes"', b"<html>", b"\xff\xfe", b'{"predictions": 7}', b'{"a": ')


class Spoken(Http):
    """Hands requests to a function instead of sending them, and keeps them."""

    def __init__(self, answer: Callable[[Request], Response]) -> None:
        self._answer = answer
        self.sent: list[Request] = []

    async def send(self, request: Request) -> Response:
        """What the function says, or raises."""
        self.sent.append(request)
        return self._answer(request)


class RemoteProviderTests:
    """Set the class attributes, and `answer`, in a subclass whose name starts with Test."""

    provider: ClassVar[type[RemoteProvider[Any]]]
    settings: ClassVar[Mapping[str, JsonValue]]
    """Of a model that says something about the samples."""
    other_settings: ClassVar[Mapping[str, JsonValue]]
    """Of another model."""
    samples: ClassVar[Sequence[Mapping[str, JsonValue]]]
    """Data of tasks, two at least, that the model says something about."""
    field: ClassVar[str] = "text"
    """The field that the model reads."""

    def answer(self, request: Request) -> Response:
        """What a target says to a request."""
        raise NotImplementedError

    def _load(self, settings: Mapping[str, JsonValue] | None = None) -> RemoteProvider[Any]:
        return self.provider.load(self.provider.Settings.model_validate(dict(settings or self.settings)))

    def _inputs(self) -> list[Input]:
        return [Input(f"task-{i}", data, self.field) for i, data in enumerate(self.samples)]

    async def _said(self, model: RemoteProvider[Any], inputs: Sequence[Input]) -> dict[str, bytes | Failed]:
        """As the engine asks: as many at once as go into one call."""
        said: dict[str, bytes | Failed] = {}
        most = model.calling().tasks_per_call
        for first in range(0, len(inputs), most):
            batch = inputs[first : first + most]
            answers = await model.ask(batch, Spoken(self.answer))
            found = matched([one.task for one in batch], answers.said)
            assert not found.odd
            said.update({name: written(one) for name, one in found.said.items()})
        return said

    def test_is_found_by_its_name(self) -> None:
        """The entry point has the provider's name."""
        (found,) = entry_points(group=REMOTE_ENTRY_POINTS, name=self.provider.name)
        assert found.load() is self.provider

    def test_settings_have_a_schema(self) -> None:
        """Settings draw a form: their JSON Schema is one, and refuses what it does not know."""
        schema = self.provider.Settings.model_json_schema()
        assert schema["type"] == "object"
        assert schema["additionalProperties"] is False
        with pytest.raises(ValidationError):
            self.provider.Settings.model_validate({**self.settings, "no-such-setting": 1})

    def test_the_version_names_the_settings(self) -> None:
        """The same settings are the same version, others are another; an answer may name one of its own."""
        version = self._load().describe().version
        assert version
        assert self._load().describe().version == version
        assert self._load(self.other_settings).describe().version != version

    def test_how_it_is_called_makes_sense_and_stays(self) -> None:
        """One target per address, within what the engine allows."""
        calling = self._load().calling()
        assert calling == self._load().calling()
        assert calling.target
        assert calling.tasks_per_call >= 1
        assert 0 < calling.attempt_seconds <= calling.total_seconds
        assert calling.attempts >= 1

    @pytest.mark.asyncio
    async def test_every_task_gets_its_answer(self) -> None:
        """All ids come back, in any grouping; turned round, everybody gets the same."""
        model, inputs = self._load(), self._inputs()
        assert len(inputs) > 1
        said = await self._said(model, inputs)
        assert said.keys() == {one.task for one in inputs}
        assert await self._said(model, inputs[::-1]) == said
        assert any(isinstance(one, bytes) and REGIONS.validate_json(one) for one in said.values())

    @pytest.mark.asyncio
    async def test_says_only_what_it_described(self) -> None:
        """Kinds that it lists, scores that are confidences or null."""
        model = self._load()
        described = model.describe()
        assert described.kinds <= self.provider.kinds
        for said in (await self._said(model, self._inputs())).values():
            for region in _regions(said):
                assert region.kind in described.kinds
                assert region.score is None or 0 <= region.score <= 1

    @pytest.mark.asyncio
    async def test_a_missing_field_harms_nobody_else(self) -> None:
        """An input without the text is refused, failed, or answered."""
        model = self._load()
        try:
            answers = await model.ask([Input("none", {}, self.field)], Spoken(self.answer))
        except InputRefused:
            return
        assert isinstance(answers, Answers)

    @pytest.mark.asyncio
    @pytest.mark.parametrize(
        "failure", [Throttled, TargetFailed, TargetRefuses, InputRefused], ids=lambda f: f.__name__
    )
    async def test_failures_go_through_after_one_attempt(self, failure: type[CallFailed]) -> None:
        """Waiting and repeating is the engine's: a provider that does it, too, multiplies calls."""

        def fail(_: Request) -> Response:
            raise failure("no")

        http = Spoken(fail)
        with pytest.raises(failure):
            await self._load().ask(self._inputs()[:1], http)
        assert len(http.sent) == 1

    @pytest.mark.asyncio
    @pytest.mark.parametrize("body", _GARBAGE)
    async def test_garbage_is_a_failure_or_no_answer(self, body: bytes) -> None:
        """Never another exception, and never a prediction."""
        http = Spoken(lambda request: Response(200, {}, body))
        try:
            answers = await self._load().ask(self._inputs()[:1], http)
        except CallFailed:
            return
        assert not [one for _, one in answers.said if not isinstance(one, Failed)]

    @pytest.mark.asyncio
    async def test_secrets_go_into_headers_by_name_only(self) -> None:
        """Address and body hold none: a provider is never given one."""
        http = Spoken(self.answer)
        await self._load().ask(self._inputs()[:1], http)
        for request in http.sent:
            assert isinstance(request.url, str)
            assert all(isinstance(value, (str, Secret)) for _, value in request.headers)


def _regions(said: bytes | Failed) -> tuple[Region, ...]:
    return REGIONS.validate_json(said) if isinstance(said, bytes) else ()
