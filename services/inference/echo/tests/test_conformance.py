"""The echo provider is a provider."""

from prelabel_inference_echo.provider import EchoProvider
from prelabel_provider.base import Failed, Input
from prelabel_provider.testing import ProviderTests
from pydantic import JsonValue

_TOLD: list[JsonValue] = [{"kind": "span", "start": 0, "end": 3, "labels": ["WORD"], "score": 0.25}]


class TestConformance(ProviderTests):
    provider = EchoProvider
    settings = {"regions": [{"kind": "choice", "labels": ["seen"]}]}
    other_settings = {"regions": [{"kind": "choice", "labels": ["unseen"]}]}
    samples = ({"text": "one two", "note": 1}, {"text": "two", "_regions": _TOLD})


def test_what_is_no_region_fails() -> None:
    model = EchoProvider.load(EchoProvider.Settings())
    (said,) = model.predict([Input("task", {"text": "x", "_regions": [{"kind": "span", "start": 3}]}, "text")])
    assert isinstance(said, Failed)
    assert said.reason == "input"
