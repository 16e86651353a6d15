"""What replicas promise that share a rate: together they never exceed it, and what one leaves another gets."""

import asyncio
import json
from collections.abc import Mapping
from contextlib import AsyncExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prelabel_provider.remote.quota import LEASE_MS, Rate, Share, fair, renewed
from prelabel_runtime.store.quotas import StoredQuota

from tests.rig.virtual_time import VirtualClock, virtually

from .scene import Granting, MemoryQuotas, Scene, Target, after, keep_asking, scene

RATE = 50.0
MEMBERS = st.dictionaries(st.sampled_from("abcdefgh"), st.floats(0, 100), min_size=1)


@given(wanted=MEMBERS)
def test_fair_parts_add_up_and_nobody_is_short_of_less_than_an_equal_part(wanted: Mapping[str, float]) -> None:
    parts = fair(RATE, wanted)
    assert sum(parts.values()) == pytest.approx(RATE)
    for name, part in parts.items():
        assert part >= min(wanted[name], RATE / len(wanted)) - 1e-9


@given(steps=st.lists(st.tuples(st.sampled_from("abcd"), st.floats(0, 100), st.integers(0, 20_000)), max_size=40))
def test_leases_never_add_up_to_more_than_the_rate(steps: list[tuple[str, float, int]]) -> None:
    shares: dict[str, Share] = {}
    now_ms = 0
    for member, wanted, passed in steps:
        now_ms += passed
        shares = renewed(shares, member, rate=RATE, wanted=wanted, now_ms=now_ms)
        assert sum(share.rate for share in shares.values() if share.until_ms > now_ms) <= RATE + 1e-6


@given(
    steps=st.lists(
        st.tuples(st.sampled_from([("a", 10.0), ("b", 30.0), ("c", RATE), ("d", RATE)]), st.integers(0, 20_000)),
        max_size=40,
    )
)
def test_members_that_state_a_rate_differently_never_hold_more_than_the_highest_nor_than_their_own(
    steps: list[tuple[tuple[str, float], int]],
) -> None:
    shares: dict[str, Share] = {}
    now_ms = 0
    for (member, stated), passed in steps:
        now_ms += passed
        shares = renewed(shares, member, rate=stated, wanted=stated, now_ms=now_ms)
        assert shares[member].rate <= stated
        assert sum(share.rate for share in shares.values()) <= RATE + 1e-6


def test_who_states_less_than_its_neighbours_has_its_part_all_the_same() -> None:
    shares: dict[str, Share] = {}
    for second in range(4):
        for member, stated in (("a", RATE), ("b", 30.0), ("c", 10.0)):
            shares = renewed(shares, member, rate=stated, wanted=stated, now_ms=1000 * second)
    assert [share.rate for share in shares.values()] == pytest.approx([20.0, 20.0, 10.0])


def test_those_who_renew_often_share_equally_soon() -> None:
    shares: dict[str, Share] = {}
    for second in range(4):
        for member in "abcd":
            shares = renewed(shares, member, rate=RATE, wanted=RATE, now_ms=1000 * second)
    assert [share.rate for share in shares.values()] == pytest.approx([RATE / 4] * 4)


def test_who_is_not_heard_of_leaves_its_part_when_its_lease_is_over() -> None:
    shares = renewed({}, "dead", rate=RATE, wanted=RATE, now_ms=0)
    assert renewed(shares, "new", rate=RATE, wanted=RATE, now_ms=LEASE_MS - 1)["new"].rate == 0
    assert renewed(shares, "new", rate=RATE, wanted=RATE, now_ms=LEASE_MS)["new"].rate == RATE


async def _replicas(stack: AsyncExitStack, count: int, target: Target, quotas: MemoryQuotas) -> list[Scene]:
    how = {"rate": Rate("shared", RATE), "quotas": quotas}
    return [await stack.enter_async_context(scene(target, member=f"m{number}", **how)) for number in range(count)]  # type: ignore[arg-type]


def test_replicas_together_use_a_rate_to_its_end_and_hardly_ever_exceed_it() -> None:
    async def run() -> None:
        target = Target(granting := Granting(int(RATE), latency=0.3))
        async with AsyncExitStack() as stack:
            replicas = await _replicas(stack, 4, target, MemoryQuotas())
            answered = await asyncio.gather(*(keep_asking(one, 40, at_once=32) for one in replicas))
        assert sum(answered) >= 0.9 * RATE * 40
        assert granting.refused < 0.01 * len(target.calls)
        assert min(answered) > 0.7 * sum(answered) / 4

    virtually(run())


@pytest.mark.parametrize("at_once", [1, 32], ids=["a neighbour that asks now and then", "a busy neighbour"])
def test_models_that_state_one_rate_differently_each_have_a_part_and_stay_within_the_highest(at_once: int) -> None:
    async def run() -> None:
        high, low = Target(after(0.3)), Target(after(0.3))
        each = {"low": {"rate": Rate("shared", 10.0)}}
        async with scene({"high": high, "low": low}, each=each, rate=Rate("shared", RATE)) as here:
            asking = [
                asyncio.create_task(keep_asking(here, 40, at_once=at_once, name="high")),
                asyncio.create_task(keep_asking(here, 40, at_once=32, name="low")),
            ]
            await asyncio.sleep(10)
            before = len(high.calls), len(low.calls)
            await asyncio.sleep(25)
            of_high, of_low = len(high.calls) - before[0], len(low.calls) - before[1]
            assert 0.9 * 10 * 25 <= of_low <= 1.05 * 10 * 25
            assert of_high >= min(0.9 * at_once / 0.3, 0.9 * 40) * 25
            assert of_high + of_low <= RATE * 25 * 1.02
            await asyncio.gather(*asking)

    virtually(run())


def test_a_lowered_rate_is_used_while_the_one_before_still_has_its_lease() -> None:
    async def run() -> None:
        target = Target(after(0.3))
        each = {"lowered": {"target": "one", "rate": Rate("shared", 10.0)}}
        async with scene({"one": target, "lowered": target}, each=each, rate=Rate("shared", RATE)) as here:
            await keep_asking(here, 20, at_once=32)
            await asyncio.sleep(1)  # what is under way is answered
            assert 0.9 * 10 * 18 <= await keep_asking(here, 20, at_once=32, name="lowered") <= 1.05 * 10 * 20

    virtually(run())


@pytest.mark.parametrize("at_once", [1, 32], ids=["hardly used before", "used to its end before"])
def test_a_lowered_rate_holds_for_all_replicas_after_a_few_renewals(at_once: int) -> None:
    async def run() -> None:
        targets = {"one": Target(after(0.3)), "lowered": Target(after(0.3))}
        how = {"each": {"lowered": {"rate": Rate("shared", 10.0)}}, "rate": Rate("shared", RATE)}
        quotas = MemoryQuotas()
        async with AsyncExitStack() as stack:
            replicas = [
                await stack.enter_async_context(scene(targets, member=name, quotas=quotas, **how))  # type: ignore[arg-type]
                for name in ("m0", "m1", "m2")
            ]
            await asyncio.gather(*(keep_asking(one, 10, at_once=at_once) for one in replicas))
            asking = [asyncio.create_task(keep_asking(one, 20, at_once=32, name="lowered")) for one in replicas]
            await asyncio.sleep(4)
            before = len(targets["lowered"].calls)
            await asyncio.sleep(15)
            assert 0.8 * 10 * 15 <= len(targets["lowered"].calls) - before <= 1.05 * 10 * 15
            await asyncio.gather(*asking)

    virtually(run())


def test_a_lease_of_a_version_that_did_not_write_what_it_states_counts_all_the_same() -> None:
    async def run() -> None:
        quotas = MemoryQuotas()
        before = {"older": {"rate": 40.0, "wanted": 40.0, "until_ms": VirtualClock().now_ms() + LEASE_MS}}
        await quotas.put(StoredQuota("shared", 1, json.dumps(before)))
        target = Target(Granting(int(RATE), latency=0.3))
        async with scene(target, rate=Rate("shared", RATE), quotas=quotas) as here:
            assert 0.8 * 10 * 10 <= await keep_asking(here, 12, at_once=32) <= 10 * 12
            await asyncio.sleep(LEASE_MS / 1000)
            assert await keep_asking(here, 20, at_once=32) >= 0.9 * RATE * 18

    virtually(run())


def test_an_idle_replica_leaves_its_part_to_the_busy_one() -> None:
    async def run() -> None:
        target = Target(Granting(int(RATE), latency=0.3))
        async with AsyncExitStack() as stack:
            busy, idle = await _replicas(stack, 2, target, MemoryQuotas())
            await idle.ask(["once"])
            answered = await keep_asking(busy, 40, at_once=32)
        assert answered >= 0.9 * RATE * 40

    virtually(run())


def test_without_a_store_nobody_uses_more_than_what_was_leased_and_little_after_that() -> None:
    async def run() -> None:
        quotas = MemoryQuotas()
        target = Target(granting := Granting(int(RATE), latency=0.3))
        async with AsyncExitStack() as stack:
            replicas = await _replicas(stack, 2, target, quotas)
            asking = [asyncio.create_task(keep_asking(one, 100, at_once=32)) for one in replicas]
            await asyncio.sleep(20)
            quotas.down = True
            leased = len(target.calls)
            await asyncio.sleep(10)
            assert len(target.calls) - leased > 0.9 * RATE * 10, "leases hold on"
            await asyncio.sleep(10)
            unleased = len(target.calls)
            await asyncio.sleep(20)
            assert 0 < len(target.calls) - unleased <= 0.12 * RATE * 20
            quotas.down = False
            await asyncio.sleep(5)
            back = len(target.calls)
            await asyncio.sleep(10)
            assert len(target.calls) - back > 0.9 * RATE * 10
            for one in asking:
                one.cancel()
        assert granting.refused < 0.01 * len(target.calls)

    virtually(run())


def test_who_has_no_lease_yet_begins_carefully_while_the_store_is_down() -> None:
    async def run() -> None:
        quotas = MemoryQuotas()
        quotas.down = True
        target = Target(Granting(int(RATE), latency=0.3))
        async with AsyncExitStack() as stack:
            (one,) = await _replicas(stack, 1, target, quotas)
            answered = await keep_asking(one, 20, at_once=32)
        assert 0 < answered <= 0.12 * RATE * 20

    virtually(run())


def test_who_had_no_part_goes_on_with_a_tenth_while_the_store_is_down() -> None:
    async def run() -> None:
        quotas = MemoryQuotas()
        target = Target(after(0.1))
        async with AsyncExitStack() as stack:
            idle, busy = await _replicas(stack, 2, target, quotas)
            await keep_asking(idle, 2, at_once=1)
            asking = asyncio.create_task(keep_asking(busy, 100, at_once=64))
            await asyncio.sleep(10)
            quotas.down = True
            assert await keep_asking(idle, LEASE_MS / 1000, at_once=8) <= 0.12 * RATE * LEASE_MS / 1000
            assert 0 < await keep_asking(idle, 40, at_once=8) <= 0.12 * RATE * 40
            asking.cancel()

    virtually(run())


def test_who_stops_gives_its_part_back_at_once() -> None:
    async def run() -> None:
        quotas = MemoryQuotas()
        target = Target(Granting(int(RATE), latency=0.3))
        async with AsyncExitStack() as stack:
            (one,) = await _replicas(stack, 1, target, quotas)
            await keep_asking(one, 5, at_once=32)
        await asyncio.sleep(1)  # what it called is forgotten by the target
        async with AsyncExitStack() as stack:
            other = await stack.enter_async_context(
                scene(target, member="other", rate=Rate("shared", RATE), quotas=quotas)
            )
            answered = await keep_asking(other, 5, at_once=32)
        assert answered >= 0.75 * RATE * 5

    virtually(run())
