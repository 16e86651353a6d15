"""The delivery loop on the embedded bus: what it promises about every record."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import orjson
import pytest
import pytest_asyncio
from prelabel_contract import names
from prelabel_contract.errors import InvalidEvent
from prelabel_contract.events import Event, RunCreated, RunOpened, event
from prelabel_contract.limits import MAX_EVENT_BYTES
from prelabel_runtime.bus.base import Message, Partition, Record
from prelabel_runtime.bus.sqlite import SqliteBus
from prelabel_runtime.clock import SystemClock
from prelabel_runtime.dead_letters import DEAD_LETTER_HEADER, RETRY_HEADER
from prelabel_runtime.errors import TooManyDeadLetters, TryAgain, Unavailable
from prelabel_runtime.loop import messages
from prelabel_runtime.metrics import Metrics
from prelabel_runtime.service import Batching, Reply, RetryPolicy, each
from prelabel_runtime.streak import CULPRITS, Streak
from prelabel_runtime.testing.doubles import ManualClock, WatchedBus

from .scene import (
    GROUP,
    PLACE,
    Handled,
    committed,
    crash,
    created,
    loop_of,
    open_bus,
    opened,
    put,
    records,
    running,
    runs_in,
    submit,
    subscription,
    until,
)

DEAD = names.dead_letters(GROUP)
RETRY = names.retry(GROUP)


@pytest_asyncio.fixture
async def bus(tmp_path: Path) -> AsyncIterator[SqliteBus]:
    async with open_bus(tmp_path) as bus:
        yield bus


def why(record: Record, header: str = DEAD_LETTER_HEADER) -> dict[str, object]:
    found: dict[str, object] = orjson.loads(dict(record.headers)[header])
    return found


def sample(metrics: Metrics, name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(name, {"group": GROUP, **labels}) or 0.0


# ------------------------------------------------------------------------------------------------------ batches


@pytest.mark.parametrize(("most", "expected"), [(1, [1, 1, 1, 1, 1]), (250, [2, 2, 1]), (1 << 20, [5])])
async def test_a_batch_holds_no_more_bytes_than_it_may_but_always_a_record(
    bus: SqliteBus, most: int, expected: list[int]
) -> None:
    await submit(bus, *(letter * 60 for letter in "abcde"))  # some hundred bytes each
    handler = Handled()
    batching = Batching(records=10, linger=0.0, bytes=most)
    async with running(loop_of(bus, subscription(handler, batching=batching))):
        await until(lambda: len(handler.runs) == 5)
    assert [len(batch) for batch in handler.batches] == expected


# ------------------------------------------------------------------------------------- durable, then committed


async def test_what_came_of_a_record_is_durable_before_the_record_is_committed(bus: SqliteBus) -> None:
    watched = WatchedBus(bus)
    await submit(bus, "a", "b", "c")
    handler = Handled()
    async with running(loop_of(watched, subscription(handler))):
        await until(lambda: ("commit", {PLACE: (3, "")}) in watched.steps)
    steps = [what for what, _ in watched.steps]
    assert steps == ["commit", "publish", "commit"]  # the note of an attempt, the results, what is done
    assert await runs_in(bus, names.RUNS) == ["a", "b", "c"]


async def test_a_record_whose_results_cannot_be_published_stays_uncommitted_and_is_read_again(bus: SqliteBus) -> None:
    def broken(step: str) -> None:
        if step == "publish":
            raise OSError("the disk is gone")

    await submit(bus, "a")
    await crash(loop_of(WatchedBus(bus, broken), subscription(Handled())), OSError)
    done = await committed(bus)
    assert done is not None
    assert done.offset == 0
    handler = Handled()
    async with running(loop_of(bus, subscription(handler))):
        await until(lambda: handler.runs == ["a"])
    assert await runs_in(bus, names.RUNS) == ["a"]


async def test_a_handler_that_fails_leaves_its_whole_batch_uncommitted(bus: SqliteBus) -> None:
    async def fails(batch: Sequence[Event[RunOpened]]) -> Sequence[Reply]:
        raise ValueError("a defect")

    await submit(bus, "a", "b")
    await crash(loop_of(bus, subscription(fails)), ValueError)
    assert await runs_in(bus, names.RUNS) == []
    handler = Handled()
    async with running(loop_of(bus, subscription(handler))):
        await until(lambda: len(handler.runs) == 2)
    assert await runs_in(bus, names.RUNS) == ["a", "b"]


async def test_batches_that_are_handled_at_the_same_time_are_committed_in_order(bus: SqliteBus) -> None:
    first, second = asyncio.Event(), asyncio.Event()
    order: list[str] = []

    async def handle(batch: Sequence[Event[RunOpened]]) -> Sequence[Reply]:
        run = batch[0].data.run
        if run == "slow":
            first.set()
            await second.wait()
        else:
            await first.wait()
            second.set()
        order.append(run)
        return [[created(run)] for _ in batch]

    watched = WatchedBus(bus)
    await submit(bus, "slow", "quick")
    batching = Batching(records=1, linger=0.0, ahead=2)
    async with running(loop_of(watched, subscription(handle, batching=batching))):
        await until(lambda: ("commit", {PLACE: (2, "")}) in watched.steps)
    ends = [done for what, done in watched.steps if what == "commit"]
    assert ends[1:] == [{PLACE: (1, "")}, {PLACE: (2, "")}]
    assert await runs_in(bus, names.RUNS) == ["slow", "quick"]


async def test_a_batch_behind_one_that_failed_is_not_committed(bus: SqliteBus) -> None:
    second_is_here = asyncio.Event()

    async def handle(batch: Sequence[Event[RunOpened]]) -> Sequence[Reply]:
        if batch[0].data.run == "bad":
            await second_is_here.wait()
            raise ValueError("a defect")
        second_is_here.set()
        return [[created(e.data.run)] for e in batch]

    await submit(bus, "bad", "good")
    await crash(loop_of(bus, subscription(handle, batching=Batching(records=1, linger=0.0, ahead=2))), ValueError)
    done = await committed(bus)
    assert done is not None
    assert done.offset == 0
    assert await runs_in(bus, names.RUNS) == []


async def test_a_stop_finishes_what_is_in_flight_and_takes_no_more(bus: SqliteBus) -> None:
    handler = Handled()
    handler.gate = asyncio.Event()
    await submit(bus, "a")
    loop = loop_of(bus, subscription(handler))
    async with running(loop) as task:
        await until(lambda: handler.runs == ["a"])
        loop.stop()
        await submit(bus, "later")
        await asyncio.wait({task}, timeout=0)
        assert not task.done()
        handler.gate.set()
    assert handler.runs == ["a"]
    assert await runs_in(bus, names.RUNS) == ["a"]
    done = await committed(bus)
    assert done == (1, "")


# ------------------------------------------------------------------------------------------------- dead letters


async def test_an_invalid_record_is_dead_lettered_as_it_was_and_the_rest_of_its_batch_goes_on(bus: SqliteBus) -> None:
    await submit(bus, "before")
    await put(bus, b"\xff\x00 no json", ("ce_specversion", b"1.0"), ("odd", b"\xff\xfe"), ("odd", b"twice"))
    await submit(bus, "after")
    handler, metrics = Handled(), Metrics()
    async with running(loop_of(bus, subscription(handler), metrics=metrics)):
        await until(lambda: len(handler.runs) == 2)
    assert await runs_in(bus, names.RUNS) == ["before", "after"]
    [dead] = await records(bus, DEAD)
    assert dead.key == b"key"
    assert dead.value == b"\xff\x00 no json"
    assert dead.headers[:-1] == (("ce_specversion", b"1.0"), ("odd", b"\xff\xfe"), ("odd", b"twice"))
    told = why(dead)
    assert (told["topic"], told["partition"], told["offset"]) == (names.SUBMITTED, 0, 1)
    assert told["reason"] == "not_a_cloudevent"
    assert sample(metrics, "prelabel_records_dead_lettered_total", reason="not_a_cloudevent") == 1


async def test_a_header_of_a_cloudevent_that_is_not_utf8_is_dead_lettered(bus: SqliteBus) -> None:
    await put(bus, b"{}", ("ce_specversion", b"1.0"), ("ce_id", b"\xff"))
    async with running(loop_of(bus, subscription(Handled()))):
        await _arrived(bus, DEAD, 1)
    [dead] = await records(bus, DEAD)
    assert why(dead)["reason"] == "not_a_cloudevent"
    assert dead.headers[1] == ("ce_id", b"\xff")


@pytest.mark.parametrize(
    ("value", "reason"),
    [(b"not json", "invalid"), (b'{"project": "mails"}', "invalid"), (None, "tombstone"), (b"[]", "invalid")],
)
async def test_data_that_does_not_fit_its_type_is_dead_lettered(
    bus: SqliteBus, value: bytes | None, reason: str
) -> None:
    await put(bus, value, *_headers("prelabel.run.opened.v1"))
    async with running(loop_of(bus, subscription(Handled()))):
        await _arrived(bus, DEAD, 1)
    [dead] = await records(bus, DEAD)
    assert dead.value == value
    assert why(dead)["reason"] == reason


async def test_an_unknown_major_version_is_dead_lettered(bus: SqliteBus) -> None:
    await put(bus, b"{}", *_headers("prelabel.run.opened.v2"))
    async with running(loop_of(bus, subscription(Handled()))):
        await _arrived(bus, DEAD, 1)
    assert why((await records(bus, DEAD))[0])["reason"] == "unknown_major_version"


async def test_types_that_nobody_knows_or_asked_for_are_skipped(bus: SqliteBus) -> None:
    await put(bus, b"{}", *_headers("prelabel.weather.changed.v1"))
    await bus.publish([Message(names.SUBMITTED, b"k", m.value, m.headers) for m in messages([created("x")])])
    await submit(bus, "a")
    handler, metrics = Handled(), Metrics()
    async with running(loop_of(bus, subscription(handler), metrics=metrics)):
        await until(lambda: handler.runs == ["a"])
    assert await records(bus, DEAD) == []
    assert sample(metrics, "prelabel_records_skipped_total") == 2
    assert await committed(bus) == (3, "")


async def test_a_handler_may_refuse_one_event_of_its_batch(bus: SqliteBus) -> None:
    handler = Handled(lambda run: InvalidEvent("unknown_project", "there is no such project") if run == "b" else None)
    await submit(bus, "a", "b", "c")
    async with running(loop_of(bus, subscription(handler))):
        await _arrived(bus, names.RUNS, 2)
    assert await runs_in(bus, names.RUNS) == ["a", "c"]
    [dead] = await records(bus, DEAD)
    assert why(dead)["reason"] == "unknown_project"
    assert why(dead)["detail"] == "there is no such project"


async def test_output_that_no_topic_takes_dead_letters_what_it_came_of(bus: SqliteBus) -> None:
    huge = event(RunCreated(project="mails", run="x" * MAX_EVENT_BYTES), id="huge", source="/test", time_ms=0)
    handler = Handled(lambda run: [created("small"), huge] if run == "b" else None)
    await submit(bus, "a", "b")
    async with running(loop_of(bus, subscription(handler))):
        await _arrived(bus, DEAD, 1)
    assert why((await records(bus, DEAD))[0])["reason"] == "output_too_large"
    assert await runs_in(bus, names.RUNS) == ["a"]


async def test_too_many_dead_letters_in_a_row_stop_the_consumer(bus: SqliteBus) -> None:
    handler = Handled(lambda run: InvalidEvent("wrong", "all is wrong"))
    await submit(bus, *(f"r{number}" for number in range(20)))
    sub = subscription(handler, batching=Batching(records=1, linger=0.0), dead_letters_in_a_row=5)
    await crash(loop_of(bus, sub), TooManyDeadLetters)
    assert len(handler.runs) == 6
    assert len(await records(bus, DEAD)) == 6


async def test_one_good_record_ends_a_row_of_dead_letters(bus: SqliteBus) -> None:
    handler = Handled(lambda run: None if run.startswith("good") else InvalidEvent("wrong", "wrong"))
    names_ = [f"good{n}" if n % 5 == 0 else f"bad{n}" for n in range(20)]
    await submit(bus, *names_)
    sub = subscription(handler, batching=Batching(records=3, linger=0.0), dead_letters_in_a_row=5)
    async with running(loop_of(bus, sub)):
        await until(lambda: len(handler.runs) == 20)


async def test_topics_that_others_write_are_never_stopped_by_what_they_hold(bus: SqliteBus) -> None:
    handler = Handled(lambda run: InvalidEvent("wrong", "wrong"))
    await submit(bus, *(f"r{number}" for number in range(300)))
    async with running(loop_of(bus, subscription(handler, dead_letters_in_a_row=None))):
        await _arrived(bus, DEAD, 300)


# ------------------------------------------------------------------------------------------------------ retries


async def test_a_record_to_be_tried_again_waits_in_the_retry_topic_and_not_shorter_than_asked(bus: SqliteBus) -> None:
    clock = ManualClock()
    tries: list[str] = []

    def tell(run: str) -> Reply | None:
        tries.append(run)
        return TryAgain("busy", after=30) if run == "busy" and tries.count("busy") == 1 else None

    handler = Handled(tell)
    await submit(bus, "busy", "free")
    async with running(loop_of(bus, subscription(handler), clock=clock)):
        await _arrived(bus, RETRY, 1)
        [waiting] = await records(bus, RETRY)
        assert why(waiting, RETRY_HEADER)["not_before_ms"] == clock.now_ms() + 30_000
        clock.advance(29.9)
        for number in range(3):  # the loop polls, and takes what is due
            await submit(bus, f"next{number}")
            await until(lambda run=f"next{number}": run in handler.runs)  # type: ignore[misc]
        assert handler.runs.count("busy") == 1
        clock.advance(0.2)
        await until(lambda: handler.runs.count("busy") == 2)
    assert sorted(await runs_in(bus, names.RUNS)) == ["busy", "free", "next0", "next1", "next2"]
    assert await records(bus, DEAD) == []


async def test_a_record_is_tried_so_often_waits_longer_each_time_and_is_then_given_up(bus: SqliteBus) -> None:
    clock = ManualClock()
    handler = Handled(lambda run: TryAgain("busy", after=10))
    await submit(bus, "busy")
    sub = subscription(handler, retry=RetryPolicy(attempts=4, longest=25))
    async with running(loop_of(bus, sub, clock=clock)):
        for attempt in (1, 2, 3):
            await _arrived(bus, RETRY, attempt)
            clock.advance(25)
        await _arrived(bus, DEAD, 1)
    assert len(handler.runs) == 4
    waits = [why(r, RETRY_HEADER) for r in await records(bus, RETRY)]
    assert [int(str(w["not_before_ms"])) - int(str(w["at_ms"])) for w in waits] == [10_000, 20_000, 25_000]
    [dead] = await records(bus, DEAD)
    told = why(dead)
    assert told["reason"] == "retries_exhausted"
    assert told["detail"] == "busy"
    assert (told["topic"], told["offset"], told["attempts"]) == (names.SUBMITTED, 0, 3)
    assert RETRY_HEADER not in dict(dead.headers)
    assert dead.value == messages([opened("busy")])[0].value


async def test_what_waits_to_be_tried_again_survives_a_restart(bus: SqliteBus) -> None:
    clock = ManualClock()
    handler = Handled(lambda run: TryAgain("busy", after=60))
    await submit(bus, "busy")
    async with running(loop_of(bus, subscription(handler), clock=clock)):
        await _arrived(bus, RETRY, 1)
    second = Handled()
    async with running(loop_of(bus, subscription(second), clock=clock)):
        await submit(bus, "other")
        await until(lambda: second.runs == ["other"])
        clock.advance(61)
        await until(lambda: second.runs == ["other", "busy"])


@pytest.mark.parametrize("header", [RETRY_HEADER, DEAD_LETTER_HEADER])
@pytest.mark.parametrize("value", [b'{"attempts": "x"}', b"[]", b"\xff", b'{"not_before_ms": 9999999999999}'])
async def test_headers_of_ours_that_somebody_forged_change_nothing(bus: SqliteBus, header: str, value: bytes) -> None:
    [message] = messages([opened("a")])
    await bus.publish([Message(names.SUBMITTED, b"k", message.value, (*message.headers, (header, value)))])
    tries: list[str] = []

    def tell(run: str) -> Reply | None:
        tries.append(run)
        return TryAgain("busy", after=0) if len(tries) == 1 else None

    async with running(loop_of(bus, subscription(Handled(tell)))):
        await until(lambda: len(tries) == 2)
    assert await runs_in(bus, names.RUNS) == ["a"]


# -------------------------------------------------------------------------------------------- a dependency is down


async def test_a_dependency_that_is_down_is_waited_for_in_place_and_nothing_is_set_aside(bus: SqliteBus) -> None:
    clock, metrics = ManualClock(), Metrics()
    waited_for: list[str | None] = []
    down = 7

    async def handle(batch: Sequence[Event[RunOpened]]) -> Sequence[Reply]:
        nonlocal down
        if down:
            waited_for.append(loop.waiting_for)
            down -= 1
            raise Unavailable("the store")
        return [[created(e.data.run)] for e in batch]

    await submit(bus, "a", "b")
    loop = loop_of(bus, subscription(handle), clock=clock, metrics=metrics)
    async with running(loop):
        await _arrived(bus, names.RUNS, 2)
        assert loop.waiting_for is None
    assert await records(bus, RETRY) == []
    assert await records(bus, DEAD) == []
    assert waited_for == [None, *["the store"] * 6]
    assert len(clock.slept) == 7
    assert max(clock.slept) <= 10
    assert sample(metrics, "prelabel_handling_failed_total", error="Unavailable") == 7


async def test_a_bus_that_is_down_is_waited_for_at_every_step(bus: SqliteBus) -> None:
    left = dict.fromkeys(("start", "poll", "publish", "commit"), 2)

    def flaky(step: str) -> None:
        if left[step]:
            left[step] -= 1
            raise Unavailable("the bus")

    handler = Handled()
    await submit(bus, "a")
    async with running(loop_of(WatchedBus(bus, flaky), subscription(handler), clock=ManualClock())):
        await until(lambda: not any(left.values()))
        await _arrived(bus, names.RUNS, 1)
    assert handler.runs == ["a"]  # handled once, though publishing took three attempts
    assert await runs_in(bus, names.RUNS) == ["a"]


async def test_waiting_for_a_dependency_is_no_attempt_however_often_the_process_is_ended_meanwhile(
    bus: SqliteBus,
) -> None:
    async def down(batch: Sequence[Event[RunOpened]]) -> Sequence[Reply]:
        raise Unavailable("the store")

    await submit(bus, "innocent")
    for _ in range(6):
        watched = WatchedBus(bus)
        task = asyncio.create_task(loop_of(watched, subscription(down), clock=ManualClock()).run())
        await until(lambda steps=watched.steps: len(steps) == 2)  # type: ignore[misc]
        task.cancel()  # as a kill would: nothing is tidied up
        await asyncio.gather(task, return_exceptions=True)
    assert await committed(bus) == (0, "")
    handler = Handled()
    async with running(loop_of(bus, subscription(handler))):
        await until(lambda: handler.runs == ["innocent"])
    assert await records(bus, DEAD) == []


async def test_a_stop_while_a_dependency_is_down_ends_soon_and_loses_nothing(bus: SqliteBus) -> None:
    async def down(batch: Sequence[Event[RunOpened]]) -> Sequence[Reply]:
        raise Unavailable("the store")

    await submit(bus, "a")
    loop = loop_of(bus, subscription(down), clock=ManualClock())
    task = asyncio.create_task(loop.run())
    await until(lambda: loop.waiting_for == "the store")
    loop.stop()
    with pytest.raises(BaseExceptionGroup) as ended:
        await asyncio.wait_for(task, 60)
    assert ended.group_contains(Unavailable)
    assert await committed(bus) == (0, "")


# ------------------------------------------------------------------------------------------------------- defects


async def test_the_record_that_ends_its_process_is_found_and_dead_lettered_alone(bus: SqliteBus) -> None:
    seen: list[list[str]] = []

    async def handle(batch: Sequence[Event[RunOpened]]) -> Sequence[Reply]:
        runs = [e.data.run for e in batch]
        seen.append(runs)
        if "killer" in runs:
            raise ValueError("dies")
        return [[created(run)] for run in runs]

    others = [f"r{number}" for number in range(9)]
    await submit(bus, *others[:4], "killer", *others[4:])
    for _ in range(3):
        await crash(loop_of(bus, subscription(handle)), ValueError)
    assert seen[:2] == [[*others[:4], "killer", *others[4:]]] * 2
    assert seen[2:] == [["r0"], ["r1"], ["r2"], ["r3"], ["killer"]]
    async with running(loop_of(bus, subscription(handle))):
        await _arrived(bus, names.RUNS, 9)
    assert seen.count(["killer"]) == 1
    assert await runs_in(bus, names.RUNS) == others
    [dead] = await records(bus, DEAD)
    assert why(dead)["reason"] == "kills_its_process"
    assert dead.value == messages([opened("killer")])[0].value


async def test_a_handler_that_fails_on_everything_stops_the_process_instead_of_draining_the_topic(
    bus: SqliteBus,
) -> None:
    await submit(bus, *(f"r{number}" for number in range(50)))
    streak = Streak()

    async def handle(batch: Sequence[Event[RunOpened]]) -> Sequence[Reply]:
        raise ValueError("a defect")

    for _ in range(2 + CULPRITS):
        await crash(loop_of(bus, subscription(handle), streak=streak), ValueError)
    await crash(loop_of(bus, subscription(handle), streak=streak), TooManyDeadLetters)
    assert len(await records(bus, DEAD)) == CULPRITS


async def test_after_the_culprit_records_run_together_again(bus: SqliteBus) -> None:
    handler = Handled(lambda run: _die() if run == "killer" else None)
    await submit(bus, "killer", "a", "b")
    for _ in range(3):
        await crash(loop_of(bus, subscription(handler)), ValueError)
    watched = WatchedBus(bus)
    calm = Handled()
    loop = loop_of(watched, subscription(calm))
    async with running(loop):
        await until(lambda: calm.runs == ["a", "b"])
        await until(lambda: ("commit", {PLACE: (3, "")}) in watched.steps)  # the note is gone
        await submit(bus, *(f"n{number}" for number in range(10)))
        await until(lambda: len(calm.runs) == 12)
    assert calm.batches == [["a"], ["b"], [f"n{number}" for number in range(10)]]


async def test_a_record_that_failed_twice_and_then_passes_is_not_suspected(bus: SqliteBus) -> None:
    await submit(bus, "a", "b")
    for _ in range(2):
        await crash(loop_of(bus, subscription(Handled(lambda run: _die()))), ValueError)
    handler = Handled()
    async with running(loop_of(bus, subscription(handler))):
        await _arrived(bus, names.RUNS, 2)
    assert handler.batches == [["a"], ["b"]]
    assert await records(bus, DEAD) == []


async def test_several_records_that_end_their_process_are_found_one_after_another(bus: SqliteBus) -> None:
    await submit(bus, "a", "killer1", "b", "killer2", "c")
    for _ in range(4):
        await crash(loop_of(bus, subscription(Handled(_die_of_killers))), ValueError)
    handler = Handled(_die_of_killers)
    async with running(loop_of(bus, subscription(handler))):
        await until(lambda: handler.runs == ["c"])
    assert [why(r)["offset"] for r in await records(bus, DEAD)] == [1, 3]
    assert await runs_in(bus, names.RUNS) == ["a", "b", "c"]


async def test_a_handler_with_a_wrong_number_of_replies_is_a_defect_and_commits_nothing(bus: SqliteBus) -> None:
    async def forgetful(batch: Sequence[Event[RunOpened]]) -> Sequence[Reply]:
        return [() for _ in batch[1:]]

    await submit(bus, "a", "b")
    await crash(loop_of(bus, subscription(forgetful)), RuntimeError)
    done = await committed(bus)
    assert done is not None
    assert done.offset == 0


# ------------------------------------------------------------------------------------------------------- batches


async def test_records_that_come_within_the_linger_share_a_batch(bus: SqliteBus) -> None:
    handler = Handled()
    async with running(loop_of(bus, subscription(handler, batching=Batching(records=3, linger=60.0)))):
        await until(lambda: True)
        for run in ("a", "b", "c"):
            await submit(bus, run)
        await until(lambda: len(handler.runs) == 3)
    assert handler.batches == [["a", "b", "c"]]  # full, so it did not wait out its linger


class _Waiting(SystemClock):
    """A clock whose sleepers wait for a word."""

    def __init__(self) -> None:
        self.asked: list[float] = []
        self.wake = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        self.asked.append(seconds)
        await self.wake.wait()


async def test_what_trickles_in_is_handled_at_a_pace_and_the_first_of_it_at_once(bus: SqliteBus) -> None:
    handler, clock = Handled(), _Waiting()
    sub = subscription(handler, batching=Batching(records=10, linger=0.0, pace=600.0))
    async with running(loop_of(bus, sub, clock=clock)):
        await submit(bus, "a")
        await until(lambda: handler.runs == ["a"])
        await submit(bus, "b")
        await until(lambda: bool(clock.asked))
        await submit(bus, "c")
        await submit(bus, "d")
        clock.wake.set()
        await until(lambda: len(handler.runs) == 4)
    assert handler.batches == [["a"], ["b", "c", "d"]]
    assert 500.0 < clock.asked[0] <= 600.0


async def test_a_full_batch_does_not_wait_for_its_pace(bus: SqliteBus) -> None:
    handler, clock = Handled(), _Waiting()
    sub = subscription(handler, batching=Batching(records=2, linger=0.0, pace=60.0))
    await submit(bus, "a", "b", "c", "d")
    async with running(loop_of(bus, sub, clock=clock)):
        await until(lambda: len(handler.runs) == 4)
    assert not clock.asked


async def test_a_batch_holds_at_most_its_number_of_records(bus: SqliteBus) -> None:
    handler = Handled()
    await submit(bus, *(f"r{number}" for number in range(25)))
    async with running(loop_of(bus, subscription(handler, batching=Batching(records=10, linger=0.05)))):
        await until(lambda: len(handler.runs) == 25)
    assert [len(batch) for batch in handler.batches] == [10, 10, 5]


async def test_each_makes_a_handler_whose_errors_concern_one_event(bus: SqliteBus) -> None:
    async def one(e: Event[RunOpened]) -> Sequence[Event[RunCreated]]:
        if e.data.run == "bad":
            raise InvalidEvent("wrong", "wrong")
        return [event(RunCreated(project="mails", run=e.data.run), id=e.id, source="/test", time_ms=0)]

    await submit(bus, "a", "bad", "b")
    async with running(loop_of(bus, subscription(each(one)))):
        await _arrived(bus, names.RUNS, 2)
    assert await runs_in(bus, names.RUNS) == ["a", "b"]
    assert len(await records(bus, DEAD)) == 1


async def test_while_a_batch_takes_long_the_loop_keeps_polling(bus: SqliteBus) -> None:
    handler = Handled()
    handler.gate = asyncio.Event()
    await submit(bus, "a")
    loop = loop_of(bus, subscription(handler))
    async with running(loop):
        await until(lambda: handler.runs == ["a"])
        await submit(bus, "b")
        for _ in range(2):
            before = loop.polled_at
            await until(lambda before=before: loop.polled_at > before)  # type: ignore[misc]
        handler.gate.set()
    assert loop.polled_at > 0


async def test_lag_counts_what_was_not_read_yet(bus: SqliteBus) -> None:
    handler = Handled()
    loop = loop_of(bus, subscription(handler))
    async with running(loop):
        await submit(bus, "a")
        await until(lambda: handler.runs == ["a"])
        assert await loop.lag() == {names.SUBMITTED: 0, RETRY: 0}


def _die() -> Reply:
    raise ValueError("a defect")


def _die_of_killers(run: str) -> Reply | None:
    return _die() if run.startswith("killer") else None


def _headers(kind: str) -> tuple[tuple[str, bytes], ...]:
    return (
        ("ce_specversion", b"1.0"),
        ("ce_type", kind.encode()),
        ("ce_source", b"/test"),
        ("ce_id", b"1"),
        ("content-type", b"application/json"),
    )


async def _arrived(bus: SqliteBus, topic: str, count: int) -> None:
    place = Partition(topic, 0)
    reader = bus.reader((topic,), start="beginning")
    await reader.start()
    try:
        async with asyncio.timeout(60):
            while (await reader.ends())[place] < count:  # noqa: ASYNC110 - nothing tells when a record is durable
                await asyncio.sleep(0.005)
    finally:
        await reader.stop()
