"""Templates cannot make much of little: what they take and what they make is bounded by what they are given."""

import asyncio
import threading
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson
import pytest
from prelabel_inference_remote.provider import RestProvider
from prelabel_inference_remote.settings import RestSettings
from prelabel_inference_remote.templates import Filling, TooMuch, Unfit, compiled
from prelabel_provider.base import Input, PredictedJson
from prelabel_provider.remote.base import Http, Request, Response
from prelabel_provider.remote.failures import InputRefused

URL = "https://ner.example.org/predict"
LONG = "a" * 100_000
JOINED = "[@, @].join('', @)"
BEYOND = "\U0001f600"  # two escapes in JSON, four bytes in memory
SPANS = "{predictions: [{id: tasks[0].id, regions: body.found[].{kind: 'span', start: s, end: e, labels: [t]}}]}"


def times(count: int, step: str) -> str:
    """A step that goes on from what it made."""
    return " | ".join([step] * count)


def many(count: int, one: str) -> str:
    """A list of the same, made in the expression."""
    return f"[{', '.join([one] * count)}]"


@pytest.mark.parametrize(
    ("expression", "given"),
    [
        (times(23, "[@, @][]"), {"a": 1}),
        (times(23, "[@, @]"), {"a": 1}),
        (times(23, "{a: @, b: @}"), {"a": 1}),
        (f"a | {times(23, '[@, @]')} | to_string(@)", {"a": "text"}),
        (f"a | {times(23, JOINED)}", {"a": "text"}),
        (times(23, "[@, @] | map(&@, @) | []"), [1]),
        (f"{many(1000, 'a')} | []", {"a": [1] * 1000}),
        (f"{many(1000, 'a[:]')} | length(@)", {"a": [1] * 1000}),
        (f"{many(300, 'a[]')} | length(@)", {"a": [[]] * 5000}),
        (f"{many(300, 'a[?b]')} | length(@)", {"a": [{}] * 5000}),
        (f"{many(300, 'a[*].b')} | length(@)", {"a": [{}] * 5000}),
        (f"{many(300, 'a.*.b')} | length(@)", {"a": {str(number): None for number in range(5000)}}),
        (f"[to_number(a)] | {times(10, '[@, @][]')} | to_string(@) | length(@)", {"a": "9" * 4300}),
        (f"{many(1000, 'a')} | to_string(@) | length(@)", {"a": BEYOND * 200}),
        (f"{many(1000, 'a')} | to_string(@) | length(@)", {"a": "\0" * 400}),
        (f"{many(150, 'reverse(a)')} | length(@)", {"a": BEYOND * 10_000}),
        (f"{many(7, 'join(b, [a, a])')} | length(@)", {"a": LONG, "b": BEYOND}),
        (f"join(a, {many(1000, 'b')})", {"a": LONG, "b": ""}),
        (f"{many(1000, '@')} | [?a == b] | length(@)", {"a": LONG, "b": LONG[1:] + "b"}),
        (f"{many(1000, '@')} | [?a < b] | length(@)", {"a": LONG, "b": LONG + "b"}),
        (f"{many(1000, '@')} | [?a == b] | length(@)", {"a": [[1]] * 1000, "b": [[1]] * 1000}),
        (f"{many(1000, 'a')} | sort(@) | length(@)", {"a": LONG}),
        (f"{many(1000, '@')} | sort_by(@, &a) | length(@)", {"a": LONG}),
        (f"{many(1000, '@')} | [?contains(a, 'b')] | length(@)", {"a": LONG}),
        (f"{many(1000, '@')} | [].reverse(a) | length(@)", {"a": LONG}),
        (f"{many(1000, '@')} | [].merge(a, a) | length(@)", {"a": {str(number): number for number in range(1000)}}),
    ],
)
async def test_an_expression_that_multiplies_ends_before_much_is_made(expression: str, given: Any) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(TooMuch):
            await Filling(expression).of(given)
        assert tracemalloc.get_traced_memory()[1] < 50 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("expression", "given"),
    [
        (f"[{times(60, '@')}]", {"a": 1}),
        ("[].{kind: 'span', start: s, end: e, labels: [t], score: p}", [{"s": 1, "e": 2, "t": "A", "p": 0.5}] * 50_000),
        ("[?t == 'A'] | sort_by(@, &p) | [*].{text: join(' ', [t, text])}", [{"t": "A", "p": 1, "text": LONG}] * 200),
        ("{inputs: [].data.text, all: join('', [].data.text)}", [{"data": {"text": LONG}}] * 200),
        ("{predictions: [].{kind: 'span', start: [0], end: [1], labels: ['NAME']}}", [[1, 2]] * 20_000),
        ("[].{kind: 'number', value: @, score: @}", [0.5] * 20_000),
        ("to_string(@)", "a" * 17_000_000),
        ("to_string(@)", [1.5] * 600_000),
    ],
)
async def test_a_template_gives_much_another_form(expression: str, given: Any) -> None:
    assert await Filling(expression).of(given) == compiled(expression).search(given)


async def test_what_takes_long_is_made_beside_the_event_loop() -> None:
    template, turns = Filling("[].{kind: 'span', start: s, end: e, labels: [t]}"), 0
    making = asyncio.create_task(template.of([{"s": 1, "e": 2, "t": "A"}] * 50_000))
    while not making.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 10


class Watched(dict[str, int]):
    """An object of an answer that says when it is looked at beside the event loop."""

    def __init__(self, looked: Callable[[], None]) -> None:
        super().__init__(s=1)
        self._looked = looked

    def get(self, key: str, default: Any = None) -> Any:
        if threading.current_thread() is not threading.main_thread():
            self._looked()
        return super().get(key, default)


async def test_a_filling_that_nobody_waits_for_any_more_ends_soon() -> None:
    looks, begun, loop = 0, asyncio.Event(), asyncio.get_running_loop()

    def looked() -> None:
        nonlocal looks
        if looks == 0:
            loop.call_soon_threadsafe(begun.set)
        looks += 1

    with ThreadPoolExecutor(1) as beside:
        loop.set_default_executor(beside)
        making = asyncio.create_task(Filling("[].{kind: 'span', start: s}").of([Watched(looked)] * 200_000))
        await begun.wait()
        making.cancel()
        with pytest.raises(asyncio.CancelledError):
            await making
        await asyncio.to_thread(lambda: None)  # it is the only thread, and free again
        assert looks < 200_000


async def test_few_templates_make_much_at_once_however_many_there_are() -> None:
    begun: set[int] = set()

    async def fill(number: int) -> None:
        await Filling("[].{kind: 'span', start: s}").of([Watched(lambda: begun.add(number))] * 20_000)
        begun.discard(number)

    with ThreadPoolExecutor(8) as beside:
        asyncio.get_running_loop().set_default_executor(beside)
        making = [asyncio.create_task(fill(number)) for number in range(8)]
        most = 0
        while not all(one.done() for one in making):
            most = max(most, len(begun))
            await asyncio.sleep(0)
        await asyncio.gather(*making)
    assert 1 <= most <= 2


async def test_what_is_too_deep_to_be_used_does_not_fit() -> None:
    with pytest.raises(Unfit):
        await Filling(times(2000, "@")).of({})


class Answering(Http):
    """A service that answers always the same."""

    def __init__(self, answer: Any) -> None:
        self._answer = orjson.dumps(answer)
        self.asked = b""

    async def send(self, request: Request) -> Response:
        self.asked = request.content
        return Response(200, {}, self._answer)


def provider(**settings: Any) -> RestProvider:
    """One with these settings."""
    return RestProvider.load(RestSettings.model_validate({"url": URL, **settings}))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"request": times(40, "[@, @]")}, "request template would make too much of the task"),
        ({"request": times(40, "[@, @][]")}, "request template would make too much of the task"),
        ({"response": times(40, "[@, @]")}, "response template would make too much of the answer"),
        ({"response": times(40, "[@, @][]")}, "response template would make too much of the answer"),
        ({"request": "{n: to_number(task.data.n)}"}, "cannot be written as JSON"),
    ],
)
async def test_the_task_that_a_template_makes_too_much_of_is_refused_and_says_why(
    settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputRefused, match=said):
        await provider(**settings).ask([Input("a", {"text": "Ada", "n": "9" * 400}, "text")], Answering({"a": 1}))


async def test_a_large_answer_is_read_by_a_template() -> None:
    service = Answering({"found": [{"s": 1, "e": 2, "t": "A"}] * 30_000})
    told = await provider(response=SPANS).ask([Input("a", {"text": "Ada"}, "text")], service)
    ((name, prediction),) = told.said
    assert name == "a"
    assert isinstance(prediction, PredictedJson)
    assert len(orjson.loads(prediction.regions)) == 30_000
