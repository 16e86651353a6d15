"""A server's operating-system process: started tied to us or free, found again, signalled, waited for."""

import contextlib
import ctypes
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

_PR_SET_PDEATHSIG = 1
_LOOK_EVERY_S = 0.02


class ServerProcess:
    """A running (or ended) process, known by its id."""

    def __init__(self, pid: int, child: subprocess.Popen[bytes] | None = None) -> None:
        self.pid = pid
        self._child = child

    @classmethod
    def start(
        cls, command: Sequence[str], *, log: Path, tied: bool, environment: Mapping[str, str] | None = None
    ) -> Self:
        """Starts `command` in a session of its own, its output appended to `log`.

        environment: all of the process's variables; ours where not given.

        A tied process is killed by the kernel when this one ends, however it ends (Linux); one that is not
        tied lives on. Raises OSError when the program cannot be run.
        """
        begin = _start_tied if tied else _start
        child = begin(command, log, environment)
        return cls(child.pid, child)

    @classmethod
    def find(cls, pid: int, mark: str) -> Self | None:
        """The process `pid` if it lives and its command line carries `mark` (ids are reused), else None."""
        return cls(pid) if mark in _command_line(pid) else None

    @property
    def alive(self) -> bool:
        if self._child is not None:
            return self._child.poll() is None
        return _lives(self.pid)

    @property
    def exit_code(self) -> int | None:
        """Of a child of ours that has ended; minus the signal's number where one killed it. Else None."""
        return self._child.poll() if self._child is not None else None

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal; an ended process is left in peace."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError):  # it ended after we looked
                os.kill(self.pid, number)

    def wait(self, timeout: float) -> bool:
        """True when the process ended within `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while self.alive:
            if time.monotonic() > deadline:
                return False
            time.sleep(_LOOK_EVERY_S)
        return True


def _start(
    command: Sequence[str],
    log: Path,
    environment: Mapping[str, str] | None,
    before: Callable[[], None] | None = None,
) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
            preexec_fn=before,  # noqa: PLW1509 - takes no lock: one system call, prepared before the fork
        )


def _start_tied(command: Sequence[str], log: Path, environment: Mapping[str, str] | None) -> subprocess.Popen[bytes]:
    # The kernel's "parent died" means the parent *thread*: a server started from a pool thread would die with
    # it. So each tied server has a thread of its own that starts it and stays until it has ended.
    started: queue.SimpleQueue[subprocess.Popen[bytes] | BaseException] = queue.SimpleQueue()

    def keep() -> None:
        try:
            child = _start(command, log, environment, _die_with(os.getpid()))
        except BaseException as error:
            started.put(error)
            return
        started.put(child)
        child.wait()

    threading.Thread(target=keep, name="server-keeper", daemon=True).start()
    outcome = started.get()
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


def _die_with(parent: int) -> Callable[[], None] | None:
    """What the child runs between fork and exec, or None where the kernel has no such promise."""
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None).prctl

    def die_with_parent() -> None:
        prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
        if os.getppid() != parent:  # it ended before the line above
            os._exit(1)

    return die_with_parent


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return _command_line(pid) != ""  # a zombie has none


def _command_line(pid: int) -> str:
    if sys.platform.startswith("linux"):
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            return ""
    seen = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return seen.stdout.strip()
