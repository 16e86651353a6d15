"""A training's process, as its parent has it: started, told that it may go on, ended.

    async with TrainingProcess.begun(launch, job, until) as process:
        async for said in process.words(): ...

However the block is left, nothing of the process is left when it returns: not it, nor what it started itself.
"""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
from prelabel_runtime import log

from ..child import OUT_OF_MEMORY
from ..variables import variables
from ..worker.process import death
from .words import LEASE_OVER, MOST_BYTES, Known, Made, Raised, Refused, Stepped, Until, Word, line, word

_log = log.get("prelabel.training")
_END_SECONDS = 10.0
"""For a process that has been killed to be gone; beyond, the kernel holds it (a disk, a device)."""


class Gone(Exception):
    """The process ended, or was killed, before its work was done."""

    def __init__(self, reason: str, detail: str) -> None:
        """`reason`: crashed, memory, timeout, error (the trainer raised), garbage, start."""
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """How a training's process is started."""

    provider: str
    python: str
    """The interpreter that has the trainer."""
    threads: int = 1
    memory_mib: int | None = None
    nice: int = 0
    start_seconds: float = 120.0
    """To start and to say what it is."""


async def introduced(launch: Launch) -> Known:
    """What the provider's trainer is. Raises `Gone`."""
    async with TrainingProcess.begun(launch) as process:
        return await process.known()


async def trained(process: "TrainingProcess", on_step: Callable[[Stepped], None], seconds: float) -> Made | Refused:
    """What came of a training that may take so long. Raises `Gone`."""
    try:
        async with asyncio.timeout(seconds):
            async for said in process.words():
                match said:
                    case Stepped():
                        on_step(said)
                    case Made() | Refused():
                        return said
                    case Raised():
                        raise Gone("error", f"the trainer failed: {said.error}")
                    case Known():
                        raise Gone("garbage", "its process introduced itself twice")
    except TimeoutError:
        raise Gone("timeout", f"it took longer than the {seconds:g} s it may") from None
    raise await process.autopsy()


class TrainingProcess:
    """A process that trains."""

    def __init__(self, launch: Launch, child: asyncio.subprocess.Process, connection: socket.socket) -> None:
        self._launch = launch
        self._child = child
        self._connection = connection
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter
        self._output = asyncio.create_task(self._drain())

    @classmethod
    @asynccontextmanager
    async def begun(
        cls, launch: Launch, job: Path | None = None, until: float = 0.0
    ) -> "AsyncIterator[TrainingProcess]":
        """Start one, with a job if it is to do one; it may go on until then (monotonic clock). Raises `Gone`."""
        ours, theirs = socket.socketpair()
        process = None
        try:
            with theirs:
                child = await _spawn(launch, job, until, theirs)
            process = cls(launch, child, ours)
            process._reader, process._writer = await asyncio.open_connection(sock=ours, limit=MOST_BYTES)
            yield process
        finally:
            ours.close() if process is None else await asyncio.shield(process._end())

    @property
    def pid(self) -> int:
        """Its id."""
        return self._child.pid

    def may_go_on(self, until: float) -> None:
        """Let it work until then, by the monotonic clock."""
        with contextlib.suppress(OSError):  # it has ended: who waits for its words is told
            self._writer.write(line(Until(until)))

    async def known(self) -> Known:
        """What it says first. Raises `Gone`."""
        try:
            async with asyncio.timeout(self._launch.start_seconds):
                async for said in self.words():
                    match said:
                        case Known():
                            return said
                        case Raised():
                            raise Gone("start", said.error)
                        case _:
                            raise Gone("garbage", "its process did not introduce itself")
        except TimeoutError:
            raise Gone("start", f"its process took longer than {self._launch.start_seconds:g} s to start") from None
        raise await self.autopsy()

    async def words(self) -> AsyncIterator[Word]:
        """What it says, until it ends. Raises `Gone` for what is no word."""
        while True:
            try:
                said = await self._reader.readuntil(b"\n")
                yield word(said)
            except (asyncio.IncompleteReadError, OSError):
                return
            except (asyncio.LimitOverrunError, msgspec.DecodeError):
                raise Gone("garbage", "its process said something that is no word of ours") from None

    async def autopsy(self) -> Gone:
        """What it ended of, once it has closed its connection."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5.0):  # the socket closes a moment before the process is gone
                await self._child.wait()
        match self._child.returncode:
            case None:
                return Gone("crashed", "its process closed its connection")
            case code if code == OUT_OF_MEMORY:
                limit = self._launch.memory_mib
                return Gone("memory", f"it needs more than the {limit} MiB it may have")
            case code if code == LEASE_OVER:
                return Gone("crashed", "its process was not told in time that it may go on")
            case code:
                return Gone("crashed", f"its process was {death(code)}" if code < 0 else f"its process {death(code)}")

    async def _end(self) -> None:
        """Kill it and what it started, and see it gone."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._child.pid, signal.SIGKILL)  # it leads a group of its own
        with contextlib.suppress(Exception):
            self._writer.close()
        try:
            async with asyncio.timeout(_END_SECONDS):
                await self._child.wait()
                await self._output
        except TimeoutError:
            _log.error("a training's process does not end", pid=self._child.pid)
        finally:
            self._output.cancel()

    async def _drain(self) -> None:
        assert self._child.stdout is not None  # noqa: S101 (it is a pipe)
        while chunk := await self._child.stdout.read(1 << 16):  # it may quote examples: for debugging only
            _log.debug("training output", provider=self._launch.provider, text=chunk.decode(errors="replace")[:2000])


async def _spawn(launch: Launch, job: Path | None, until: float, theirs: socket.socket) -> asyncio.subprocess.Process:
    try:
        return await asyncio.create_subprocess_exec(
            *_command(launch, job, until, theirs.fileno()),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            pass_fds=(theirs.fileno(),),
            cwd=None if job is None else job.parent,  # what it writes by mistake goes with the folder
            env=variables(launch.python, launch.threads, {"PYTHONHASHSEED": "0", **_temporary(job)}),
            start_new_session=True,
        )
    except OSError as error:
        raise Gone("start", f"cannot run {launch.python}: {error.strerror}") from error


def _temporary(job: Path | None) -> Mapping[str, str]:
    """Where it puts temporary files: where they go with the job, however it ends."""
    return {} if job is None else {"TMPDIR": str(job.parent)}


def _command(launch: Launch, job: Path | None, until: float, fd: int) -> Sequence[str]:
    return (
        *(launch.python, "-X", "faulthandler", "-m", "prelabel_provider.training.main"),
        *("--provider", launch.provider, "--fd", str(fd), "--parent", str(os.getpid())),
        *("--memory-mib", str(launch.memory_mib or 0), "--nice", str(launch.nice), "--until", repr(until)),
        *(() if job is None else ("--job", str(job))),
    )
