"""What serves follows the serving pointer, and nobody waits for it: on a real worker, bus and model store."""

import asyncio
import os
import shutil
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from prelabel_provider.serving.pointers import TRIED_AGAIN, Pointers
from prelabel_provider.serving.swap import InPlace
from prelabel_runtime.errors import Unavailable

from .serving_rig import PATIENCE, Rig, project, published, requested, running


async def _eventually(look: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not look():  # noqa: ASYNC110 - what is looked at is another's
            await asyncio.sleep(0.01)


# -------------------------------------------------------------------------------------------------- a pointer moves


async def test_a_promoted_version_serves_under_its_name_and_the_settings_before_it_under_the_models_own(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as rig:
        config = await rig.know(project())
        before = await rig.version(config)
        assert before.startswith("ledger-")
        assert before.endswith("says OWN")
        await rig.point(await rig.trained("NEW"), "1-abc", 1)
        told = await rig.until_told("serving", 1)
        assert (told.version, told.host, told.provider) == ("1-abc", "here", "ledger")
        assert told.memory_mib is not None
        assert told.seconds is not None
        assert await rig.version(config) == "1-abc says NEW"
        # Counted once the line is free again, which is after it was told.
        await _eventually(lambda: b'prelabel_serving_epoch{provider="ledger"} 1.0' in rig.runtime.metrics.expose())


async def test_requests_are_answered_by_what_serves_while_the_next_version_loads(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    async with running(tmp_path) as rig:
        config = await rig.know(project())
        old = await rig.version(config)
        pid = rig.worker.pid
        await rig.point(await rig.trained("NEW", load_after=str(gate)), "1-abc", 1)
        await _eventually(lambda: rig.serving.loading)
        assert {await rig.version(config, str(n)) for n in range(20)} == {old}
        assert rig.worker.pid == pid
        gate.touch()
        await rig.until_told("serving", 1)
        assert await rig.version(config) == "1-abc says NEW"
        assert rig.worker.pid != pid


async def test_a_batch_under_way_ends_with_the_version_it_began_with_and_others_do_not_wait_for_it(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as rig:
        config = await rig.know(project())
        old = await rig.version(config)
        assert rig.worker.pid is not None
        pid = rig.worker.pid
        os.kill(pid, signal.SIGSTOP)
        slow = asyncio.create_task(rig.version(config, "slow"))
        await rig.point(await rig.trained("NEW"), "1-abc", 1)
        await rig.until_told("serving", 1)
        assert await rig.version(config, "quick") == "1-abc says NEW"
        assert not slow.done()
        assert rig.worker.leaving == (pid,)
        os.kill(pid, signal.SIGCONT)
        assert await slow == old
        assert (rig.worker.counts.deaths, rig.worker.counts.repeated) == (0, 0)
        await _eventually(lambda: not _alive(pid))


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_what_the_old_process_had_not_answered_when_it_died_is_answered_by_the_new_one(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        config = await rig.know(project())
        old = await rig.version(config)
        assert rig.worker.pid is not None
        pid = rig.worker.pid
        os.kill(pid, signal.SIGSTOP)
        slow = asyncio.create_task(rig.version(config, "slow"))
        await rig.point(await rig.trained("NEW"), "1-abc", 1)
        await rig.until_told("serving", 1)
        os.kill(pid, signal.SIGKILL)
        assert await slow == old


async def test_a_rollback_loads_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        config = await rig.know(project())
        await rig.ask(config, "x")
        one, two = await rig.trained("ONE"), await rig.trained("TWO")
        await rig.point(one, "1-abc", 1)
        await rig.until_told("serving", 1)
        assert await rig.version(config) == "1-abc says ONE"
        await rig.point(two, "2-abc", 2, previous=one, previous_version="1-abc")
        await rig.until_told("serving", 2)
        assert await rig.version(config) == "2-abc says TWO"
        pid = rig.worker.pid
        await rig.point(one, "1-abc", 3, previous=two, previous_version="2-abc")
        await rig.until_told("serving", 3)
        assert await rig.version(config) == "1-abc says ONE"
        await rig.point("", "settings", 4, previous=one, previous_version="1-abc")
        await rig.until_told("serving", 4)
        assert (await rig.version(config)).endswith("says OWN")
        assert rig.worker.pid == pid


async def test_a_rollback_does_not_wait_for_another_models_version_and_stays_loaded_after_it(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    async with running(tmp_path) as rig:
        config, other = await rig.know(project()), await rig.know(project("other"))
        await rig.ask(config, "x")
        await rig.ask(other, "x")
        await rig.point(await rig.trained("NEW"), "1-abc", 1)
        await rig.until_told("serving", 1)
        await rig.point(await rig.trained("SLOW", load_after=str(gate)), "1-def", 2, project="other")
        await _eventually(lambda: rig.serving.loading)
        await rig.point("", "settings", 3)
        await rig.until_told("serving", 3)
        assert rig.serving.loading
        assert (await rig.version(config)).endswith("says OWN")
        gate.touch()
        await rig.until_told("serving", 2)
        pid = rig.worker.pid
        assert (await rig.version(config)).endswith("says OWN")
        assert await rig.version(other) == "1-def says SLOW"
        assert rig.worker.pid == pid


async def test_of_versions_that_do_not_serve_the_oldest_goes_first(tmp_path: Path) -> None:
    async with running(tmp_path, models=2) as rig:
        config = await rig.know(project())
        other = await rig.know(project("other", label="OTHER"))
        await rig.ask(config, "x")
        await rig.ask(other, "x")
        for number, label in enumerate(("ONE", "TWO", "THREE"), 1):
            await rig.point(await rig.trained(label), f"{number}-abc", number)
            await rig.until_told("serving", number)
        pid = rig.worker.pid
        assert len(rig.worker.held) == 2
        assert await rig.version(config) == "3-abc says THREE"
        assert (await rig.version(other)).endswith("says OTHER")
        assert rig.worker.pid == pid
        assert len(rig.worker.held) == 2


async def test_a_pointer_that_moves_on_while_a_version_loads_is_followed_to_its_end(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    async with running(tmp_path) as rig:
        config = await rig.know(project())
        await rig.ask(config, "x")
        await rig.point(await rig.trained("ONE", load_after=str(gate)), "1-abc", 1)
        await _eventually(lambda: rig.serving.loading)
        for number in (2, 3):
            await rig.point(await rig.trained(f"N{number}"), f"{number}-abc", number)
        gate.touch()
        await rig.until_told("serving", 3)
        assert await rig.version(config) == "3-abc says N3"
        assert [one.epoch for one in await rig.told("serving")] == [1, 3]


async def test_a_pointer_never_goes_back_to_an_earlier_epoch_unless_it_was_taken_back(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        for epoch in (1, 3, 2):
            await rig.point("", "settings", epoch)
        read = Pointers(rig.runtime.bus, rng=rig.runtime.rng)
        await read.start()
        assert [row.epoch for row in read.rows().values()] == [3]
        await read.stop()
        await rig.take_back()
        await rig.point("", "settings", 1)
        read = Pointers(rig.runtime.bus, rng=rig.runtime.rng)
        await read.start()
        assert [row.epoch for row in read.rows().values()] == [1]
        await read.stop()


async def test_pointers_to_another_providers_versions_change_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        config = await rig.know(project())
        await rig.point(await rig.trained("NEW"), "1-abc", 1, provider="echo")
        await rig.point(await rig.trained("NEW"), "1-abc", 1, project="other")
        assert (await rig.version(config)).endswith("says OWN")
        await rig.point(await rig.trained("NEW"), "2-abc", 2)
        await rig.until_told("serving", 2)
        assert [(one.project, one.epoch) for one in await rig.told()] == [("demo", 2)]


async def test_where_the_pointer_is_taken_back_the_settings_serve(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        config = await rig.know(project())
        await rig.ask(config, "x")
        await rig.point(await rig.trained("NEW"), "1-abc", 5)
        await rig.until_told("serving", 5)
        await rig.take_back()
        line = rig.serving.versions.line("demo", "m")
        await _eventually(lambda: line.release is None)
        assert (await rig.version(config)).endswith("says OWN")
        await rig.point(await rig.trained("AGAIN"), "1-def", 1)
        await rig.until_told("serving", 1)
        assert await rig.version(config) == "1-def says AGAIN"


async def test_projects_with_the_same_version_are_asked_together_and_named_apart(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        one, other = await rig.know(project()), await rig.know(project("other"))
        artifact = await rig.trained("SAME")
        for config in (one, other):
            await rig.ask(config, "x")
        await rig.point(artifact, "1-abc", 1)
        await rig.point(artifact, "7-abc", 2, project="other")
        await rig.until_told("serving", 1)
        await rig.until_told("serving", 2)
        replies = await rig.inference.predict([requested(one, "a"), requested(other, "b"), requested(one, "c")])
        said = [(reply[0].data.version, reply[0].data.regions[0].labels) for reply in replies]  # type: ignore[index]
        assert said == [("1-abc", ("SAME",)), ("7-abc", ("SAME",)), ("1-abc", ("SAME",))]


async def test_settings_that_change_while_a_version_serves_are_asked_with_that_version(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        config = await rig.know(project())
        await rig.ask(config, "x")
        await rig.point(await rig.trained("NEW"), "1-abc", 1)
        await rig.until_told("serving", 1)
        changed = await rig.know(project(choice="other"))
        assert await rig.version(changed) == "1-abc says NEW"
        wrong = await rig.know(project(unknown=1))
        [outcome] = await rig.ask(wrong, "x")
        assert outcome.reason == "settings"
        assert await rig.version(config) == "1-abc says NEW"


async def test_the_mapping_of_labels_is_for_the_models_own_words_and_not_for_trained_versions(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        plain = project()
        model = plain.models[0].model_copy(update={"labels": {"OWN": "MAPPED", "NEW": "WRONG"}})
        config = await rig.know(plain.model_copy(update={"models": (model,)}))
        assert (await rig.version(config)).endswith("says MAPPED")
        await rig.point(await rig.trained("NEW"), "1-abc", 1)
        await rig.until_told("serving", 1)
        assert await rig.version(config) == "1-abc says NEW"


# ---------------------------------------------------------------------------------------- versions that are refused

Break = Callable[[Rig], Awaitable[tuple[str, str]]]


async def _other_bytes(rig: Rig) -> tuple[str, str]:
    artifact = await rig.trained("NEW")
    path = rig.store / artifact / "ledger.json"
    path.write_bytes(path.read_bytes().replace(b"NEW", b"BAD"))
    return artifact, "damaged"


async def _a_file_more(rig: Rig) -> tuple[str, str]:
    artifact = await rig.trained("NEW")
    (rig.store / artifact / "more.json").write_text("{}", encoding="utf-8")
    return artifact, "unknown_file"


async def _another_providers(rig: Rig) -> tuple[str, str]:
    return await published(rig.models, rig.scratch, provider="echo", label="NEW"), "provider"


async def _none(rig: Rig) -> tuple[str, str]:
    return "0" * 64, "missing"


async def _no_name(rig: Rig) -> tuple[str, str]:
    return "../../etc", "name"


async def _kills_by_being_loaded(rig: Rig) -> tuple[str, str]:
    return await rig.trained("NEW", die_on_load=True), "cannot be loaded"


async def _bad_settings(rig: Rig) -> tuple[str, str]:
    return await rig.trained("NEW", unknown=1), "cannot be loaded"


async def _fails_at_the_canary(rig: Rig) -> tuple[str, str]:
    return await rig.trained("NEW", fail_on="bird"), "told"


async def _dies_of_the_canary(rig: Rig) -> tuple[str, str]:
    return await rig.trained("NEW", abort_on="bird"), "SIGABRT"


async def _raises_at_the_canary(rig: Rig) -> tuple[str, str]:
    return await rig.trained("NEW", raise_on="bird"), "RuntimeError"


async def _hangs_at_the_canary(rig: Rig) -> tuple[str, str]:
    return await rig.trained("NEW", hang_on="bird"), "not answered within"


async def _loses_an_answer(rig: Rig) -> tuple[str, str]:
    return await rig.trained("NEW", lose_on="bird"), "predictions for"


@pytest.mark.parametrize(
    "broken",
    [
        _other_bytes,
        _a_file_more,
        _another_providers,
        _none,
        _no_name,
        _kills_by_being_loaded,
        _bad_settings,
        _fails_at_the_canary,
        _dies_of_the_canary,
        _raises_at_the_canary,
        _hangs_at_the_canary,
        _loses_an_answer,
    ],
)
async def test_a_broken_version_is_refused_with_its_reason_and_what_serves_goes_on(
    tmp_path: Path, broken: Break
) -> None:
    # Waited out by the one that hangs. What is well must answer within it, on a machine that stands still, too.
    async with running(tmp_path, canary_seconds=5.0 if broken is _hangs_at_the_canary else 30.0) as rig:
        config = await rig.know(project())
        await rig.ask(config, "the bird", "another")
        await rig.point(await rig.trained("GOOD"), "1-abc", 1)
        await rig.until_told("serving", 1)
        await rig.ask(config, "a bird", "another")
        pid = rig.worker.pid
        artifact, reason = await broken(rig)
        await rig.point(artifact, "2-abc", 2)
        told = await rig.until_told("refused", 2)
        assert reason in told.detail
        assert "version 1-abc goes on" in told.detail
        assert str(tmp_path) not in told.detail, "where files lie on a machine is told to nobody"
        assert await rig.version(config, "bird") == "1-abc says GOOD"
        assert rig.worker.pid == pid
        assert rig.worker.counts.deaths == 0
        await rig.point(await rig.trained("FINE"), "3-abc", 3)
        await rig.until_told("serving", 3)
        assert await rig.version(config, "bird") == "3-abc says FINE"


async def test_what_goes_on_since_its_followers_were_refused_stays_young_for_a_trainer_that_tidies_the_same_machine(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, renew_seconds=0.05) as rig:
        config = await rig.know(project())
        await rig.version(config)
        good = await rig.trained("NEW")
        await rig.point(good, "1-good", 1)
        await rig.until_told("serving", 1)
        for epoch in (2, 3):
            await rig.point(await rig.trained("BAD", die_on_load=True, choice=str(epoch)), f"{epoch}-bad", epoch)
            await rig.until_told("refused", epoch)
        here = tmp_path / "cache" / good
        os.utime(here, (1, 1))
        await _eventually(lambda: here.stat().st_mtime > 1)
        assert await rig.version(config) == "1-good says NEW"


async def test_a_version_that_hangs_while_it_is_loaded_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path, start_seconds=10.0) as rig:
        config = await rig.know(project())
        old = await rig.version(config)
        await rig.point(await rig.trained("NEW", load_after=str(tmp_path / "never")), "1-abc", 1)
        assert "took longer than" in (await rig.until_told("refused", 1)).detail
        assert await rig.version(config) == old


async def test_what_the_serving_version_cannot_answer_either_is_not_held_against_the_next(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        config = await rig.know(project(fail_on="bird"))
        await rig.ask(config, "a bird", "a cat")
        await rig.point(await rig.trained("NEW", fail_on="bird"), "1-abc", 1)
        await rig.until_told("serving", 1)
        assert await rig.version(config) == "1-abc says NEW"


async def test_projects_that_are_asked_together_try_a_version_on_inputs_of_their_own(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        one, other = await rig.know(project()), await rig.know(project("other"))
        await rig.inference.predict([requested(one, "a cat"), requested(other, "a bird")])
        picky = await rig.trained("NEW", fail_on="bird")
        await rig.point(picky, "1-abc", 1, project="other")
        assert "told" in (await rig.until_told("refused", 1)).detail
        await rig.point(picky, "1-abc", 2)
        await rig.until_told("serving", 2)


async def test_a_version_that_is_not_there_yet_is_tried_again_and_one_that_is_wrong_is_not(tmp_path: Path) -> None:
    async with running(tmp_path, again_seconds=0.05) as rig:
        config = await rig.know(project())
        await rig.ask(config, "x")
        wrong, _ = await _other_bytes(rig)
        await rig.point(wrong, "1-abc", 1)
        assert "tried again" not in (await rig.until_told("refused", 1)).detail
        artifact = await rig.trained("LATE")
        (rig.store / artifact).rename(tmp_path / "elsewhere")
        await rig.point(artifact, "2-abc", 2)
        assert (await rig.until_told("refused", 2)).detail.endswith(TRIED_AGAIN)
        (tmp_path / "elsewhere").rename(rig.store / artifact)
        await rig.until_told("serving", 2)
        assert await rig.version(config) == "2-abc says LATE"
        assert len([one for one in await rig.told("refused") if one.epoch == 1]) == 1


async def test_a_version_that_kills_its_process_is_not_tried_for_ever_until_promoted_anew(tmp_path: Path) -> None:
    async with running(tmp_path, again_seconds=0.01) as rig:
        config = await rig.know(project())
        await rig.ask(config, "x")
        deadly = await rig.trained("NEW", die_on_load=True)
        await rig.point(deadly, "1-abc", 1)
        line = rig.serving.versions.line("demo", "m")
        await _eventually(lambda: rig.serving.given_up(line))
        assert {"it is tried again" in one.detail for one in await rig.told("refused")} == {True, False}
        await rig.point(deadly, "1-abc", 2)
        assert (await rig.until_told("refused", 2)).detail.endswith(TRIED_AGAIN)


async def test_where_there_is_no_room_for_two_processes_versions_come_into_the_one(tmp_path: Path) -> None:
    async with running(tmp_path, swap=InPlace) as rig:
        config = await rig.know(project())
        await rig.ask(config, "the bird", "another")
        pid = rig.worker.pid
        await rig.point(await rig.trained("NEW"), "1-abc", 1)
        await rig.until_told("serving", 1)
        assert await rig.version(config, "bird") == "1-abc says NEW"
        assert rig.worker.pid == pid
        await rig.ask(config, "a bird")
        bad = await rig.trained("BAD", fail_on="bird")
        for epoch in (2, 3):
            await rig.point(bad, "2-abc", epoch)
            await rig.until_told("refused", epoch)
            assert await rig.version(config, "bird") == "1-abc says NEW"


# ------------------------------------------------------------------------------------------------------- cold starts


async def _promoted(folder: Path, *versions: str) -> list[str]:
    """Versions that served one after the other, in a process that has ended."""
    async with running(folder) as rig:
        await rig.know(project())
        artifacts = [await rig.trained(label) for label in versions]
        for number, artifact in enumerate(artifacts, 1):
            before = {"previous": artifacts[number - 2], "previous_version": f"{number - 1}-abc"} if number > 1 else {}
            await rig.point(artifact, f"{number}-abc", number, **before)
    return artifacts


async def test_after_a_start_the_first_request_is_answered_by_what_serves(tmp_path: Path) -> None:
    await _promoted(tmp_path, "ONE", "TWO")
    async with running(tmp_path) as rig:
        assert await rig.version(project()) == "2-abc says TWO"
        assert (await rig.until_told("serving", 2)).version == "2-abc"


async def test_what_serves_is_loaded_after_a_start_though_nobody_asks(tmp_path: Path) -> None:
    await _promoted(tmp_path, "ONE")
    async with running(tmp_path) as rig:
        await rig.until_told("serving", 1)
        assert len(rig.worker.held) == 1


async def test_after_a_start_a_broken_version_is_passed_over_for_the_one_before_it_and_that_is_told(
    tmp_path: Path,
) -> None:
    _, two = await _promoted(tmp_path, "ONE", "TWO")
    shutil.rmtree(tmp_path / "cache", ignore_errors=True)
    (tmp_path / "store" / two / "ledger.json").write_bytes(b"{}")
    async with running(tmp_path) as rig:
        assert await rig.version(project()) == "1-abc says ONE"
        assert "version 1-abc goes on" in (await rig.until_told("refused", 2)).detail


async def test_after_a_start_without_any_version_to_be_had_the_settings_serve_and_that_is_told(tmp_path: Path) -> None:
    await _promoted(tmp_path, "ONE", "TWO")
    for folder in ("cache", "store"):
        shutil.rmtree(tmp_path / folder, ignore_errors=True)
    async with running(tmp_path) as rig:
        assert (await rig.version(project())).endswith("says OWN")
        assert "the model as its settings say goes on" in (await rig.until_told("refused", 2)).detail


async def test_a_version_that_dies_at_a_start_is_passed_over_too(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        await rig.know(project())
        await rig.point(await rig.trained("NEW", die_on_load=True), "1-abc", 1)
        await rig.until_told("refused", 1)
    async with running(tmp_path) as rig:
        assert (await rig.version(project())).endswith("says OWN")
        assert "cannot be loaded" in (await rig.until_told("refused", 1)).detail


async def test_after_a_start_a_version_that_is_refused_is_told_without_its_place_on_the_machine(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        await rig.know(project())
        await rig.point(await rig.trained("NEW", unknown=1), "1-abc", 1)
        await rig.until_told("refused", 1)
    async with running(tmp_path) as rig:
        assert (await rig.version(project())).endswith("says OWN")
        assert "cannot be loaded: path: 'version 1-abc'" in (await rig.until_told("refused", 1)).detail


async def test_a_store_that_is_away_at_a_start_fails_no_request_whose_model_is_nothing_without_it(
    tmp_path: Path,
) -> None:
    own = {"path": str(tmp_path / "none")}
    async with running(tmp_path) as rig:
        await rig.know(project(**own))
        await rig.point(await rig.trained("NEW"), "1-abc", 1)
        await rig.until_told("serving", 1)
    shutil.rmtree(tmp_path / "cache")
    (tmp_path / "store").rename(tmp_path / "away")
    (tmp_path / "store").write_text("no folder", encoding="utf-8")
    async with running(tmp_path) as rig:
        with pytest.raises(Unavailable):
            await rig.ask(project(**own), "x")
        (tmp_path / "store").unlink()
        (tmp_path / "away").rename(tmp_path / "store")
        assert await rig.version(project(**own)) == "1-abc says NEW"


async def test_a_version_whose_files_went_is_fetched_anew_when_its_process_dies(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        config = await rig.know(project())
        await rig.ask(config, "x")
        await rig.point(await rig.trained("NEW"), "1-abc", 1)
        await rig.until_told("serving", 1)
        shutil.rmtree(tmp_path / "cache")
        assert rig.worker.pid is not None
        os.kill(rig.worker.pid, signal.SIGKILL)
        with pytest.raises(Unavailable):
            await rig.ask(config, "y")
        assert await rig.version(config) == "1-abc says NEW"
