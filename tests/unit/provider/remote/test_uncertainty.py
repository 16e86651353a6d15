"""How unsure a service says that it is comes as far as a provider's own figure does."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from prelabel_inference_remote.bodies import answers_of, json_of
from prelabel_provider.base import Failed, Input
from prelabel_provider.predictor import Told
from prelabel_provider.remote.base import Answers

from tests.rig.virtual_time import virtually

from .scene import Target, scene


def said(prediction: dict[str, Any]) -> bytes | Told | Failed:
    """What the engine hands on of a service's prediction in the documented body."""

    async def answered(batch: Sequence[Input]) -> Answers:
        body = json.dumps({"version": "7", "predictions": [{"id": one.task, **prediction} for one in batch]})
        return answers_of(json_of(body.encode()), batch)

    found: list[bytes | Told | Failed] = []

    async def run() -> None:
        async with scene(Target(answered)) as here:
            found.extend(await here.ask(["one"]))

    virtually(run())
    return found[0]


@pytest.mark.parametrize(
    ("given", "told"),
    [(0.25, 0.25), (0, 0.0), (1, 1.0), (None, None), (1.5, None), (-0.1, None), ("0.5", None), (True, None)],
)
def test_the_figure_of_a_service_is_handed_on_if_it_is_one(given: Any, told: float | None) -> None:
    assert said({"regions": [], "uncertainty": given}) == Told(b"[]", "7", told)


def test_a_service_that_gives_none_leaves_it_to_the_scores() -> None:
    assert said({"regions": []}) == Told(b"[]", "7", None)


def test_what_failed_has_no_figure() -> None:
    assert said({"error": {"reason": "language"}, "uncertainty": 0.5}) == Failed("language")
