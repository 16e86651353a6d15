"""The demo's annotators: what they are shown, and what they wait for."""

import io
from collections.abc import Iterator
from typing import Any, cast

import pytest
from prelabel_all_in_one.sample.corpus import Corpus
from prelabel_contract import names
from prelabel_training.examples.holdout import in_holdout
from rich.console import Console

from deploy.demo import loop
from deploy.demo.loop import HOLDOUT, MODEL, Loop, suggestion
from deploy.demo.results import Result
from tests.rig.client import Client

PROJECT = "stdlib"


def predicted(task: str) -> Result:
    """A text that both models of the demo have predicted."""
    said = [
        {"model": model, "provider": "spacy", "version": "1", "outcome": "created", "regions": [], "request": request}
        for model, request in (("areas", f"areas-{task}"), (MODEL, f"names-{task}"))
    ]
    return Result.from_json({"id": task, "data": {"text": "a text"}, "meta": {}}, said)


def test_texts_of_the_hold_out_are_answered_blind_and_others_from_the_models_suggestion() -> None:
    texts = [f"t{n}" for n in range(200)]
    held = {one for one in texts if in_holdout(PROJECT, names.task_uid(PROJECT, one), HOLDOUT)}
    assert 20 < len(held) < 80
    shown = {one: suggestion(PROJECT, predicted(one)) for one in texts}
    assert shown == {one: None if one in held else f"names-{one}" for one in texts}


class Answers:
    """A Prelabel that answers each question so, one after the other; the last answer stays."""

    def __init__(self, **answers: list[Any]) -> None:
        self._answers: dict[str, Iterator[Any]] = {name: iter(some) for name, some in answers.items()}
        self._last: dict[str, Any] = {}

    async def get(self, path: str) -> Any:
        name = next(name for name in self._answers if f"/{name}" in path)
        self._last[name] = next(self._answers[name], self._last.get(name))
        return self._last[name]


def looking(answers: Answers) -> Loop:
    return Loop(Console(file=io.StringIO()), cast(Client, answers), PROJECT, cast(Corpus, None))


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(loop, "AGAIN_SECONDS", 0.0)
    monkeypatch.setattr(loop, "PATIENCE", 5.0)


async def test_a_version_that_may_serve_is_waited_for_until_it_does() -> None:
    learned = {"model": MODEL, "examples": 3, "held_out": 1, "left_out": {}, "new": 0, "training": None}
    training = {"state": "trained", "version": "1-a", "progress": {"step": 4, "steps": 4}}
    verdict = {"version": "1-a", "examples": 3, "verdict": {"text": "Promoted."}}
    states = ["kept", "kept", "serving"]
    answers = Answers(
        examples=[{"models": [learned]}],
        trainings=[{"trainings": [training]}],
        versions=[{**verdict, "state": state} for state in states],
    )
    await looking(answers)._trained(4)
    assert (await answers.get("/versions/1-a"))["state"] == "serving"


async def test_results_are_read_when_all_that_is_open_has_been_asked_again() -> None:
    def page(version: str) -> dict[str, Any]:
        said: dict[str, Any] = {
            "model": MODEL,
            "version": version,
            "outcome": "created",
            "regions": [],
            "superseded_by": None,
        }
        return {"tasks": [{"id": "t1", "data": {"text": "a text"}, "meta": {}, "predictions": [said]}], "next": None}

    asking = [("1-a", "done"), ("2-b", "listing"), ("2-b", "asking"), ("2-b", "asking"), ("2-b", "done")]
    answers = Answers(
        repredicting=[{"version": version, "state": state} for version, state in asking],
        tasks=[page("1-a"), page("2-b")],
    )
    results = await looking(answers)._predicted_again({"t1"}, "2-b")
    assert [one.version for one in results[0].predictions] == ["2-b"]
    assert await answers.get("/repredicting") == {"version": "2-b", "state": "done"}
