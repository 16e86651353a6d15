"""Tables, probes, logs and waits."""

import asyncio
import contextlib
import json
import logging
import random
import threading
from collections.abc import AsyncIterator, Callable
from itertools import islice
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from hypothesis import example, given
from hypothesis import strategies as st
from prelabel_contract import names
from prelabel_contract.events import ProjectChanged, event
from prelabel_contract.projects import LabelSet, Project, Question
from prelabel_runtime import log
from prelabel_runtime.bus.base import Message, TopicSpec
from prelabel_runtime.bus.sqlite import SqliteBus
from prelabel_runtime.clock import SystemClock
from prelabel_runtime.errors import Unavailable
from prelabel_runtime.health import POLL_AGE_LIMIT, Health, probes
from prelabel_runtime.loop import messages
from prelabel_runtime.metrics import Metrics
from prelabel_runtime.retry import backoff
from prelabel_runtime.tables import Table
from prelabel_runtime.testing.doubles import ManualClock, counted_bytes

from .scene import Handled, loop_of, open_bus, running, submit, subscription, until

LABELS = LabelSet(questions=(Question(name="topic", kind="choice", field="text", labels=("a",)),))


@pytest_asyncio.fixture
async def bus(tmp_path: Path) -> AsyncIterator[SqliteBus]:
    async with open_bus(tmp_path) as bus:
        await bus.provision([TopicSpec(names.PROJECTS, partitions=1, compacted=True)])
        yield bus


async def change(bus: SqliteBus, project: str, version: int) -> None:
    value = Project(id=project, label_set=LABELS)
    data = ProjectChanged(project=value, config=value.config_hash, version=version)
    await bus.publish(messages([event(data, id=f"{project}-{version}", source="/test", time_ms=0)]))


@contextlib.asynccontextmanager
async def followed(bus: SqliteBus) -> AsyncIterator[Table[ProjectChanged]]:
    table = Table(bus, names.PROJECTS, ProjectChanged, rng=random.Random(1))
    await table.start()
    following = asyncio.create_task(table.run())
    try:
        yield table
    finally:
        following.cancel()
        await asyncio.wait({following})
        await table.stop()


# ------------------------------------------------------------------------------------------------------- tables


async def test_a_table_holds_the_newest_value_of_every_key_once_it_has_started(bus: SqliteBus) -> None:
    for version in (1, 2, 3):
        await change(bus, "mails", version)
    await change(bus, "other", 1)
    async with followed(bus) as table:
        assert {name: row.version for name, row in table.rows().items()} == {"mails": 3, "other": 1}


async def test_a_table_finds_what_was_published_before_it_was_asked(bus: SqliteBus) -> None:
    async with followed(bus) as table:
        assert await table.find("mails") is None
        await change(bus, "mails", 1)
        found = await table.find("mails")
        assert found is not None
        await change(bus, "mails", 2)
        await table.catch_up()
        assert table.rows()["mails"].version == 2


async def test_a_table_leaves_out_what_it_cannot_read_and_goes_on(bus: SqliteBus) -> None:
    await bus.publish([Message(names.PROJECTS, b"odd", b"not an event"), Message(names.PROJECTS, b"gone", None)])
    await change(bus, "mails", 1)
    async with followed(bus) as table:
        assert list(table.rows()) == ["mails"]


async def test_a_table_that_nobody_advances_says_that_its_topic_does_not_answer(bus: SqliteBus) -> None:
    table = Table(bus, names.PROJECTS, ProjectChanged, rng=random.Random(1))
    await table.start()
    await change(bus, "mails", 1)
    with pytest.raises(Unavailable, match=names.PROJECTS):
        await table.find("mails", timeout=0.05)
    await table.stop()


# ------------------------------------------------------------------------------------------------------- probes


async def test_a_process_is_ready_when_every_loop_has_joined_and_none_waits(bus: SqliteBus) -> None:
    health = Health(SystemClock())
    assert health.unready() == {"process": "starting"}
    handler = Handled()
    loop = health.loops["dispatcher"] = loop_of(bus, subscription(handler))
    health.started = True
    assert health.unready() == {"dispatcher": "joining"}
    async with running(loop):
        await until(lambda: not health.unready())
        await submit(bus, "a")
        await until(lambda: handler.runs == ["a"])
        health.defects["training"] = "restarting after ValueError"
        assert health.unready() == {"training": "restarting after ValueError"}
        assert health.unwell() == {}  # a defect elsewhere is no reason to kill it
    assert "dispatcher" in health.unready()


@pytest.mark.parametrize("path", ["/readyz", "/livez"])
async def test_a_probe_looks_between_two_steps_and_never_during_one(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[int] = []

    def look(_: Health) -> dict[str, str]:
        threads.append(threading.get_ident())  # any other one would look while the loop's thread changes something
        return {}

    for name in ("unready", "unwell"):
        monkeypatch.setattr(Health, name, look)
    app = httpx.ASGITransport(probes(Health(SystemClock()), Metrics()))
    async with httpx.AsyncClient(transport=app, base_url="http://probes") as client:
        assert (await client.get(path)).status_code == httpx.codes.OK
    assert threads == [threading.get_ident()]


async def test_a_loop_that_has_stopped_polling_is_unwell(bus: SqliteBus) -> None:
    clock = ManualClock()
    health = Health(clock)
    loop = health.loops["dispatcher"] = loop_of(bus, subscription(Handled()))
    async with running(loop):
        await until(lambda: loop.joined)
        clock.advance(loop.polled_at + POLL_AGE_LIMIT + 5)
        assert list(health.unwell()) == ["dispatcher"]


# --------------------------------------------------------------------------------------------------------- logs


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """What was logged since."""
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", list(root.handlers))
    monkeypatch.setattr(root, "level", root.level)
    return lambda: capsys.readouterr().err


def test_a_line_is_json_with_its_fields_and_long_ones_are_cut(logged: Callable[[], str]) -> None:
    log.configure()
    log.get("prelabel.test").info("something happened", task="t1", detail="x" * 1000, count=3)
    logging.getLogger("a.library").warning("said %s", "y" * 1000)
    ours, theirs = [json.loads(line) for line in logged().splitlines()]
    assert (ours["event"], ours["task"], ours["count"], ours["level"]) == ("something happened", "t1", 3, "info")
    assert ours["logger"] == "prelabel.test"
    assert ours["timestamp"].endswith("Z")
    assert len(ours["detail"]) == log.MAX_FIELD + 1
    assert len(theirs["event"]) == log.MAX_FIELD + 1


@pytest.mark.parametrize("pretty", [False, True])
def test_a_traceback_shows_no_local_variables(logged: Callable[[], str], pretty: bool) -> None:
    log.configure(pretty=pretty)
    payload = "-".join(["a", "task's", "text"])
    try:
        int(payload[:1] + "!")
    except ValueError as error:
        log.get("prelabel.test").error("a defect", exc_info=error)
    said = logged()
    assert "ValueError" in said
    assert payload not in said


def test_what_is_below_the_level_is_not_logged(logged: Callable[[], str]) -> None:
    log.configure("warning")
    log.get("prelabel.test").info("something happened")
    logging.getLogger("httpx").info("a request")
    assert logged() == ""


# -------------------------------------------------------------------------------------------------------- waits


def test_waits_grow_up_to_the_longest_and_are_never_longer() -> None:
    waits = list(islice(backoff(0.2, 10.0, random.Random(7)), 12))
    for wait, plain in zip(waits, [0.2 * 2**n for n in range(12)], strict=True):
        assert min(plain, 10.0) * 0.75 <= wait <= min(plain, 10.0)


async def test_a_manual_clock_moves_only_when_told() -> None:
    clock = ManualClock()
    before = clock.now_ms()
    clock.advance(1.5)
    await clock.sleep(2)
    assert (clock.now_ms() - before, clock.monotonic(), clock.slept) == (3500, 3.5, [2])
    random_bytes = counted_bytes()
    assert random_bytes(4) != random_bytes(4)


@given(st.lists(st.tuples(st.floats(0, 400), st.integers(1, 300)), max_size=5))
@example([(bound, 2) for bound in (0.001, 0.5, 300.0, 300.1, 0.0)])
def test_equal_timings_counted_at_once_say_what_they_say_one_by_one(observed: list[tuple[float, int]]) -> None:
    at_once, one_by_one = Metrics(), Metrics()
    for amount, times in observed:
        at_once.hop_seconds.labels("g").observe_times(amount, times)
        for _ in range(times):
            one_by_one.hop_seconds.labels("g").observe(amount)
    assert _hops(at_once) == pytest.approx(_hops(one_by_one))


def _hops(metrics: Metrics) -> dict[str, float]:
    family = next(f for f in metrics.registry.collect() if f.name == "prelabel_hop_seconds")
    return {s.name + s.labels.get("le", ""): s.value for s in family.samples if not s.name.endswith("_created")}
