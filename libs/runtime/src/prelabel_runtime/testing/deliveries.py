"""The promises of `store.deliveries`, as one suite for every implementation.

    class TestMyStore(DeliveryTests):
        @pytest.fixture
        def store_factory(self) -> StoreFactory:
            return lambda: MyStore(...)

Every test takes new names, so one database serves the whole suite.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio
from prelabel_contract import names

from prelabel_runtime.store.base import Store
from prelabel_runtime.store.deliveries import (
    DeliveryState,
    Owed,
    RecoveryState,
    StoredDelivery,
    StoredRecovery,
)
from prelabel_runtime.store.paging import PageKey
from prelabel_runtime.testing.store import StoreFactory, fresh, running

__all__ = ["DeliveryTests", "delivery", "recovery"]

PENDING, DELIVERED, EXHAUSTED = DeliveryState.PENDING, DeliveryState.DELIVERED, DeliveryState.EXHAUSTED


def delivery(subscription: str, name: str, **fields: Any) -> StoredDelivery:
    """A delivery that failed once."""
    one = StoredDelivery(
        id=f"{subscription}-{name}",
        subscription=subscription,
        event=f"event-{name}",
        type="prediction.created",
        project="p",
        task="t",
        topic=names.PREDICTIONS,
        partition=3,
        offset=17,
        event_ms=1000,
        state=PENDING,
        attempts=1,
        at_ms=2000,
        next_ms=3000,
        body='[{"status":500}]',
    )
    return replace(one, **fields)


def recovery(subscription: str, name: str, **fields: Any) -> StoredRecovery:
    """A recovery that has just begun."""
    one = StoredRecovery(name, subscription, 10, 20, 30, RecoveryState.RUNNING, 0)
    return replace(one, **fields)


class DeliveryTests:
    """Subclass it as TestX and give the fixture `store_factory`."""

    @pytest.fixture
    def store_factory(self) -> StoreFactory:
        """A new store on the same storage, each time it is called."""
        raise NotImplementedError

    @pytest_asyncio.fixture
    async def store(self, store_factory: StoreFactory) -> AsyncIterator[Store]:
        """A started store."""
        async with running(store_factory()) as store:
            yield store

    # ------------------------------------------------------------------------------------------- endpoints

    async def test_an_endpoint_is_held_by_one_owner_until_its_lease_ends(self, store: Store) -> None:
        name = fresh("endpoint")
        assert await store.endpoints.claim(name, "a", 0, 100) is None, "unknown"
        await store.endpoints.create(name, "first")
        await store.endpoints.create(name, "never")
        held = await store.endpoints.claim(name, "a", 0, 100)
        assert held is not None
        assert (held.body, held.owner, held.until_ms) == ("first", "a", 100)
        assert await store.endpoints.claim(name, "b", 100, 200) is None
        taken = await store.endpoints.claim(name, "b", 101, 200)
        assert taken is not None
        assert taken.epoch > held.epoch

    async def test_only_the_newest_epoch_writes(self, store: Store) -> None:
        name = fresh("endpoint")
        await store.endpoints.create(name, "first")
        old = await store.endpoints.claim(name, "a", 0, 100)
        new = await store.endpoints.claim(name, "b", 101, 200)
        assert old is not None
        assert new is not None
        assert not await store.endpoints.save(name, old.epoch, "of a")
        assert await store.endpoints.save(name, new.epoch, "of b")
        await store.endpoints.release(name, old.epoch)
        assert (await store.endpoints.all())[name] == replace(new, body="of b")

    async def test_an_owner_that_comes_back_takes_its_own_at_once(self, store: Store) -> None:
        name = fresh("endpoint")
        await store.endpoints.create(name, "first")
        before = await store.endpoints.claim(name, "a", 0, 100)
        again = await store.endpoints.claim(name, "a", 1, 101)
        assert before is not None
        assert again is not None
        assert again.epoch > before.epoch

    async def test_a_released_endpoint_is_free_at_once(self, store: Store) -> None:
        name = fresh("endpoint")
        await store.endpoints.create(name, "first")
        held = await store.endpoints.claim(name, "a", 0, 100)
        assert held is not None
        await store.endpoints.release(name, held.epoch)
        assert await store.endpoints.claim(name, "b", 1, 100) is not None

    async def test_renewing_tells_what_is_still_held(self, store: Store) -> None:
        names = [fresh("endpoint") for _ in range(3)]
        epochs: dict[str, int] = {}
        for name in names:
            await store.endpoints.create(name, "")
            held = await store.endpoints.claim(name, "a", 0, 100)
            assert held is not None
            epochs[name] = held.epoch
        await store.endpoints.claim(names[1], "b", 101, 200)
        assert await store.endpoints.renew("a", epochs, 300) == {names[0], names[2]}
        assert await store.endpoints.claim(names[0], "b", 250, 400) is None
        await store.endpoints.delete(names[2])
        assert await store.endpoints.renew("a", epochs, 400) == {names[0]}
        assert await store.endpoints.renew("a", {}, 400) == frozenset()

    async def test_of_many_claims_at_once_one_wins(self, store: Store) -> None:
        name = fresh("endpoint")
        await store.endpoints.create(name, "")
        claims = [store.endpoints.claim(name, f"owner {number}", 50, 100) for number in range(10)]
        won = [one for one in await asyncio.gather(*claims) if one is not None]
        assert len(won) == 1

    # ------------------------------------------------------------------------------------------ deliveries

    async def test_a_delivery_comes_back_as_it_was(self, store: Store) -> None:
        name = fresh("s")
        one = delivery(name, "a", body='[{"response":"👍 \\u0000 $set"}]')
        await store.deliveries.put([one])
        assert await store.deliveries.get(name, one.id) == one
        assert await store.deliveries.get("another", one.id) is None
        assert await store.deliveries.get_many([one.id, "unknown"]) == {one.id: one}

    async def test_the_latest_attempt_wins_in_any_order(self, store: Store) -> None:
        name = fresh("s")
        attempts = [
            delivery(name, "a"),
            delivery(name, "a", attempts=2, at_ms=5000, next_ms=9000),
            delivery(name, "a", attempts=3, at_ms=9000, state=DELIVERED, next_ms=0),
        ]
        for first, second, third in ((0, 1, 2), (2, 1, 0), (1, 2, 0)):
            await store.deliveries.put([attempts[first]])
            await store.deliveries.put([attempts[second], attempts[third]])
            assert await store.deliveries.get(name, attempts[0].id) == attempts[2]

    async def test_due_are_the_pending_ones_whose_time_has_come(self, store: Store) -> None:
        name = fresh("s")
        await store.deliveries.put(
            [delivery(name, f"d{number}", next_ms=100 * number) for number in range(5)]
            + [delivery(name, "over", state=EXHAUSTED, next_ms=0), delivery(fresh("other"), "x", next_ms=0)]
        )
        due = await store.deliveries.due(name, 300, limit=10)
        assert [one.next_ms for one in due] == [0, 100, 200, 300]
        assert len(await store.deliveries.due(name, 300, limit=2)) == 2
        assert (await store.deliveries.owed())[name] == Owed(5, 1000)

    async def test_pages_show_the_newest_events_first_and_once(self, store: Store) -> None:
        name = fresh("s")
        wanted = [delivery(name, f"d{number:02}", event_ms=1000 + number // 3) for number in range(20)]
        await store.deliveries.put([*wanted, delivery(fresh("other"), "x")])
        seen: list[StoredDelivery] = []
        after: PageKey | None = None
        while page := await store.deliveries.page(name, limit=6, after=after):
            seen += page
            after = PageKey(page[-1].event_ms, page[-1].id)
        assert seen == sorted(wanted, key=lambda one: (one.event_ms, one.id), reverse=True)

    async def test_pages_are_filtered_by_state_type_task_and_time(self, store: Store) -> None:
        name = fresh("s")
        match = delivery(name, "a", state=DELIVERED, type="task.rejected", task="t1", event_ms=5000)
        others = [
            replace(match, id=f"{name}-b", state=PENDING),
            replace(match, id=f"{name}-c", type="run.completed"),
            replace(match, id=f"{name}-d", task=None),
            replace(match, id=f"{name}-e", event_ms=4000),
        ]
        await store.deliveries.put([match, *others])
        found = await store.deliveries.page(
            name, limit=10, state=DELIVERED, type="task.rejected", task="t1", since_ms=4500
        )
        assert list(found) == [match]

    async def test_pages_can_be_of_some_projects_only(self, store: Store) -> None:
        name = fresh("s")
        mine, theirs = delivery(name, "a", project="mine"), delivery(name, "b", project="theirs")
        await store.deliveries.put([mine, theirs])
        assert list(await store.deliveries.page(name, limit=10, projects=["mine", "no-other"])) == [mine]

    async def test_exhausted_deliveries_are_owed_again_when_asked_for(self, store: Store) -> None:
        name = fresh("s")
        await store.deliveries.put(
            [
                delivery(name, "before", state=EXHAUSTED, event_ms=99, attempts=10),
                delivery(name, "first", state=EXHAUSTED, event_ms=100, attempts=10),
                delivery(name, "last", state=EXHAUSTED, event_ms=199, attempts=10),
                delivery(name, "after", state=EXHAUSTED, event_ms=200, attempts=10),
                delivery(name, "done", state=DELIVERED, event_ms=150),
            ]
        )
        assert await store.deliveries.requeue(name, 100, 200, 7000) == 2
        due = await store.deliveries.due(name, 7000, limit=10)
        assert {one.id for one in due} == {f"{name}-first", f"{name}-last"}
        assert {one.attempts for one in due} == {0}
        assert await store.deliveries.requeue(name, 100, 200, 7000) == 0

    async def test_what_is_over_is_kept_by_count_and_age_and_what_is_pending_stays(self, store: Store) -> None:
        name = fresh("s")
        await store.deliveries.put(
            [delivery(name, f"d{number}", state=DELIVERED, at_ms=1000 + number) for number in range(10)]
            + [delivery(name, "pending", at_ms=1), delivery(name, "exhausted", at_ms=1, state=EXHAUSTED)]
        )
        await store.deliveries.trim(name, DELIVERED, keep=4, since_ms=0)
        left = {one.id.rpartition("-")[2] for one in await store.deliveries.page(name, limit=50)}
        assert left == {"d6", "d7", "d8", "d9", "pending", "exhausted"}
        await store.deliveries.trim(name, DELIVERED, keep=4, since_ms=1008)
        left = {one.id.rpartition("-")[2] for one in await store.deliveries.page(name, limit=50)}
        assert left == {"d8", "d9", "pending", "exhausted"}
        await store.deliveries.delete_of(name)
        assert not await store.deliveries.page(name, limit=50)

    # ------------------------------------------------------------------------------------------ recoveries

    async def test_a_recovery_is_kept_until_it_ends_for_good(self, store: Store) -> None:
        name, first, second = fresh("s"), fresh("r"), fresh("r")
        await store.recoveries.put(recovery(name, second, created_ms=31))
        await store.recoveries.put(recovery(name, first))
        await store.recoveries.put(recovery(name, first, done=7, body='{"at":1}'))
        assert [one.id for one in await store.recoveries.running() if one.subscription == name] == [first, second]
        found = await store.recoveries.get(name, first)
        assert found == recovery(name, first, done=7, body='{"at":1}')
        ended = recovery(name, first, done=9, state=RecoveryState.COMPLETED)
        await store.recoveries.put(ended)
        await store.recoveries.put(recovery(name, first, done=8))
        assert await store.recoveries.get(name, first) == ended
        assert [one.id for one in await store.recoveries.running() if one.subscription == name] == [second]
        assert await store.recoveries.get("another", first) is None
        await store.recoveries.delete_of(name)
        assert await store.recoveries.get(name, first) is None

    # ------------------------------------------------------------------------------------------------ all

    async def test_everything_survives_a_restart_of_the_store(self, store_factory: StoreFactory) -> None:
        name = fresh("s")
        async with running(store_factory()) as store:
            await store.endpoints.create(name, "body")
            await store.deliveries.put([delivery(name, "a")])
            await store.recoveries.put(recovery(name, f"{name}-r"))
        async with running(store_factory()) as store:
            assert (await store.endpoints.all())[name].body == "body"
            assert await store.deliveries.get(name, f"{name}-a") == delivery(name, "a")
            assert await store.recoveries.get(name, f"{name}-r") is not None
