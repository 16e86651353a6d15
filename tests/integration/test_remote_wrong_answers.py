"""Services that answer wrongly, and settings that make no sense: each request ends in one outcome that says why."""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from prelabel_contract.events import PredictionCreated, PredictionFailed

from tests.rig.remote_hop import remote_hop
from tests.rig.target import Answer, Behave, Target, answered, said, well

TASKS = [f"t{number}" for number in range(6)]
_SPAN = {"kind": "span", "start": 0, "end": 4, "labels": ["WORD"]}


def _saying(*regions: Any) -> Behave:
    async def behave(target: Target, body: Any) -> Answer:
        return answered({"id": body["id"], "regions": regions})

    return behave


def _raw(content: bytes, status: int = 200, **headers: str) -> Behave:
    async def behave(target: Target, body: Any) -> Answer:
        return status, headers, content

    return behave


async def _two_for_each(target: Target, body: Any) -> Answer:
    return answered({"predictions": [said(body), said(body)]})


async def _to_strangers(target: Target, body: Any) -> Answer:
    return answered({"predictions": [said({**body, "id": "stranger"})]})


_BY_ORDER = {"match": "order", "response": "body"}
_NUMBER = "{predictions: [{id: tasks[0].id, regions: [{kind: 'number', number: to_number(body.n)}]}]}"
_DOUBT = "{predictions: [{id: tasks[0].id, regions: `[]`, uncertainty: to_number(body.n)}]}"

CASES: Mapping[str, tuple[Behave, Mapping[str, Any], str | Mapping[str, int]]] = {
    "well": (well, {}, {}),
    "redirect": (_raw(b"", 302, location="http://169.254.169.254/latest/meta-data/"), {}, "refused"),
    "huge": (_raw(b'{"regions": [' + b" " * 100_000 + b"]}"), {}, "input"),
    "nan": (_raw(b'{"regions": [{"kind": "span", "start": 0, "end": 4, "score": NaN}]}'), {}, "unavailable"),
    "empty": (_raw(b"", 204), {}, "unavailable"),
    "too-many": (_two_for_each, _BY_ORDER, "input"),
    "strangers": (_to_strangers, {"attempts": 1}, "unavailable"),
    "beyond": (_saying({**_SPAN, "end": 99}, {**_SPAN, "start": -1}, {**_SPAN, "text": "same"}), {}, {"offset": 3}),
    "letters": (_saying({**_SPAN, "labels": "WORD"}, {**_SPAN, "labels": {"WORD": 1}}), {}, {"invalid": 2}),
    "scores": (_saying({**_SPAN, "score": 7}, {**_SPAN, "score": "NaN"}), {}, {"score": 2}),
    "no-regions": (_saying(7, None, "x", [], {}, {**_SPAN, "id": ["a"]}), {}, {"invalid": 6}),
    "arrows": (_saying({"kind": "relation", "from_id": ["a"]}, {**_SPAN, "from_id": 1}), {}, {"invalid": 2}),
    "finds-nothing": (well, {"response": "body.nothing"}, "unavailable"),
    "asks-nothing": (well, {"request": "task.data.nothing"}, "input"),
    "misfit": (well, {"response": "sort(body)"}, "unavailable"),
    "doubles": (well, {"response": " | ".join(["[@, @][]"] * 60)}, "input"),
    "doubles-itself": (well, {"request": " | ".join(["[@, @]"] * 60)}, "input"),
    "number": (_raw(b'{"n": "%b"}' % (b"9" * 400)), {"response": _NUMBER}, "output"),
    "doubt": (_raw(b'{"n": "%b"}' % (b"9" * 400)), {"response": _DOUBT}, {}),
    "address": (well, {"url": "http://[::1/predict", "rate": {"calls_per_second": 5}}, "settings"),
    "unknown": (well, {"no_such_setting": 1}, "settings"),
}


async def test_whatever_a_service_answers_each_request_ends_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRELABEL_REMOTE_PATIENCE_SECONDS", "1")
    monkeypatch.setenv("PRELABEL_REMOTE_ANSWER_BYTES", "50000")
    async with AsyncExitStack() as stack:
        models: dict[str, tuple[str, dict[str, Any]]] = {}
        for name, (behave, settings, _) in CASES.items():
            target = await stack.enter_async_context(Target(behave=behave))
            models[name] = "remote", {"url": target.url, **settings}
        hop = await stack.enter_async_context(remote_hop(tmp_path, models))
        replica = await hop.replica()
        for name in CASES:
            await hop.ask(TASKS, model=name)
        await hop.until(lambda hop: len(hop.done) == len(TASKS) * len(CASES), 120)
        await replica.stop()
    assert set(hop.done.values()) == {1}
    found: dict[str, list[str | Mapping[str, int]]] = {name: [] for name in CASES}
    for outcome in hop.ended:
        assert isinstance(outcome, PredictionCreated | PredictionFailed)
        found[outcome.model].append(outcome.reason if isinstance(outcome, PredictionFailed) else outcome.dropped)
    assert found == {name: [expected] * len(TASKS) for name, (*_, expected) in CASES.items()}
    details = {outcome.model: outcome.detail for outcome in hop.ended if isinstance(outcome, PredictionFailed)}
    assert all(details.values())
    assert details["address"].startswith("/url: ")
    assert details["unknown"].startswith("/no_such_setting: ")
