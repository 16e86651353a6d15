"""No worker outlives its parent."""

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from prelabel_provider.worker.frames import LENGTH_BYTES, Load, Predict, body_length, pack
from prelabel_provider.worker.frames import Item as FrameItem

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="asks Linux about processes")

_PARENT = """
    import asyncio, sys
    from prelabel_provider.base import Input
    from prelabel_provider.predictor import key_of
    from prelabel_provider.worker.worker import ModelWorker

    async def main():
        worker = ModelWorker("ledger")
        settings = {"hang_on": "HANG", "ledger": sys.argv[2]}
        await worker.load(settings)
        print(worker.pid, flush=True)
        if sys.argv[1] != "idle":
            await worker.predict(key_of(settings), [Input("t", {"text": sys.argv[1]}, "text")])
        await asyncio.sleep(1000)

    asyncio.run(main())
"""


@contextlib.contextmanager
def _watched(pid: int) -> Iterator[int]:
    """A descriptor that becomes readable when the process ends."""
    descriptor = os.pidfd_open(pid)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _ends_within(descriptor: int, seconds: float) -> bool:
    readable, _, _ = select.select([descriptor], [], [], seconds)
    return bool(readable)


@pytest.mark.parametrize("doing", ["idle", "HANG"])
@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGTERM])
def test_a_worker_dies_with_its_parent(tmp_path: Path, doing: str, by: signal.Signals) -> None:
    ledger = tmp_path / "ledger"
    os.mkfifo(ledger)  # reading it waits until the model has the input in hand
    reading = os.open(ledger, os.O_RDONLY | os.O_NONBLOCK)
    command = [sys.executable, "-c", textwrap.dedent(_PARENT), doing, str(ledger)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        with _watched(child) as descriptor:
            if doing == "HANG":
                assert select.select([reading], [], [], 60)[0]
            parent.send_signal(by)
            assert _ends_within(descriptor, 60)
    os.close(reading)


@contextlib.contextmanager
def _bare_worker(parent: int) -> Iterator[tuple[subprocess.Popen[bytes], socket.socket]]:
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-m", "prelabel_provider.worker.main", "--provider", "ledger"]
    command += ["--fd", str(theirs.fileno()), "--parent", str(parent)]
    with subprocess.Popen(command, pass_fds=(theirs.fileno(),)) as child, ours:
        theirs.close()
        yield child, ours
        child.kill()


def _answer(connection: socket.socket) -> bytes:
    head = connection.recv(LENGTH_BYTES, socket.MSG_WAITALL)
    return connection.recv(body_length(head), socket.MSG_WAITALL)


def test_a_worker_whose_parent_died_before_it_began_ends() -> None:
    with _bare_worker(parent=1) as (child, _):
        assert child.wait(60) == 0


def test_a_worker_ends_when_its_pipe_closes_while_its_model_is_busy(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    os.mkfifo(ledger)
    reading = os.open(ledger, os.O_RDONLY | os.O_NONBLOCK)
    with _bare_worker(parent=os.getpid()) as (child, connection):
        _answer(connection)
        connection.sendall(pack(Load(1, "m", f'{{"seconds_per_task": 1000, "ledger": "{ledger}"}}'.encode())))
        _answer(connection)  # it begins
        _answer(connection)
        connection.sendall(pack(Predict(2, "m", b"{}", [FrameItem("t", {"text": "x"}, "text")])))
        assert select.select([reading], [], [], 60)[0]
        connection.close()
        assert child.wait(60) == 0
    os.close(reading)
