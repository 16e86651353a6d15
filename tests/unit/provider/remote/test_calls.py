"""What the engine promises about calls: one answer per task, few calls too many, nobody kept waiting by the dead."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from prelabel_contract.names import Lane
from prelabel_provider.base import BadSettings, Failed, Input, Predicted
from prelabel_provider.predictor import CannotStart, Told
from prelabel_provider.remote.base import Answers, Calling, Cost
from prelabel_provider.remote.calls import MODELS
from prelabel_provider.remote.failures import CallFailed, InputRefused, NotAllowed, TargetFailed, Throttled
from prelabel_provider.remote.quota import Rate

from tests.rig.virtual_time import virtually

from .scene import Granting, Target, after, answers, keep_asking, names, scene


def now() -> float:
    return asyncio.get_running_loop().time()


# ------------------------------------------------------------------------------------------------------- throughput


@pytest.mark.parametrize("per_second", [5, 50])
def test_a_known_rate_is_used_to_its_end_and_hardly_ever_exceeded(per_second: int) -> None:
    async def run() -> None:
        target = Target(granting := Granting(per_second, latency=0.3))
        async with scene(target, rate=Rate("r", per_second)) as here:
            answered = await keep_asking(here, 40, at_once=64)
        assert answered >= 0.95 * per_second * 38  # it begins slowly, and what is under way at the end does not count
        assert granting.refused < 0.01 * len(target.calls)

    virtually(run())


def test_an_unknown_rate_is_found_by_trying() -> None:
    async def run() -> None:
        target = Target(granting := Granting(50, latency=0.3))
        async with scene(target) as here:
            answered = await keep_asking(here, 100, at_once=64)
        assert answered >= 0.8 * 50 * 100
        assert granting.refused < 0.01 * len(target.calls)

    virtually(run())


def test_concurrency_is_found_and_kept_below_what_makes_a_target_fail() -> None:
    async def run() -> None:
        async def at_most_twenty(batch: Sequence[Input]) -> Answers:
            if target.in_flight > 20:
                await asyncio.sleep(0.05)
                raise TargetFailed("503")
            await asyncio.sleep(0.2)
            return answers(batch)

        target = Target(at_most_twenty)
        async with scene(target) as here:
            answered = await keep_asking(here, 40, at_once=64)
            failed = len(target.calls) - answered
        assert answered >= 0.8 * 20 / 0.2 * 40
        assert failed < 0.02 * len(target.calls)

    virtually(run())


def test_latency_bound_calls_run_side_by_side_up_to_the_limit_and_no_further() -> None:
    async def run() -> None:
        target = Target(after(0.3))
        async with scene(target, concurrency=40) as here:
            answered = await keep_asking(here, 12, at_once=64)
        assert target.most_in_flight == 40
        assert answered >= 0.95 * 40 / 0.3 * 10

    virtually(run())


@pytest.mark.parametrize("changed", [{"concurrency": 2}, {"rate": Rate("r", 10.0)}], ids=lambda how: next(iter(how)))
def test_what_settings_say_about_a_target_that_is_known_holds_for_what_is_asked_from_then_on(
    changed: dict[str, Any],
) -> None:
    async def run() -> None:
        target = Target(after(0.2))
        targets = {"one": target, "changed": target}
        async with scene(targets, each={"changed": {"target": "one", **changed}}) as here:
            before = await keep_asking(here, 10, at_once=32)
            await asyncio.sleep(1)  # what is under way is answered
            target.most_in_flight = 0
            answered = await keep_asking(here, 20, at_once=32, name="changed")
            assert before >= 32 / 0.2 * 8
            assert 0.9 * 10 * 18 <= answered <= 1.05 * 10 * 20
            assert target.most_in_flight <= changed.get("concurrency", 8)
            again = await keep_asking(here, 10, at_once=32)
            assert again >= 32 / 0.2 * 6

    virtually(run())


@pytest.mark.parametrize("rate", [None, Rate("fast", 50.0)], ids=["without a rate", "with a rate of its own"])
def test_a_model_without_room_in_its_rate_keeps_no_other_of_its_target_waiting(rate: Rate | None) -> None:
    async def run() -> None:
        target = Target(after(0.1))
        each: dict[str, dict[str, Any]] = {
            "slow": {"rate": Rate("slow", 2.0)},
            "fast": {"target": "slow", "rate": rate},
        }
        async with scene({"slow": target, "fast": target}, each=each, concurrency=8) as here:
            slow = asyncio.create_task(here.ask(names(80, "slow"), name="slow"))
            await asyncio.sleep(5)
            fast = await keep_asking(here, 30, at_once=64, name="fast")
            slowly = [tasks[0] for _, tasks in target.calls if tasks[0].startswith("slow")]
            slow.cancel()
        assert fast >= 0.85 * (8 / 0.1 if rate is None else rate.per_second) * 30
        assert 0.9 * 2 * 33 <= len(slowly) <= 1.05 * 2 * 35
        assert slowly == names(len(slowly), "slow")

    virtually(run())


def test_a_model_with_room_in_its_rate_does_not_wait_until_another_has_some() -> None:
    async def run() -> None:
        target = Target(after(0.001))
        each: dict[str, dict[str, Any]] = {
            "slow": {"target": "fast", "rate": Rate("slow", 0.2)},
            "fast": {"rate": Rate("fast", 20.0)},
        }
        async with scene({"slow": target, "fast": target}, each=each) as here:
            fast = asyncio.create_task(here.ask(names(100), name="fast"))
            await asyncio.sleep(2)
            slow = asyncio.create_task(here.ask(names(5, "slow"), name="slow"))
            await fast
            assert now() < 100 / (0.9 * 20) + 2
            slow.cancel()

    virtually(run())


def test_what_waits_keeps_the_settings_it_was_asked_with_and_delays_nothing_asked_with_others() -> None:
    async def run() -> None:
        target = Target(after(0.1))
        each: dict[str, dict[str, Any]] = {
            "before": {"rate": Rate("r", 2.0)},
            "changed": {"target": "before", "rate": Rate("r", 50.0)},
        }
        async with scene({"before": target, "changed": target}, each=each) as here:
            before = asyncio.create_task(here.ask(names(40), name="before"))
            await asyncio.sleep(5)
            began = now()
            await here.ask(names(200, "changed"), name="changed")
            assert now() - began < 200 / (0.9 * 48) + 2
            await before
            assert now() >= 0.9 * 40 / 2

    virtually(run())


def test_an_urgent_task_does_not_wait_for_the_rate_of_one_that_came_earlier() -> None:
    async def run() -> None:
        target = Target(after(0.1))
        each: dict[str, dict[str, Any]] = {"slow": {"rate": Rate("slow", 0.2)}, "fast": {"target": "slow"}}
        async with scene({"slow": target, "fast": target}, each=each, concurrency=1) as here:
            slow = asyncio.create_task(here.ask(names(5, "slow"), name="slow", lane=Lane.INTERACTIVE))
            bulk = asyncio.create_task(here.ask(names(100), name="fast"))
            await asyncio.sleep(2)
            began = now()
            await here.ask(["urgent"], name="fast", lane=Lane.INTERACTIVE)
            assert now() - began < 0.5
            await bulk
            assert now() < 20
            slow.cancel()

    virtually(run())


@pytest.mark.parametrize("name", ["one", "other"])
def test_an_interactive_task_goes_before_all_bulk_that_waits_for_any_model_of_its_target(name: str) -> None:
    async def run() -> None:
        target = Target(after(1.0))
        each = {"other": {"target": "one"}}
        async with scene({"one": target, "other": target}, each=each, concurrency=1) as here:
            bulk = asyncio.create_task(here.ask(names(50)))
            await asyncio.sleep(0.5)
            began = now()
            await here.ask(["urgent"], name=name, lane=Lane.INTERACTIVE)
            assert now() - began < 2.0
            assert [tasks for _, tasks in target.calls][:2] == [("t0",), ("urgent",)]
            bulk.cancel()

    virtually(run())


def test_many_tasks_go_into_one_call_where_that_is_wanted() -> None:
    async def run() -> None:
        target = Target(after(0.1))
        async with scene(target, tasks_per_call=16) as here:
            assert len(await here.ask(names(64))) == 64
        assert [len(tasks) for _, tasks in target.calls] == [16, 16, 16, 16]

    virtually(run())


# ---------------------------------------------------------------------------------------------------------- matching


def test_answers_find_their_tasks_by_id_in_any_order() -> None:
    async def run() -> None:
        async def turned(batch: Sequence[Input]) -> Answers:
            said = [(one.task, Failed("input", one.task)) for one in batch]
            return Answers(said[::-1])

        async with scene(Target(turned), tasks_per_call=8) as here:
            said = await here.ask(names(8))
        assert [one.detail for one in said if isinstance(one, Failed)] == names(8)

    virtually(run())


def test_a_task_without_an_answer_is_asked_again_and_its_neighbours_are_not() -> None:
    async def run() -> None:
        async def forgetful(batch: Sequence[Input]) -> Answers:
            kept = [one for one in batch if one.task != "t3" or len(batch) == 1]
            return answers(kept)

        target = Target(forgetful)
        async with scene(target, tasks_per_call=8) as here:
            said = await here.ask(names(8))
            assert here.counted("prelabel_remote_answers_unmatched_total") == 1
        assert all(isinstance(one, Told) for one in said)
        assert target.of_task() == {**dict.fromkeys(names(8), 1), "t3": 2}

    virtually(run())


def test_answers_to_nobody_are_dropped_and_contradicting_ones_are_not_believed() -> None:
    async def run() -> None:
        async def confused(batch: Sequence[Input]) -> Answers:
            said = answers(batch).said
            return Answers([*said, ("stranger", Predicted()), ("t1", Failed("input")), ("t2", Predicted())])

        async with scene(Target(confused), tasks_per_call=4, attempts=2) as here:
            said = await here.ask(names(4))
        assert [isinstance(one, Told) for one in said] == [True, False, True, True]
        assert isinstance(said[1], Failed)

    virtually(run())


def test_two_revisions_of_a_task_never_share_a_call() -> None:
    async def run() -> None:
        target = Target(after(0.1))
        async with scene(target, tasks_per_call=8) as here:
            assert len(await here.ask(["a", "a", "b"])) == 3
        assert all(len(set(tasks)) == len(tasks) for _, tasks in target.calls)

    virtually(run())


def test_a_version_that_an_answer_names_is_that_prediction_s() -> None:
    async def run() -> None:
        async def changing(batch: Sequence[Input]) -> Answers:
            return answers(batch, version="v2" if len(target.calls) > 1 else None)

        target = Target(changing)
        async with scene(target, concurrency=1) as here:
            said = await here.ask(names(2))
        assert [one.version for one in said if isinstance(one, Told)] == ["one-1", "v2"]

    virtually(run())


def test_costs_are_added_up_and_names_that_make_no_sense_are_not_believed() -> None:
    async def run() -> None:
        async def dear(batch: Sequence[Input]) -> Answers:
            return answers(batch, cost=Cost({"tokens": 7, "Bad name": 1, "gifts": -1}, {"EUR": 0.25}))

        async with scene(Target(dear)) as here:
            await here.ask(names(4))
            units, money = "prelabel_remote_units_total", "prelabel_remote_money_total"
            assert here.metrics.registry.get_sample_value(units, {"provider": "scripted", "unit": "tokens"}) == 28
            assert here.metrics.registry.get_sample_value(units, {"provider": "scripted", "unit": "other"}) == 4
            assert here.metrics.registry.get_sample_value(money, {"provider": "scripted", "currency": "EUR"}) == 1

    virtually(run())


# ----------------------------------------------------------------------------------------------------------- refusals


def test_a_refused_batch_is_asked_one_by_one_and_only_the_guilty_one_fails() -> None:
    async def run() -> None:
        async def strict(batch: Sequence[Input]) -> Answers:
            if any(one.task == "t5" for one in batch):
                raise InputRefused("the target answered 422")
            return answers(batch)

        target = Target(strict)
        async with scene(target, tasks_per_call=8) as here:
            began = now()
            said = await here.ask(names(8))
            assert now() - began < 1.0
        assert [isinstance(one, Told) for one in said] == [name != "t5" for name in names(8)]
        assert max(target.of_task().values()) == 2

    virtually(run())


def test_what_may_not_be_called_fails_and_says_why() -> None:
    async def run() -> None:
        async def forbidden(batch: Sequence[Input]) -> Answers:
            raise NotAllowed("10.0.0.1 is private; PRELABEL_EGRESS_ALLOW would allow it")

        target = Target(forbidden)
        async with scene(target) as here:
            (said,) = await here.ask(["t"])
        assert isinstance(said, Failed)
        assert (said.reason, "PRELABEL_EGRESS_ALLOW" in said.detail) == ("not_allowed", True)
        assert len(target.calls) == 1

    virtually(run())


def test_a_provider_with_a_defect_fails_its_task_and_nothing_else() -> None:
    async def run() -> None:
        async def broken(batch: Sequence[Input]) -> Answers:
            if batch[0].task == "t1":
                raise KeyError("a defect")
            return answers(batch)

        async with scene(Target(broken)) as here:
            said = await here.ask(names(3))
        assert [isinstance(one, Told) for one in said] == [True, False, True]

    virtually(run())


# -------------------------------------------------------------------------------------------- waiting and once more


def test_retry_after_is_obeyed_by_all_calls_of_the_target() -> None:
    async def run() -> None:
        async def tired(batch: Sequence[Input]) -> Answers:
            if len(target.calls) == 3:
                raise Throttled("429", after=4.0)
            await asyncio.sleep(0.1)
            return answers(batch)

        target = Target(tired)
        async with scene(target, concurrency=1) as here:
            said = await here.ask(names(6))
        assert all(isinstance(one, Told) for one in said)
        refused_at = target.calls[2][0]
        assert min(at for at, _ in target.calls[3:]) >= refused_at + 4.0

    virtually(run())


def test_repeats_are_a_tenth_of_calls_whatever_fails() -> None:
    async def run() -> None:
        async def every_third(batch: Sequence[Input]) -> Answers:
            await asyncio.sleep(0.05)
            if len(target.calls) % 3 == 0:
                raise TargetFailed("500")
            return answers(batch)

        target = Target(every_third)
        async with scene(target, concurrency=32) as here:
            await keep_asking(here, 60, at_once=64)
            repeated = here.counted("prelabel_remote_retries_total")
        firsts = len(target.calls) - repeated
        assert repeated <= 0.1 * firsts + 3 + 0.1 * 60
        assert repeated > 0.05 * firsts

    virtually(run())


def test_a_task_that_makes_its_target_fail_is_given_up_after_its_attempts() -> None:
    async def run() -> None:
        async def poisoned(batch: Sequence[Input]) -> Answers:
            await asyncio.sleep(0.05)
            if batch[0].task == "poison":
                raise TargetFailed("500")
            return answers(batch)

        target = Target(poisoned)
        async with scene(target, attempts=3) as here:
            busy = asyncio.create_task(keep_asking(here, 60, at_once=8))
            (said,) = await here.ask(["poison"])
            busy.cancel()
        assert isinstance(said, Failed)
        assert said.reason == "unavailable"
        assert target.of_task()["poison"] == 3

    virtually(run())


def test_a_deadline_ends_a_task_while_it_waits_and_while_it_is_asked() -> None:
    async def run() -> None:
        target = Target(after(60.0))
        async with scene(target, concurrency=1, attempt_seconds=100.0) as here:
            (asked,) = await here.ask(["asked"], seconds=2.0)
            assert now() == pytest.approx(2.0, abs=0.1)
            blocking = asyncio.create_task(here.ask(["blocks"]))
            await asyncio.sleep(1)
            (waited,) = await here.ask(["waits"], seconds=3.0)
            assert now() == pytest.approx(6.0, abs=0.1)
            blocking.cancel()
        assert [one.reason for one in (asked, waited) if isinstance(one, Failed)] == ["deadline", "deadline"]
        assert "waits" not in target.of_task()

    virtually(run())


# -------------------------------------------------------------------------------------------------------- the dead


async def _hangs(batch: Sequence[Input]) -> Answers:
    await asyncio.sleep(1e6)
    raise AssertionError


async def _refuses_connections(batch: Sequence[Input]) -> Answers:
    raise TargetFailed("the target could not be reached (unreachable)")


async def _garbage(batch: Sequence[Input]) -> Answers:
    await asyncio.sleep(0.1)
    raise TargetFailed("the answer is no JSON")


@pytest.mark.parametrize("tasks", [1, 100])
@pytest.mark.parametrize("dead", [_hangs, _refuses_connections, _garbage])
def test_a_dead_target_is_called_by_its_probes_only_within_ten_seconds(dead: object, tasks: int) -> None:
    async def run() -> None:
        target = Target(dead)  # type: ignore[arg-type]
        async with scene(target, patience=1e9) as here:
            asking = asyncio.create_task(_insisting(here.ask, names(tasks)))
            await asyncio.sleep(10)
            assert here.counted("prelabel_remote_targets_down") == 1
            before = len(target.calls)
            target.most_in_flight = target.in_flight
            await asyncio.sleep(120)
            assert target.most_in_flight <= 1
            assert len(target.calls) - before <= 12
            asking.cancel()

    virtually(run())


async def _insisting(ask: object, tasks: Sequence[str]) -> Sequence[bytes | Told | Failed]:
    """As the delivery loop does: a dependency that is down is waited for, and asked for the same again."""
    while True:
        try:
            return await ask(tasks)  # type: ignore[operator, no-any-return]
        except CannotStart:
            await asyncio.sleep(1)


def test_a_target_that_comes_back_answers_what_waited_and_nobody_is_asked_twice_who_was_answered() -> None:
    async def run() -> None:
        async def away(batch: Sequence[Input]) -> Answers:
            await asyncio.sleep(0.1)
            if 0.5 < now() < 40:
                raise TargetFailed("503")
            return answers(batch)

        target = Target(away)
        async with scene(target, concurrency=8) as here:
            said = await _insisting(here.ask, names(100))
            assert 40 < now() < 80
            assert here.counted("prelabel_remote_targets_down") == 0
        assert all(isinstance(one, Told) for one in said)
        answered_first = [task for at, tasks in target.calls if at <= 0.4 for task in tasks]
        assert answered_first
        assert all(target.of_task()[task] == 1 for task in answered_first)

    virtually(run())


def test_a_target_that_stays_away_fails_its_tasks_after_patience_and_no_sooner() -> None:
    async def run() -> None:
        async with scene(Target(_refuses_connections), patience=60) as here:
            said = await _insisting(here.ask, names(20))
            assert 60 < now() < 100
            began = now()
            more = await _insisting(here.ask, names(20, "later"))
            assert now() - began < 35
        assert {one.reason for one in (*said, *more) if isinstance(one, Failed)} == {"unavailable"}
        assert len(said) + len(more) == 40

    virtually(run())


@pytest.mark.parametrize("failure", [Throttled("429"), Throttled("429", after=3600.0)])
def test_a_target_that_only_ever_asks_to_wait_does_not_hold_a_run_for_ever(failure: CallFailed) -> None:
    async def run() -> None:
        async def never(batch: Sequence[Input]) -> Answers:
            raise failure

        target = Target(never)
        async with scene(target, patience=60, total_seconds=30) as here:
            said = await _insisting(here.ask, names(5))
        assert [one.reason for one in said if isinstance(one, Failed)] == ["rate_limited"] * 5

    virtually(run())


def test_a_dead_target_slows_no_other() -> None:
    async def run() -> None:
        targets = {"dead": Target(_hangs), "one": Target(after(0.3))}
        async with scene(targets, concurrency=16) as here:
            alone = await keep_asking(here, 30)
            dead = asyncio.create_task(_insisting(lambda tasks: here.ask(tasks, name="dead"), names(100)))
            beside = await keep_asking(here, 30)
            dead.cancel()
        assert beside >= 0.95 * alone

    virtually(run())


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"nome": "one"}, "/nome: Extra inputs are not permitted"),
        ({"name": 7}, "/name: "),
        ({"name": "nobody"}, "KeyError"),
    ],
)
def test_settings_that_cannot_be_used_are_told_and_nobody_is_called(settings: dict[str, Any], told: str) -> None:
    async def run() -> None:
        target = Target(after(0.1))
        async with scene(target) as here:
            with pytest.raises(BadSettings, match=told):
                await here.caller.load(settings)
        assert not target.calls

    virtually(run())


@pytest.mark.parametrize(
    "wrong",
    [
        {"concurrency": 0},
        {"tasks_per_call": 0},
        {"attempts": 0},
        {"attempt_seconds": 0.0},
        {"total_seconds": float("nan")},
        {"rate": Rate("r", 0.0)},
    ],
    ids=lambda how: next(iter(how)),
)
def test_a_way_of_calling_that_would_never_call_is_none(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="or more"):
        Calling("target", **wrong)


def test_tasks_that_wait_while_their_model_is_loaded_anew_are_answered() -> None:
    async def run() -> None:
        target = Target(after(1.0))
        others = {f"m{number}": Target(after(0.1)) for number in range(MODELS)}
        async with scene({"one": target, **others}, concurrency=1) as here:
            first = asyncio.create_task(here.ask(names(3)))
            await asyncio.sleep(0.5)
            for name in others:  # so many that the first one is forgotten
                await here.caller.load({"name": name})
            more = await here.ask(names(2, "later"))
            assert all(isinstance(one, Told) for one in [*await first, *more])

    virtually(run())


def test_who_gives_up_waiting_is_not_asked_about() -> None:
    async def run() -> None:
        target = Target(after(1.0))
        async with scene(target, concurrency=1) as here:
            asking = asyncio.create_task(here.ask(names(10)))
            await asyncio.sleep(1.5)
            asking.cancel()
            await asyncio.sleep(20)
        assert len(target.calls) == 2

    virtually(run())
