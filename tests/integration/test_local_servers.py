"""What `python -m deploy.local` and the servers started from code promise about processes and folders."""

import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.local.errors import PortTaken
from deploy.local.mongo.server import MongoServer
from deploy.local.ports import LOOPBACK, free_port
from deploy.local.probes import kafka_answers, mongo_answers
from deploy.local.server import servers_home

_STARTS_ONE_AND_WAITS = """
import sys, threading
from pathlib import Path
from deploy.local.mongo.server import MongoServer

server = MongoServer(Path(sys.argv[1]), int(sys.argv[2]))
starter = threading.Thread(target=server.start)  # a thread that ends: the server must not end with it
starter.start()
starter.join()
server.wait_ready()
print(server.pid, flush=True)
sys.stdin.read()
"""


class _Command:
    """`python -m deploy.local` on a folder and ports of its own, with the checkout's jars."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.kafka_port = free_port()
        self.mongo_port = free_port()
        MongoServer(folder / "unused", self.mongo_port).install()
        (folder / "jars").symlink_to(servers_home() / "jars")

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        ports = ["--kafka-port", str(self.kafka_port), "--mongo-port", str(self.mongo_port)]
        return subprocess.run(
            [sys.executable, "-m", "deploy.local", *arguments, "--folder", str(self.folder), *ports],
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )


@pytest.mark.kafka
@pytest.mark.mongo
def test_up_starts_both_once_and_stop_and_wipe_leave_nothing(tmp_path: Path) -> None:
    command = _Command(tmp_path)
    try:
        assert command("status").returncode == 1

        first = command("up", "--h2")
        assert first.returncode == 0, first.stderr
        _until(lambda: kafka_answers(LOOPBACK, command.kafka_port))  # it asks for a second at most
        _until(lambda: mongo_answers(LOOPBACK, command.mongo_port))
        _until(lambda: command("status").returncode == 0)

        again = command("up", "--h2")
        assert again.returncode == 0
        assert again.stdout.count("is up already") == 2

        otherwise = command("up")
        assert otherwise.returncode == 1
        assert "stop it first" in otherwise.stderr
        assert otherwise.stderr.count("\n") == 1

        assert command("stop").returncode == 0
        assert not kafka_answers(LOOPBACK, command.kafka_port)
        assert (tmp_path / "kafka" / "data").exists()
        assert "is not up" in command("stop").stdout
    finally:
        wiped = command("wipe")
    assert wiped.returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["jars"]


def test_a_port_that_is_taken_is_named_in_one_line(tmp_path: Path) -> None:
    with socket.create_server((LOOPBACK, 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(PortTaken, match=re.escape(f"{LOOPBACK}:{port}")):
            MongoServer(tmp_path, port).start()


@pytest.mark.mongo
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux ends a child with its parent")
def test_a_server_of_a_test_run_that_is_killed_ends_with_it(tmp_path: Path) -> None:
    run = subprocess.Popen(
        [sys.executable, "-c", _STARTS_ONE_AND_WAITS, str(tmp_path), str(free_port())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with run:
        assert run.stdout is not None
        server = int(run.stdout.readline())
        assert _alive(server)
        run.send_signal(signal.SIGKILL)
    _until(lambda: not _alive(server))


def test_a_port_where_nobody_or_somebody_else_listens_is_not_healthy() -> None:
    port = free_port()
    assert not kafka_answers(LOOPBACK, port)
    assert not mongo_answers(LOOPBACK, port)
    with socket.create_server((LOOPBACK, port)):  # takes connections and never says a word
        assert not kafka_answers(LOOPBACK, port)
        assert not mongo_answers(LOOPBACK, port)


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""  # a zombie has none
    except OSError:
        return False
