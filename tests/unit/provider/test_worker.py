"""What a model does in its process stays there: the promises of the model worker."""

import asyncio
import logging
import os
import select
import signal
import stat
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from prelabel_contract.regions import REGIONS, Span
from prelabel_provider.base import BadSettings, Failed, Input
from prelabel_provider.predictor import CannotStart, key_of
from prelabel_provider.worker.process import death
from prelabel_provider.worker.worker import ModelWorker, ProviderRaised, WorkerDied, WorkerTimeout

from .conftest import MakeWorker, reasons, texts


async def _load(worker: ModelWorker, **settings: Any) -> str:
    await worker.load(settings)
    return key_of(settings)


# -------------------------------------------------------------------------------------------- a model at work


async def test_a_worker_tells_what_its_provider_is(make_worker: MakeWorker) -> None:
    info = await make_worker().start()
    assert info.name == "ledger"
    assert info.package == "0.1.0"
    assert info.kinds == {"span", "choice"}
    assert info.settings_schema["additionalProperties"] is False


async def test_a_batch_is_answered_in_order_as_contract_json(make_worker: MakeWorker) -> None:
    worker = make_worker()
    key = await _load(worker)
    outcomes = await worker.predict(key, texts("😀 one", "", "two three"))
    spans = [
        [r.text for r in REGIONS.validate_json(one) if isinstance(r, Span)]
        for one in outcomes
        if isinstance(one, bytes)
    ]
    assert spans == [["😀"], [], ["two"]]


async def test_an_empty_batch_asks_nobody(make_worker: MakeWorker) -> None:
    worker = make_worker()
    key = await _load(worker)
    assert await worker.predict(key, []) == []


async def test_a_large_batch_passes_whole(make_worker: MakeWorker) -> None:
    worker = make_worker()
    key = await _load(worker)
    said = "x" * 3_000_000
    outcomes = await worker.predict(key, texts(*[said] * 10))
    assert [len(one) > len(said) for one in outcomes if isinstance(one, bytes)] == [True] * 10


async def test_what_a_model_prints_blocks_nobody_and_is_told_at_debug_only(
    make_worker: MakeWorker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    worker = make_worker()
    key = await _load(worker, print_bytes=2_000_000)
    assert reasons(await worker.predict(key, texts("private"))) == [None]
    assert all("xxx" not in record.getMessage() for record in caplog.records)


async def test_several_models_live_in_one_worker(make_worker: MakeWorker) -> None:
    worker = make_worker()
    one = await _load(worker, label="ONE")
    two = await _load(worker, label="TWO")
    for key, label in ((one, b"ONE"), (two, b"TWO"), (one, b"ONE")):
        (said,) = await worker.predict(key, texts("x"))
        assert isinstance(said, bytes)
        assert label in said
    assert worker.counts.starts == 1


async def test_a_model_that_others_pushed_out_comes_back(make_worker: MakeWorker) -> None:
    worker = make_worker(models=1)
    one = await _load(worker, label="ONE")
    two = await _load(worker, label="TWO")
    for key, label in ((one, b"ONE"), (two, b"TWO"), (one, b"ONE")):
        (said,) = await worker.predict(key, texts("x"))
        assert isinstance(said, bytes)
        assert label in said


async def test_a_model_is_loaded_once(make_worker: MakeWorker) -> None:
    worker = make_worker()
    assert await worker.load({"label": "A"}) is await worker.load({"label": "A"})


async def test_a_model_that_was_never_loaded_is_unknown(make_worker: MakeWorker) -> None:
    with pytest.raises(KeyError):
        await make_worker().predict("nothing", texts("x"))


async def test_an_unloaded_model_is_unknown(make_worker: MakeWorker) -> None:
    worker = make_worker()
    key = await _load(worker)
    await worker.unload(key)
    with pytest.raises(KeyError):
        await worker.predict(key, texts("x"))


async def test_callers_wait_for_each_other(make_worker: MakeWorker) -> None:
    worker = make_worker()
    key = await _load(worker)
    said = await asyncio.gather(*(worker.predict(key, texts(f"word{i}")) for i in range(20)))
    assert all(f"word{i}".encode() in one[0] for i, one in enumerate(said) if isinstance(one[0], bytes))


async def test_data_that_cannot_travel_fails_alone(make_worker: MakeWorker) -> None:
    worker = make_worker()
    key = await _load(worker)
    inputs = texts("a", "b", "c", "d")
    inputs[1] = Input("big", {"text": "b", "n": 2**70}, "text")
    inputs[3] = Input("lone", {"text": "\ud800"}, "text")
    assert reasons(await worker.predict(key, inputs)) == [None, "input", None, "input"]


async def test_numerical_libraries_get_the_threads_they_are_given(
    make_worker: MakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "64")
    worker = make_worker(threads=2)
    await worker.start()
    assert worker.pid is not None
    assert _environment(worker.pid)["OMP_NUM_THREADS"] == "2"


def _environment(pid: int) -> dict[str, str]:
    pairs = Path(f"/proc/{pid}/environ").read_text().split("\0")
    return dict(pair.split("=", 1) for pair in pairs if pair)


# ---------------------------------------------------------------------------------------- what does not start


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"no_such": 1}, "/no_such: "),
        ({"seconds_per_task": -1}, "/seconds_per_task: "),
        ({"ledger": "/no/such/folder/file"}, "ledger: No such file"),
    ],
)
async def test_bad_settings_are_told_in_one_line(make_worker: MakeWorker, settings: dict[str, Any], told: str) -> None:
    worker = make_worker()
    with pytest.raises(BadSettings, match=f"^{told}[^\n]*$"):
        await worker.load(settings)
    assert reasons(await worker.predict(await _load(worker), texts("x"))) == [None]


async def test_a_provider_that_is_not_installed_is_named(make_worker: MakeWorker) -> None:
    with pytest.raises(CannotStart, match="no provider 'missing' is installed"):
        await make_worker(provider="missing").start()


async def test_an_interpreter_that_is_not_there_is_named(make_worker: MakeWorker) -> None:
    with pytest.raises(CannotStart, match="cannot run /no/such/python"):
        await make_worker(python="/no/such/python").start()


async def test_an_environment_without_our_package_is_told_by_its_last_words(
    make_worker: MakeWorker, tmp_path: Path
) -> None:
    bare = _script(tmp_path, f'exec {sys.executable} -I -S "$@"')
    with pytest.raises(CannotStart, match=r"exited with code 1: .*prelabel_provider"):
        await make_worker(python=bare).start()


async def test_a_start_that_takes_too_long_ends(make_worker: MakeWorker, tmp_path: Path) -> None:
    worker = make_worker(python=_script(tmp_path, "exec sleep 1000"), start_seconds=0.2)
    with pytest.raises(CannotStart, match=r"longer than 0\.2 s"):
        await worker.start()
    assert not worker.running


async def test_a_model_that_kills_its_process_while_it_loads_cannot_start(make_worker: MakeWorker) -> None:
    with pytest.raises(CannotStart, match="killed by SIGABRT"):
        await make_worker().load({"die_on_load": True})


async def test_starts_that_fail_in_a_row_wait_longer_and_longer(make_worker: MakeWorker) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    worker = make_worker(python="/no/such/python", sleep=sleep)
    for _ in range(9):
        with pytest.raises(CannotStart):
            await worker.start()
    assert waits == [0, 0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0]


async def test_a_prediction_ends_the_waiting(make_worker: MakeWorker) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    worker = make_worker(sleep=sleep)
    key = await _load(worker, abort_on="BOOM")
    for _ in range(3):
        with pytest.raises(WorkerDied):
            await worker.predict(key, texts("BOOM"))
    await worker.predict(key, texts("fine"))
    with pytest.raises(WorkerDied):
        await worker.predict(key, texts("BOOM"))
    await worker.predict(key, texts("fine"))
    assert waits == [0, 0, 0.1, 0.2, 0]


# -------------------------------------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize(
    ("harm", "limits", "error", "words"),
    [
        ("abort_on", {}, WorkerDied, "killed by SIGABRT"),
        ("crash_on", {}, WorkerDied, "killed by SIGSEGV"),
        ("eat_on", {"memory_mib": 400}, WorkerDied, "out of memory"),
        ("hang_on", {"batch_seconds": 5.0}, WorkerTimeout, "no answer within 5 s"),
        ("raise_on", {}, ProviderRaised, "^RuntimeError$"),
        ("lose_on", {}, ProviderRaised, "2 predictions for 3 inputs"),
    ],
)
async def test_harm_is_told_in_words_and_the_worker_goes_on(
    make_worker: MakeWorker, harm: str, limits: dict[str, Any], error: type[Exception], words: str
) -> None:
    worker = make_worker(**limits)
    key = await _load(worker, **{harm: "BOOM"})
    with pytest.raises(error, match=words):
        await worker.predict(key, texts("a", "BOOM", "c"))
    assert reasons(await worker.predict(key, texts("a"))) == [None]


@pytest.mark.parametrize(
    ("harm", "limits", "reason", "deaths"),
    [
        ("abort_on", {}, "worker_crashed", 3),
        ("crash_on", {}, "worker_crashed", 3),
        ("eat_on", {"memory_mib": 400}, "worker_crashed", 3),
        ("hang_on", {"batch_seconds": 5.0}, "timeout", 3),
        ("raise_on", {}, "error", 0),
        ("lose_on", {}, "error", 0),
        ("fail_on", {}, "told", 0),
    ],
)
async def test_a_poisoned_input_loses_only_itself(
    make_worker: MakeWorker,
    tmp_path: Path,
    *,
    harm: str,
    limits: dict[str, Any],
    reason: str,
    deaths: int,
) -> None:
    worker = make_worker(**limits)
    ledger = tmp_path / "ledger"
    key = await _load(worker, ledger=str(ledger), **{harm: "BOOM"})
    inputs = texts(*["fine"] * 20, "BOOM", *["fine"] * 11)
    outcomes = await worker.predict_each(key, inputs)
    assert reasons(outcomes) == [None] * 20 + [reason] + [None] * 11
    assert worker.counts.deaths == deaths
    calls = Counter(ledger.read_text().split())
    assert calls["t20"] == (1 if harm == "fail_on" else 3)
    # All were in its company, four of them once more, in a smaller one.
    assert sorted(calls.values()) == ([1] * 32 if harm == "fail_on" else [2] * 27 + [3] * 5)
    assert all("BOOM" not in one.detail for one in outcomes if isinstance(one, Failed))


async def test_several_poisoned_inputs_cost_two_deaths_each_and_an_innocent_one_three_calls_at_most(
    make_worker: MakeWorker, tmp_path: Path
) -> None:
    worker = make_worker()
    ledger = tmp_path / "ledger"
    key = await _load(worker, ledger=str(ledger), abort_on="BOOM")
    inputs = texts(*("BOOM" if number % 8 == 3 else "fine" for number in range(24)))
    outcomes = await worker.predict_each(key, inputs)
    assert [number for number, reason in enumerate(reasons(outcomes)) if reason] == [3, 11, 19]
    assert worker.counts.deaths == 1 + 2 * 3
    assert max(Counter(ledger.read_text().split()).values()) == 3


async def test_a_search_does_not_wait_longer_and_longer_though_everything_is_poisoned(make_worker: MakeWorker) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    worker = make_worker(sleep=sleep)
    key = await _load(worker, abort_on="BOOM")
    assert reasons(await worker.predict_each(key, texts(*["BOOM"] * 9))) == ["worker_crashed"] * 9
    assert worker.counts.deaths == 1 + 3 + 9
    assert set(waits) == {0}


async def test_a_worker_that_somebody_else_kills_costs_no_input(make_worker: MakeWorker) -> None:
    worker = make_worker()
    key = await _load(worker, seconds_per_task=0.05)
    running = asyncio.create_task(worker.predict_each(key, texts(*["fine"] * 10)))
    await asyncio.sleep(0)  # until it has sent its question
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGKILL)
    assert reasons(await running) == [None] * 10


async def test_a_worker_that_died_between_two_batches_is_replaced(make_worker: MakeWorker) -> None:
    worker = make_worker()
    key = await _load(worker)
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGKILL)
    assert reasons(await worker.predict_each(key, texts("a"))) == [None]
    assert worker.counts.starts == 2


async def test_signals_to_the_whole_group_do_not_end_a_worker(make_worker: MakeWorker) -> None:
    worker = make_worker()
    key = await _load(worker)
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGTERM)
    os.kill(worker.pid, signal.SIGINT)
    assert reasons(await worker.predict(key, texts("a"))) == [None]
    assert worker.counts.starts == 1


async def test_a_cancelled_call_leaves_no_answer_behind(make_worker: MakeWorker) -> None:
    worker = make_worker()
    slow = await _load(worker, seconds_per_task=1.0, label="SLOW")  # it does answer, whether anybody waits or not
    quick = await _load(worker, label="QUICK")
    call = asyncio.create_task(worker.predict(slow, texts("a")))
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    (said,) = await worker.predict(quick, texts("a"))
    assert isinstance(said, bytes)
    assert b"QUICK" in said


# ------------------------------------------------------------------------------------------- several questions


async def test_a_question_that_waits_in_the_process_is_not_timed(make_worker: MakeWorker) -> None:
    worker = make_worker(batch_seconds=8.0)
    key = await _load(worker, seconds_per_task=3.0)
    said = await asyncio.gather(*(worker.predict(key, texts(f"word{number}")) for number in range(3)))
    assert [reasons(one) for one in said] == [[None]] * 3
    assert worker.counts.starts == 1


async def test_who_waits_while_another_kills_the_process_is_asked_again_and_given_to_the_model_once(
    make_worker: MakeWorker, tmp_path: Path
) -> None:
    worker = make_worker()
    ledger = tmp_path / "ledger"
    key = await _load(worker, ledger=str(ledger), abort_on="BOOM")
    innocents = ([Input(f"innocent{number}", {"text": "fine"}, "text")] for number in range(3))
    guilty, *others = await asyncio.gather(
        worker.predict_each(key, texts("BOOM")), *(worker.predict(key, one) for one in innocents)
    )
    assert reasons(guilty) == ["worker_crashed"]
    assert [reasons(one) for one in others] == [[None]] * 3
    given = Counter(ledger.read_text().split())
    # Once more for each process that died before its word was read that it had begun: then all of them are suspects.
    # Three such ends in a row are held against who waited, so each of its two attempts is three processes at most.
    assert 2 <= given.pop("t0") <= 6
    assert given == {"innocent0": 1, "innocent1": 1, "innocent2": 1}


async def test_who_gives_up_waiting_disturbs_nobody_and_is_not_given_to_the_model(
    make_worker: MakeWorker, tmp_path: Path
) -> None:
    worker = make_worker()
    ledger = tmp_path / "ledger"
    os.mkfifo(ledger)
    reading = os.open(ledger, os.O_RDONLY | os.O_NONBLOCK)
    try:
        key = await _load(worker, ledger=str(ledger), seconds_per_task=0.3)
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGSTOP)  # until all have asked, and one of them has given up
        first = asyncio.create_task(worker.predict(key, texts("a", "b")))
        quitter = asyncio.create_task(worker.predict(key, [Input("quitter", {"text": "x"}, "text")]))
        last = asyncio.create_task(worker.predict(key, [Input("last", {"text": "x"}, "text")]))
        await asyncio.sleep(0)  # until they have asked
        quitter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await quitter
        os.kill(worker.pid, signal.SIGCONT)
        assert reasons(await first) == [None, None]
        assert reasons(await last) == [None]
        assert os.read(reading, 1000).split() == [b"t0", b"t1", b"last"]
        assert worker.counts.starts == 1
    finally:
        os.close(reading)


async def test_a_model_that_another_question_pushes_out_meanwhile_comes_back(make_worker: MakeWorker) -> None:
    worker = make_worker(models=1)
    keys = [await _load(worker, label=label) for label in ("ONE", "TWO")]
    said = await asyncio.gather(*(worker.predict(keys[number % 2], texts("x")) for number in range(6)))
    labels = [next(iter(REGIONS.validate_json(one[0]))).labels for one in said if isinstance(one[0], bytes)]
    assert labels == [("ONE",), ("TWO",)] * 3


# -------------------------------------------------------------------------------------------------- strangers


def _script(folder: Path, command: str) -> str:
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{command}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def _impostor(folder: Path, body: str) -> str:
    """An interpreter that runs `body` with the worker's end of the socket as `out`, come what may."""
    code = folder / "impostor.py"
    code.write_text(
        "import socket, struct, sys\n"
        "from prelabel_provider.worker.frames import *\n"
        "out = socket.socket(fileno=int(sys.argv[sys.argv.index('--fd') + 1]))\n"
        f"{body}\n"
        "out.recv(1 << 20); out.recv(1 << 20)\n"
    )
    return _script(folder, f'exec {sys.executable} {code} "$@"')


@pytest.mark.parametrize(
    "body",
    [
        "out.sendall(b'HTTP/1.1 200 OK\\r\\n\\r\\n' * 10)",
        "out.sendall(struct.pack('>I', 5) + b'\\xc1\\xc1\\xc1\\xc1\\xc1')",
        "out.sendall(struct.pack('>I', 2) + b'\\x93\\x01')",
        "out.sendall(pack(Unloaded(1)))",
        "out.sendall(pack(Ready(PROTOCOL + 1, '1', [], b'{}')))",
        "out.sendall(b'\\x00\\x00'); out.close(); sys.exit(3)",
    ],
)
async def test_a_child_that_begins_with_garbage_cannot_start(
    make_worker: MakeWorker, tmp_path: Path, body: str
) -> None:
    worker = make_worker(python=_impostor(tmp_path, body))
    with pytest.raises(CannotStart):
        await worker.start()
    assert not worker.running


@pytest.mark.parametrize(
    "answer",
    [
        "struct.pack('>I', 1 << 31)",
        "struct.pack('>I', 1) + b'\\xc1'",
        "pack(Answers(2, []))",
        "pack(Answers(2, [b'[]'] * 3))",
        "pack(Answers(3, [b'[]']))",
        "pack(Began(2, [0]))",
        "pack(Loaded(2, '1', [], {}))",
        "pack(Unloaded(2))",
        "pack(Ready(PROTOCOL, '1', [], b'{}'))",
        "pack(Answers(2, [b'[]']))[:-1]",
    ],
)
@pytest.mark.parametrize("begun", ["", "pack(Began(2, [0])) + "])
async def test_an_answer_that_is_none_kills_the_child(
    make_worker: MakeWorker, tmp_path: Path, begun: str, answer: str
) -> None:
    body = (
        "out.sendall(pack(Ready(PROTOCOL, '1', [], b'{}')))\n"
        "out.recv(1 << 20); out.sendall(pack(Began(1, [])) + pack(Loaded(1, '1', [], {})))\n"
        f"out.recv(1 << 20); out.sendall({begun}{answer}); sys.exit(1)"
    )
    worker = make_worker(python=_impostor(tmp_path, body))
    key = await _load(worker)
    with pytest.raises(WorkerDied):
        await worker.predict(key, texts("a"))
    assert not worker.running


# ---------------------------------------------------------------------------------------------------- the end


async def test_a_stopped_worker_is_gone_and_stays_so(make_worker: MakeWorker) -> None:
    worker = make_worker()
    key = await _load(worker)
    pid = worker.pid
    await worker.stop()
    assert pid is not None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(CannotStart, match="was stopped"):
        await worker.predict(key, texts("a"))


async def test_stopping_lets_a_batch_finish(make_worker: MakeWorker) -> None:
    worker = make_worker()
    key = await _load(worker, seconds_per_task=0.2)
    running = asyncio.create_task(worker.predict(key, texts("a")))
    await asyncio.sleep(0)
    await worker.stop(grace=30)
    assert reasons(await running) == [None]


async def test_stopping_does_not_wait_for_a_hung_model(make_worker: MakeWorker, tmp_path: Path) -> None:
    worker = make_worker()
    ledger = tmp_path / "ledger"
    os.mkfifo(ledger)  # reading it waits until the model has the input in hand: what was not begun does not die
    reading = os.open(ledger, os.O_RDONLY | os.O_NONBLOCK)
    try:
        key = await _load(worker, hang_on="HANG", ledger=str(ledger))
        running = asyncio.create_task(worker.predict(key, texts("HANG")))
        assert await asyncio.to_thread(select.select, [reading], [], [], 60) == ([reading], [], [])
        async with asyncio.timeout(60):
            await worker.stop(grace=0.3)
            with pytest.raises(WorkerDied):
                await running
    finally:
        os.close(reading)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (-11, "killed by SIGSEGV"),
        (-9, "killed by SIGKILL, as a system that runs out of memory does"),
        (-64, "killed by SIGRTMAX"),
        (77, "out of memory: over its memory limit"),
        (3, "exited with code 3"),
    ],
)
def test_an_exit_code_is_told_in_words(code: int, words: str) -> None:
    assert death(code) == words
