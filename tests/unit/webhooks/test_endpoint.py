"""An endpoint over days, on a virtual clock: the published schedule, holds, ends, restarts, rotations."""

import asyncio
import json
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest
from prelabel_contract import names
from prelabel_contract.events import RunCreated, TaskDeleted, event
from prelabel_runtime.egress import Answer
from prelabel_runtime.errors import Unavailable
from prelabel_runtime.loop import messages
from prelabel_runtime.store.deliveries import DeliveryState, RecoveryState, StoredDelivery, StoredRecovery
from prelabel_webhooks import cursor
from prelabel_webhooks.handlers import TOPICS
from prelabel_webhooks.subscriptions import ACTIVE, DISABLED

from .scene import PATIENCE, Scene, scene, settled

T = TypeVar("T")
PUBLISHED = [5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400]
HOUR = 3600.0


async def attempts(of: Scene, count: int) -> None:
    """Let time pass until there were so many."""
    await of.clock.pass_until(lambda: len(of.egress.calls) >= count)
    await settled(of.store, of.bus)


async def test_attempts_come_when_the_published_schedule_says_and_end_with_it(tmp_path: Path) -> None:
    async with scene(tmp_path) as it, it.endpoint():
        it.egress.answer = lambda call: (500, {})
        await it.happen()
        await attempts(it, 10)
        moments = it.egress.moments()
        for wait, before, after in zip(PUBLISHED, moments, moments[1:], strict=False):
            assert 0.8 * wait - 0.01 <= after - before <= 1.2 * wait + 0.02, (wait, after - before)
        assert len({name for _, name, _ in it.egress.calls}) == 1
        assert (await it.delivery()).state is DeliveryState.EXHAUSTED
        end = it.clock.monotonic() + 40 * HOUR
        await it.clock.pass_until(lambda: it.clock.monotonic() > end)
        assert len(it.egress.calls) == 10


async def test_a_retry_after_of_an_hour_is_waited_for_by_everything(tmp_path: Path) -> None:
    async with scene(tmp_path) as it, it.endpoint():
        it.egress.answer = lambda call: (503, {"retry-after": "3600"}) if call == 1 else (200, {})
        await it.happen()
        await attempts(it, 1)
        await it.happen(3)
        await attempts(it, 5)
        assert min(it.egress.moments()[1:]) >= HOUR


async def test_retry_after_may_be_a_date_and_is_bounded(tmp_path: Path) -> None:
    async with scene(tmp_path) as it, it.endpoint():
        answers = {
            1: {"retry-after": "Tue, 14 Nov 2023 23:13:20 GMT"},  # an hour after the clock's beginning
            2: {"retry-after": "99999999999"},
        }
        it.egress.answer = lambda call: (429, answers[call]) if call in answers else (200, {})
        await it.happen()
        await attempts(it, 3)
        first, second, third = it.egress.moments()
        assert HOUR - 1 <= second - first <= HOUR + 1
        assert 24 * HOUR - 1 <= third - second <= 24 * HOUR + 1


async def test_an_endpoint_that_fails_is_held_and_everything_comes_when_it_is_back(tmp_path: Path) -> None:
    async with scene(tmp_path, concurrency=5, hold_after=5) as it, it.endpoint():
        it.egress.answer = lambda call: (500, {})
        await it.happen(500)
        end = it.clock.monotonic() + HOUR
        await it.clock.pass_until(lambda: it.clock.monotonic() > end)
        owed = (await it.store.deliveries.owed())["s"].count
        assert owed <= 5 + 4 + 6 + 60, "one try a minute: the rest waits in the log, not in the store"
        it.egress.answer = lambda call: (200, {})
        await it.clock.pass_until(lambda: len({name for _, name, _ in it.egress.calls}) == 500, hours=0.1)


async def test_after_five_days_of_nothing_but_failure_it_is_disabled_and_resumes_where_it_stopped(
    tmp_path: Path,
) -> None:
    async with scene(tmp_path) as it, it.endpoint():
        it.egress.answer = lambda call: (500, {})
        began = it.clock.monotonic()
        while it.now().state == ACTIVE:
            await it.happen()
            ends = it.clock.monotonic() + 20 * HOUR
            await it.clock.pass_until(lambda ends=ends: it.clock.monotonic() >= ends or it.now().state != ACTIVE)  # type: ignore[misc]
        assert 120 * HOUR <= it.clock.monotonic() - began <= 145 * HOUR
        assert (it.now().state, it.now().reason) == (DISABLED, "failing")
        made = len(it.egress.calls)
        await it.happen(5)
        quiet = it.clock.monotonic() + 48 * HOUR
        await it.clock.pass_until(lambda: it.clock.monotonic() > quiet)
        assert len(it.egress.calls) == made
        it.egress.answer = lambda call: (200, {})
        await it.subscriptions.change("s", state=ACTIVE, reason="")
        # That it was disabled is an event, too.
        await it.clock.pass_until(lambda: len({name for _, name, _ in it.egress.calls}) == it.sent + 1)


async def test_a_success_now_and_then_keeps_it_going_for_weeks(tmp_path: Path) -> None:
    async with scene(tmp_path, retry_seconds=(3600.0,) * 3) as it, it.endpoint():
        it.egress.answer = lambda call: (200, {}) if call % 30 == 0 else (500, {})
        for _ in range(12):
            await it.happen(3)
            ends = it.clock.monotonic() + 24 * HOUR
            await it.clock.pass_until(lambda ends=ends: it.clock.monotonic() >= ends)  # type: ignore[misc]
        assert it.clock.monotonic() >= 2 * 120 * HOUR
        assert it.now().state == ACTIVE


async def test_gone_disables_at_once(tmp_path: Path) -> None:
    async with scene(tmp_path) as it, it.endpoint():
        it.egress.answer = lambda call: (410, {})
        await it.happen()
        await it.clock.pass_until(lambda: it.now().state == DISABLED, hours=0.01)
        assert it.now().reason == "gone"


async def test_what_is_owed_is_kept_over_a_restart_with_its_schedule(tmp_path: Path) -> None:
    async with scene(tmp_path) as it:
        async with it.endpoint():
            it.egress.answer = lambda call: (500, {})
            await it.happen()
            await attempts(it, 3)
        async with it.endpoint():
            await attempts(it, 4)
            moments = it.egress.moments()
            assert 0.8 * 1800 <= moments[3] - moments[2] <= 1.2 * 1800 + 1
            assert [one["status"] for one in json.loads((await it.delivery()).body)] == [500] * 4


async def test_all_that_is_due_is_tried_also_while_some_of_it_is_under_way(tmp_path: Path) -> None:
    async with scene(tmp_path, retry_seconds=(3600.0,) * 3, hold_after=1000) as it:
        async with it.endpoint():
            it.egress.answer = lambda call: (500, {})
            await it.happen(200)
            await attempts(it, 200)
        await it.clock.pass_to(2 * HOUR)
        it.egress.answer = lambda call: (200, {})
        async with it.endpoint():
            await it.clock.pass_until(lambda: len(it.egress.calls) >= 400, hours=0.1)


async def test_what_ends_while_the_store_is_asked_what_is_due_is_not_tried_again(tmp_path: Path) -> None:
    async with scene(tmp_path, retry_seconds=(3600.0,) * 3, hold_after=1000, concurrency=2) as it:
        async with it.endpoint():
            it.egress.answer = lambda call: (500, {})
            await it.happen(40)
            await attempts(it, 40)
        await it.clock.pass_to(2 * HOUR)
        it.egress.answer = lambda call: (200, {})
        due, request = it.store.deliveries.due, it.egress.request
        looks, answered, answer_now, end_now = iter((1, 2)), asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def second_is_slow(*values: Any, **more: Any) -> Sequence[StoredDelivery]:
            found = await due(*values, **more)
            if next(looks, 0) == 2:
                answered.set()
                await answer_now.wait()
            return found

        async def last_of_the_first_look_is_slow(*values: Any, **more: Any) -> Answer:
            answer = await request(*values, **more)
            if len(it.egress.calls) == 40 + 32:
                await end_now.wait()
            return answer

        it.store.deliveries.due = second_is_slow  # type: ignore[method-assign]
        it.egress.request = last_of_the_first_look_is_slow  # type: ignore[method-assign]
        async with it.endpoint() as endpoint, asyncio.timeout(60):
            await answered.wait()
            assert endpoint._under_way
            end_now.set()
            await settled(it.store, it.bus)
            assert not endpoint._under_way
            answer_now.set()
            await settled(it.store, it.bus)
        came = [name for _, name, _ in it.egress.calls[40:]]
        assert len(came) == len(set(came)) == 40


@pytest.mark.parametrize("asked", ["find", "read"])
async def test_what_is_found_after_a_stop_is_left_to_the_next_process(tmp_path: Path, asked: str) -> None:
    async with scene(tmp_path, retry_seconds=(3600.0,) * 3, hold_after=1000) as it:
        async with it.endpoint():
            it.egress.answer = lambda call: (500, {})
            await it.happen(3)
            await attempts(it, 3)
        await it.clock.pass_to(2 * HOUR)
        it.egress.answer = lambda call: (200, {})
        what, held, go_on = getattr(it.tools.feed, asked), asyncio.Event(), asyncio.Event()

        async def slow(*values: Any) -> Any:
            found = await what(*values)
            held.set()
            await go_on.wait()
            return found

        setattr(it.tools.feed, asked, slow)
        await it.happen()  # the log has something, too
        async with it.endpoint() as endpoint, asyncio.timeout(60):
            await held.wait()
            await settled(it.store, it.bus)
            await endpoint.stop(5)
            before = len(it.egress.calls)
            go_on.set()
            await settled(it.store, it.bus)
            assert len(it.egress.calls) == before
            it.clock.watched.clear()  # it has ended, as it was told to
        async with it.endpoint():
            await attempts(it, 3 + 4)
        came = [name for _, name, _ in it.egress.calls[3:]]
        assert len(came) == len(set(came)) == 4


async def test_all_that_is_not_asked_for_any_more_is_given_up_when_it_is_due(tmp_path: Path) -> None:
    async with scene(tmp_path, retry_seconds=(3600.0,) * 3, hold_after=1000) as it:
        async with it.endpoint():
            it.egress.answer = lambda call: (500, {})
            await it.happen(100)
            await attempts(it, 100)
        await it.clock.pass_to(2 * HOUR)
        await it.subscriptions.change("s", types=("run.*",))
        async with it.endpoint():
            async with asyncio.timeout(60):  # and no time passes on the clock
                while await it.store.deliveries.owed():
                    await settled(it.store, it.bus)
        assert len(it.egress.calls) == 100


def away_once(what: Callable[..., Coroutine[Any, Any, T]]) -> Callable[..., Coroutine[Any, Any, T]]:
    """The same, for which something is away when it is first asked."""
    away = [Unavailable("a dependency")]

    async def asked(*values: Any, **more: Any) -> T:
        if away:
            raise away.pop()
        return await what(*values, **more)

    return asked


async def test_what_is_owed_is_tried_when_the_log_that_was_away_is_back(tmp_path: Path) -> None:
    async with scene(tmp_path, retry_seconds=(60.0,)) as it, it.endpoint():
        it.egress.answer = lambda call: (500, {}) if call == 1 else (200, {})
        await it.happen()
        await attempts(it, 1)
        it.tools.feed.find = away_once(it.tools.feed.find)  # type: ignore[method-assign]
        await it.clock.pass_until(lambda: len(it.egress.calls) == 2, hours=0.5)


async def test_a_place_that_was_not_written_down_is_delivered_again_and_nothing_is_lost(tmp_path: Path) -> None:
    async with scene(tmp_path) as it:
        async with it.endpoint() as endpoint:
            await it.happen(10)
            await attempts(it, 10)
            await endpoint.save()
            await it.happen(10)
            await attempts(it, 20)
            endpoint.save = _nothing  # type: ignore[method-assign]  # a kill writes nothing down
        async with it.endpoint():
            await it.happen(1)
            await attempts(it, 31)
            names = [name for _, name, _ in it.egress.calls]
            assert len(set(names)) == 21
            assert names[10:20] == names[20:30]


async def _nothing() -> None:
    return


async def test_an_older_place_is_not_written_over_a_newer_one(tmp_path: Path) -> None:
    async with scene(tmp_path) as it, it.endpoint() as endpoint:
        put, held, go_on = it.store.deliveries.put, asyncio.Event(), asyncio.Event()

        async def slow(deliveries: Sequence[StoredDelivery]) -> None:
            if not held.is_set():
                held.set()
                await go_on.wait()
            await put(deliveries)

        it.store.deliveries.put = slow  # type: ignore[method-assign]
        await it.happen()
        await attempts(it, 1)
        older = asyncio.create_task(endpoint.save())
        await asyncio.wait_for(held.wait(), PATIENCE)
        await it.happen()
        await attempts(it, 2)
        newer = asyncio.create_task(endpoint.save())  # at a stop
        await settled(it.store, it.bus)
        go_on.set()
        await asyncio.gather(older, newer)
        assert json.loads((await it.store.endpoints.all())["s"].body)["positions"][names.TASKS] == {"0": 2}


async def test_what_succeeded_is_in_the_delivery_log_also_where_a_stop_came_while_it_was_written(
    tmp_path: Path,
) -> None:
    async with scene(tmp_path, save_seconds=1) as it:
        put, held, never = it.store.deliveries.put, asyncio.Event(), asyncio.Event()

        async def first_hangs(deliveries: Sequence[StoredDelivery]) -> None:
            if deliveries and not held.is_set():
                held.set()
                await never.wait()
            await put(deliveries)

        it.store.deliveries.put = first_hangs  # type: ignore[method-assign]
        async with it.endpoint() as endpoint:
            await it.happen()
            await it.clock.pass_until(held.is_set, hours=0.1)
            async with asyncio.timeout(60):
                await endpoint.stop(5)
        assert (await it.delivery()).state is DeliveryState.DELIVERED


async def test_a_recovery_that_is_taken_up_anew_counts_each_event_once(tmp_path: Path) -> None:
    async with scene(tmp_path, concurrency=4) as it:
        begin = cursor.written(await it.bus.offsets(TOPICS, "end"))
        async with it.endpoint() as endpoint:
            await it.happen(10)
            await attempts(it, 10)
            end = cursor.written(await it.bus.offsets(TOPICS, "end"))
            body = json.dumps({"deliveries": "all", "positions": begin, "until": end})
            recovery = StoredRecovery("r", "s", 0, 1, 0, RecoveryState.RUNNING, 0, body)
            await it.store.recoveries.put(recovery)
            request, never = it.egress.request, asyncio.Event()

            async def first_hangs(*values: Any, **more: Any) -> Answer:
                answer = await request(*values, **more)
                if len(it.egress.calls) == 11:
                    await never.wait()
                return answer

            it.egress.request = first_hangs  # type: ignore[method-assign]
            await endpoint.recover(recovery)
            await attempts(it, 20)
            await endpoint.save()
            endpoint.save = _nothing  # type: ignore[method-assign]  # a kill writes nothing down
        async with it.endpoint() as endpoint:
            (left,) = await it.store.recoveries.running()
            await endpoint.recover(left)
            await attempts(it, 30)
            await endpoint.save()
        ended = await it.store.recoveries.get("s", "r")
        assert ended is not None
        assert (ended.state, ended.done) == (RecoveryState.COMPLETED, 10)


async def test_over_a_days_overlap_both_secrets_sign_and_then_the_new_one_alone(tmp_path: Path) -> None:
    async with scene(tmp_path) as it, it.endpoint():
        await it.happen()
        await attempts(it, 1)
        await it.subscriptions.rotate("s", 24 * HOUR)
        for at, signatures in ((1.0, 2), (23.9, 2), (24.1, 1)):
            await it.clock.pass_to(at * HOUR)
            await it.happen()
            await attempts(it, len(it.egress.calls) + 1)
            assert len(it.egress.calls[-1][2].split()) == signatures


async def test_whoever_lost_the_lease_stops_and_writes_nothing(tmp_path: Path) -> None:
    async with scene(tmp_path, save_seconds=1) as it, it.endpoint(ends=True):
        await it.happen()
        await attempts(it, 1)
        other = await it.store.endpoints.claim("s", "other", it.clock.now_ms() + 10_000, it.clock.now_ms() + 20_000)
        assert other is not None
        before = (await it.store.endpoints.all())["s"].body
        await it.happen()
        ends = it.clock.monotonic() + 10
        await it.clock.pass_until(lambda: it.clock.monotonic() >= ends)
        assert (await it.store.endpoints.all())["s"].body == before


async def test_a_partition_that_is_always_full_keeps_no_other_waiting(tmp_path: Path) -> None:
    async with scene(tmp_path, concurrency=1) as it, it.endpoint():
        await it.happen(300)
        run = event(RunCreated(project="p", run="r"), id="run", source="/tests", time_ms=it.clock.now_ms())
        await it.bus.publish(messages([run]))
        await attempts(it, 301)
        name = names.delivery_id("/tests", "run", "s")
        assert [name for _, name, _ in it.egress.calls].index(name) < 200


async def ordered_ids(it: Scene, count: int) -> list[str]:
    """Webhook-ids of so many events of one task, in order."""
    for number in range(count):
        data = TaskDeleted(project="p", task="one")
        told = event(data, id=f"ordered-{number}", source="/tests", time_ms=it.clock.now_ms())
        await it.bus.publish(messages([told]))
    return [names.delivery_id("/tests", f"ordered-{number}", "s") for number in range(count)]


async def test_in_order_what_follows_waits_until_the_one_before_is_delivered(tmp_path: Path) -> None:
    async with scene(tmp_path) as it, it.endpoint(ordered=True):
        it.egress.answer = lambda call: (500, {}) if call <= 3 else (200, {})
        wanted = await ordered_ids(it, 5)
        await it.happen(3)  # other tasks do not wait
        await it.clock.pass_until(lambda: {name for _, name, _ in it.egress.calls} >= set(wanted))
        came = [name for _, name, _ in it.egress.calls]
        first = [came.index(name) for name in wanted]
        assert first == sorted(first)
        assert came.count(wanted[0]) >= 2
        assert len(came) - came.index(wanted[1]) == 4, "after the first, each at once and once"


async def test_in_order_an_event_that_is_given_up_lets_the_next_one_go(tmp_path: Path) -> None:
    async with scene(tmp_path, retry_seconds=(1, 1)) as it, it.endpoint(ordered=True):
        it.egress.answer = lambda call: (500, {}) if call <= 3 else (200, {})
        wanted = await ordered_ids(it, 2)
        await attempts(it, 4)
        assert [name for _, name, _ in it.egress.calls] == [wanted[0]] * 3 + [wanted[1]]


async def test_in_order_the_next_one_goes_also_where_the_store_was_away_at_its_turn(tmp_path: Path) -> None:
    async with scene(tmp_path, retry_seconds=(60.0,)) as it, it.endpoint(ordered=True):
        it.egress.answer = lambda call: (500, {}) if call == 1 else (200, {})
        wanted = await ordered_ids(it, 2)
        await attempts(it, 1)
        it.store.deliveries.get_many = away_once(it.store.deliveries.get_many)  # type: ignore[method-assign]
        await it.clock.pass_until(lambda: len(it.egress.calls) == 3, hours=0.5)
        assert [name for _, name, _ in it.egress.calls] == [wanted[0], *wanted]


async def test_in_order_the_next_one_goes_also_where_its_turn_comes_before_it_is_stored(tmp_path: Path) -> None:
    async with scene(tmp_path, concurrency=4) as it, it.endpoint(ordered=True):
        request, put = it.egress.request, it.store.deliveries.put
        asked, first_ends = asyncio.Event(), asyncio.Event()

        async def first_is_slow(*values: Any, **more: Any) -> Answer:
            answer = await request(*values, **more)
            if len(it.egress.calls) == 1:
                await first_ends.wait()
            return answer

        async def away_at_first(deliveries: Sequence[StoredDelivery]) -> None:
            if deliveries and not asked.is_set():
                asked.set()
                raise Unavailable("the store")
            await put(deliveries)

        it.egress.request = first_is_slow  # type: ignore[method-assign]
        it.store.deliveries.put = away_at_first  # type: ignore[method-assign]
        wanted = await ordered_ids(it, 2)
        await it.clock.pass_until(asked.is_set, hours=0.1)
        first_ends.set()
        await it.clock.pass_until(lambda: len(it.egress.calls) == 2, hours=0.1)
        assert [name for _, name, _ in it.egress.calls] == wanted


async def test_in_order_stays_in_order_over_a_kill(tmp_path: Path) -> None:
    async with scene(tmp_path) as it:
        async with it.endpoint(ordered=True) as endpoint:
            it.egress.answer = lambda call: (500, {})
            wanted = await ordered_ids(it, 6)
            await attempts(it, 2)
            endpoint.save = _nothing  # type: ignore[method-assign]
        it.egress.answer = lambda call: (200, {})
        before = len(it.egress.calls)
        async with it.endpoint():
            await it.clock.pass_until(lambda: {name for _, name, _ in it.egress.calls} >= set(wanted))
            came = [name for _, name, _ in it.egress.calls][before:]
            assert [came.index(name) for name in wanted] == sorted(came.index(name) for name in wanted)
