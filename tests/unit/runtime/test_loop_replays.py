"""Dead letters that are given back to their group: handled like any record, and what came of them is said."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest_asyncio
from prelabel_contract import cloudevents, names
from prelabel_contract.errors import InvalidEvent
from prelabel_contract.events import DeadLetterResolved
from prelabel_runtime.bus.base import Message, Record
from prelabel_runtime.bus.sqlite import SqliteBus
from prelabel_runtime.dead_letters import DEAD_LETTER_HEADER, RETRY_HEADER, Aside, for_replay
from prelabel_runtime.errors import TryAgain
from prelabel_runtime.loop import messages
from prelabel_runtime.service import Batching, Reply, RetryPolicy
from prelabel_runtime.testing.doubles import ManualClock

from .scene import GROUP, Handled, loop_of, open_bus, opened, records, running, runs_in, subscription, until

DEAD, RETRY = names.dead_letters(GROUP), names.retry(GROUP)


@pytest_asyncio.fixture
async def bus(tmp_path: Path) -> AsyncIterator[SqliteBus]:
    async with open_bus(tmp_path) as bus:
        yield bus


def replay(run: str, letter: str) -> Message:
    """A dead letter as it is given back."""
    [original] = messages([opened(run)])
    record = Record(DEAD, 0, 4, original.key, original.value, original.headers, 5)
    aside = Aside("replayed", "", names.SUBMITTED, 3, 77, 11, attempts=0, at_ms=1, letter=letter)
    return for_replay(record, GROUP, aside)


async def resolved(bus: SqliteBus) -> list[str]:
    """The letters that the group says it has handled."""
    found = [cloudevents.decode(r.headers, r.value, topic=DEAD) for r in await records(bus, DEAD) if _is_said(r)]
    return [e.data.letter for e in found if e is not None and isinstance(e.data, DeadLetterResolved)]


def _is_said(record: Record) -> bool:
    return not any(name == DEAD_LETTER_HEADER for name, _ in record.headers)


def aside_of(record: Record, header: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = orjson.loads(dict(record.headers)[header])
    return found


def _as_time_passes(clock: ManualClock, there: bool) -> bool:
    clock.advance(0.1)
    return there


async def test_a_letter_that_is_handled_after_its_replay_is_said_to_be(bus: SqliteBus) -> None:
    handler = Handled()
    await bus.publish([replay("a", "letter-a"), *messages([opened("b")])])
    async with running(loop_of(bus, subscription(handler))):
        await until(lambda: sorted(handler.runs) == ["a", "b"])
    assert await resolved(bus) == ["letter-a"]
    assert sorted(await runs_in(bus, names.RUNS)) == ["a", "b"], "what follows from it is published"


async def test_a_letter_keeps_its_name_while_it_is_tried_again(bus: SqliteBus) -> None:
    tries: list[str] = []

    def tell(run: str) -> Reply | None:
        tries.append(run)
        return TryAgain("busy", after=5) if len(tries) < 3 else None

    await bus.publish([replay("a", "letter-a")])
    clock = ManualClock()
    async with running(loop_of(bus, subscription(Handled(tell)), clock=clock)):
        await until(lambda: _as_time_passes(clock, len(tries) == 3))
    assert await resolved(bus) == ["letter-a"]
    tried = [aside_of(record, RETRY_HEADER) for record in await records(bus, RETRY)]
    assert [(one["letter"], one["attempts"], one["offset"]) for one in tried] == [
        ("letter-a", 0, 77),
        ("letter-a", 1, 77),
        ("letter-a", 2, 77),
    ]


async def test_a_letter_that_fails_again_says_which_letter_it_was(bus: SqliteBus) -> None:
    handler = Handled(lambda run: InvalidEvent("wrong", "still wrong") if run == "a" else TryAgain("busy", after=1))
    await bus.publish([replay("a", "letter-a"), replay("b", "letter-b")])
    sub = subscription(handler, retry=RetryPolicy(attempts=2))
    clock = ManualClock()
    async with running(loop_of(bus, sub, clock=clock)):
        await until(lambda: _as_time_passes(clock, handler.runs.count("b") == 2))
    dead = [aside_of(record, DEAD_LETTER_HEADER) for record in await records(bus, DEAD)]
    assert {(one["letter"], one["reason"]) for one in dead} == {
        ("letter-a", "wrong"),
        ("letter-b", "retries_exhausted"),
    }
    assert {(one["topic"], one["partition"], one["offset"], one["timestamp_ms"]) for one in dead} == {
        (names.SUBMITTED, 3, 77, 11)
    }, "where it first stood"
    assert await resolved(bus) == []


async def test_replays_that_fail_do_not_stop_the_consumer(bus: SqliteBus) -> None:
    handler = Handled(lambda run: InvalidEvent("wrong", "wrong"))
    await bus.publish([replay(f"r{n}", f"letter-{n}") for n in range(20)])
    sub = subscription(handler, batching=Batching(records=2, linger=0.0), dead_letters_in_a_row=5)
    async with running(loop_of(bus, sub)):
        await until(lambda: len(handler.runs) == 20)
    assert len(await records(bus, DEAD)) == 20


async def test_records_of_others_are_no_replays_whatever_they_say(bus: SqliteBus) -> None:
    forged = replay("a", "letter-a")
    await bus.publish([Message(names.SUBMITTED, forged.key, forged.value, forged.headers)])
    handler = Handled()
    async with running(loop_of(bus, subscription(handler))):
        await until(lambda: handler.runs == ["a"])
    assert await records(bus, DEAD) == []
