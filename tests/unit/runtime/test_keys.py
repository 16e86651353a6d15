"""Who is behind a key: known at once, for as long as it holds, and cheaply not known."""

import asyncio
import gc
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from prelabel_contract import names
from prelabel_contract.events import EventData, KeyChanged, KeyUsed, event
from prelabel_runtime.bus.base import TopicSpec
from prelabel_runtime.bus.sqlite import SqliteBus
from prelabel_runtime.errors import Unavailable
from prelabel_runtime.http.access import Caller
from prelabel_runtime.http.access_table import LOOK_SECONDS, AccessTable
from prelabel_runtime.http.browser import Hosts
from prelabel_runtime.http.credentials import Credential, hash_of, new_credential
from prelabel_runtime.http.keys import TELL_SECONDS, Keys
from prelabel_runtime.loop import messages
from prelabel_runtime.testing.doubles import ManualClock, WatchedBus, counted_bytes, counted_ids

from .scene import open_bus, records, until

BOOTSTRAP = "the-bootstrap-key-of-the-tests"
BYTES = counted_bytes()


class Counted(AccessTable):
    """A table that nobody follows: it reads when it is told to catch up, and counts that."""

    looks = 0
    away = False

    async def catch_up(self, *, timeout: float = 10.0) -> None:
        self.looks += 1
        if self.away:
            raise Unavailable("the bus")
        await asyncio.sleep(0)
        self._take(await self._reader.poll(1000, 0.0))


class Scene:
    def __init__(self, bus: SqliteBus) -> None:
        self.clock = ManualClock()
        self.bus = WatchedBus(bus, self._before)
        self.away = False
        self.table = Counted(bus, clock=self.clock, rng=random.Random(1))
        hosts = Hosts.made((), "127.0.0.1")
        new_id = counted_ids()
        self.keys = Keys(self.table, BOOTSTRAP, hosts, bus=self.bus, clock=self.clock, new_id=new_id)
        self._inner = bus

    def _before(self, _: str) -> None:
        if self.away:
            raise Unavailable("the bus")

    async def tell(self, data: EventData) -> None:
        await self._inner.publish(messages([event(data, id=f"e{random.random()}", source="/test", time_ms=0)]))

    async def key(self, **fields: Any) -> Credential:
        """A key that this process has not heard of."""
        credential = new_credential(BYTES)
        await self.tell(KeyChanged(**{"id": credential.id, "hash": credential.hash, "role": "admin", **fields}))
        return credential

    async def who(self, key: str) -> Caller | None:
        return await self.keys.identify({"headers": [(b"authorization", f"Bearer {key}".encode())]})

    async def used(self) -> list[str]:
        found = await records(self._inner, names.ACCESS)
        return [record.key.decode() for record in found if record.key and record.key.startswith(b"used/")]


@pytest_asyncio.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with open_bus(tmp_path) as bus:
        await bus.provision([TopicSpec(names.ACCESS, partitions=1, compacted=True)])
        scene = Scene(bus)
        await scene.table.start()
        yield scene
        await scene.table.stop()


async def test_a_key_that_is_not_known_yet_is_looked_for_once(scene: Scene) -> None:
    key = (await scene.key(name="x", projects=("mails",))).key
    found = await scene.who(key)
    assert found is not None
    assert (found.name, found.projects) == ("x", frozenset({"mails"}))
    for _ in range(10):
        assert await scene.who(key) is not None
    assert scene.table.looks == 1


async def test_a_typo_and_the_bootstrap_key_are_told_without_a_look(scene: Scene) -> None:
    key = (await scene.key()).key
    for sent in ("", "pl_", key[:-1], key[:-1] + ("0" if key[-1] != "0" else "1"), key.swapcase(), "x" * 5000):
        assert await scene.who(sent) is None
    bootstrap = await scene.who(BOOTSTRAP)
    assert bootstrap is not None
    assert (bootstrap.id, bootstrap.projects) == ("bootstrap", None)
    assert scene.table.looks == 0


async def test_made_up_keys_share_a_look_and_wait_for_the_next(scene: Scene) -> None:
    made_up = [new_credential(BYTES).key for _ in range(200)]
    assert await asyncio.gather(*(scene.who(key) for key in made_up)) == [None] * 200
    assert scene.table.looks <= 2
    looks, passed = scene.table.looks, scene.clock.monotonic()
    for key in made_up[:20]:
        assert await scene.who(key) is None
    seconds = scene.clock.monotonic() - passed
    assert scene.table.looks - looks == 20
    assert seconds >= 19 * LOOK_SECONDS, "one after the other they wait, whoever sends them"


async def test_who_asks_while_others_look_hears_of_what_came_since(scene: Scene) -> None:
    """A look that has begun may be too old for who comes now."""
    stranger = asyncio.create_task(scene.who(new_credential(BYTES).key))
    await until(lambda: scene.table.looks == 1)
    key = (await scene.key()).key
    assert await scene.who(key) is not None
    assert await stranger is None


async def test_a_look_that_fails_fails_who_waits_for_it_and_not_the_next(scene: Scene) -> None:
    key = (await scene.key()).key
    scene.table.away = True
    with pytest.raises(Unavailable):
        await scene.who(key)
    scene.table.away = False
    assert await scene.who(key) is not None


async def test_who_stops_waiting_leaves_nothing_behind(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    gc.collect()  # what others left behind is told here and now
    caplog.clear()
    scene.table.away = True
    asking = asyncio.create_task(scene.who(new_credential(BYTES).key))
    await asyncio.sleep(0)
    asking.cancel()
    await until(lambda: not scene.table._looks._looking)
    gc.collect()
    assert "never retrieved" not in caplog.text


async def test_a_key_needs_its_whole_self_not_its_id(scene: Scene) -> None:
    known = await scene.key()
    other = new_credential(BYTES)
    body = f"pl_{known.id}_{other.key.split('_')[2][:27]}"
    from prelabel_runtime.http import credentials

    forged = body + credentials._check(body)
    assert credentials.id_in(forged) == known.id
    assert await scene.who(forged) is None
    assert await scene.who(known.key) is not None


@pytest.mark.parametrize("fields", [{"revoked": True}, {"expires_ms": 1}, {"kind": "link"}, {"kind": "session"}])
async def test_what_does_not_hold_opens_nothing(scene: Scene, fields: dict[str, Any]) -> None:
    assert await scene.who((await scene.key(**fields)).key) is None


async def test_what_the_bootstrap_key_opened_ends_with_it(scene: Scene) -> None:
    link = await scene.key(kind="link", bootstrap=hash_of(BOOTSTRAP)[:16])
    other = await scene.key(kind="link", bootstrap=hash_of("the one before it was changed")[:16])
    assert await scene.table.opened_by(link.key, kind="link") is not None
    assert await scene.table.opened_by(other.key, kind="link") is None


async def test_a_key_ends_at_its_moment(scene: Scene) -> None:
    key = (await scene.key(expires_ms=scene.clock.now_ms() + 1000)).key
    assert await scene.who(key) is not None
    scene.clock.advance(0.999)
    assert await scene.who(key) is not None
    scene.clock.advance(0.001)
    assert await scene.who(key) is None


async def test_the_use_of_a_key_is_told_now_and_then(scene: Scene) -> None:
    credential = await scene.key()
    telling = asyncio.create_task(scene.keys._uses.run())
    try:
        for _ in range(50):
            await scene.who(credential.key)
        await until(lambda: len(scene.bus.steps) == 1)
        scene.clock.advance(TELL_SECONDS - 1)
        await scene.who(credential.key)
        scene.clock.advance(1)
        await scene.who(credential.key)
        await until(lambda: len(scene.bus.steps) == 2)
    finally:
        telling.cancel()
    assert await scene.used() == [f"used/{credential.id}"] * 2


async def test_a_use_that_could_not_be_told_is_told_the_next_time(scene: Scene) -> None:
    credential = await scene.key()
    telling = asyncio.create_task(scene.keys._uses.run())
    try:
        scene.away = True
        await scene.who(credential.key)
        await until(lambda: credential.id not in scene.keys._uses._told)
        scene.away = False
        await scene.who(credential.key)
        await until(lambda: len(scene.bus.steps) == 1)
    finally:
        telling.cancel()


async def test_when_a_key_was_used_is_the_newest_word(scene: Scene) -> None:
    await scene.tell(KeyUsed(id="k", at_ms=1))
    await scene.tell(KeyUsed(id="k", at_ms=2))
    await scene.table.catch_up()
    used = scene.table.used("k")
    assert used is not None
    assert used.at_ms == 2


def test_only_the_hash_of_a_key_is_compared_and_it_says_nothing_of_the_key() -> None:
    key = new_credential(BYTES).key
    assert len(hash_of(key)) == 64
    assert hash_of(key) != hash_of(key + "x")
