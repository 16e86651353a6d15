"""One run of a worker's process, as its parent has it: questions go in, and what is said to each is gathered.

Several questions may be under way. When the process ends, each of them is told how far it came: what the model was at
is `lost`, what it had not begun is `left` and can be asked again.
"""

import asyncio
import json
import logging
import os
import signal
import socket
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

from ..child import OUT_OF_MEMORY
from ..predictor import CannotStart, ProviderInfo
from .frames import (
    LENGTH_BYTES,
    PROTOCOL,
    Answers,
    Began,
    Broken,
    Forget,
    Garbage,
    Loaded,
    NoAnswer,
    Raised,
    Ready,
    Refused,
    Unloaded,
    Word,
    body_length,
    pack,
    unpack_word,
)

_log = logging.getLogger(__name__)

_LAST_WORDS = 5
"""Lines of the child's output kept to explain why it did not start."""
_BUFFER = 1 << 20


class WorkerError(Exception):
    """A model worker did not do what it was asked."""


class WorkerDied(WorkerError):
    """The process ended while it worked; the message says by what."""


class WorkerTimeout(WorkerError):
    """The process worked longer than it may, and was killed."""


class ProviderRaised(WorkerError):
    """The provider raised; the message is the exception's type, and never quotes an input."""


@dataclass(slots=True)
class WorkerCounts:
    """What happened to a worker since it was made: for metrics and tests."""

    starts: int = 0
    deaths: int = 0
    """Crashes and kills, not counting stops and cancelled calls."""
    timeouts: int = 0
    repeated: int = 0
    """Inputs given to the model once more, because a call with them was lost."""
    busy_seconds: float = 0.0
    """For which the model was at inputs."""
    idle_seconds: float = 0.0
    """For which the process had nothing to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """How a worker's process is started."""

    provider: str
    command: Sequence[str]
    """But for the arguments that only the start knows."""
    variables: Mapping[str, str]
    start_seconds: float


@dataclass(slots=True, eq=False)
class Asked:
    """A question under way, and what has been said to it."""

    id: int
    seconds: float
    """For one call of the model."""
    load_seconds: float
    inputs: int = 0
    searching: bool = False
    """It is asked to find out which of its inputs takes the process with it."""
    begun: list[int] | None = None
    """Places of the inputs that the model is at; none: it is being loaded."""
    answers: dict[int, bytes | NoAnswer] = field(default_factory=dict)
    uncertainties: dict[int, float] = field(default_factory=dict)
    """Of answers, where the provider gives any within their range."""
    busy: float = 0.0
    """Seconds that the model took for the answers."""
    lost: list[tuple[list[int], WorkerError]] = field(default_factory=list)
    """What the model was at when it failed."""
    loaded: Loaded | None = None
    refused: str | None = None
    """Why the model cannot be loaded with these settings."""
    unloadable: WorkerError | None = None
    """What the process ended of while it loaded the model."""
    interrupted: WorkerError | None = None
    """What the process ended of before everything was said."""
    mysterious: bool = False
    """It ended of nothing that had been begun."""
    done: "asyncio.Future[None]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    @property
    def left(self) -> list[int]:
        """Places of the inputs that nothing has been said to, and that are not lost."""
        gone = {place for places, _ in self.lost for place in places}
        return [place for place in range(self.inputs) if place not in self.answers and place not in gone]

    @property
    def patience(self) -> float:
        """Seconds until the next word is due."""
        loading = self.begun == [] or not self.inputs
        return self.load_seconds if loading else self.seconds


@dataclass(frozen=True, slots=True)
class End:
    """How a process ended."""

    error: WorkerError
    cause: Literal["death", "timeout", "wanted"]
    searching: bool = False
    """It was at a question of a search, whose end was to be expected."""


class Process:
    """A process that runs, with its connection."""

    def __init__(
        self,
        launch: Launch,
        child: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        counts: WorkerCounts,
    ) -> None:
        self._launch = launch
        self._child = child
        self._reader = reader
        self._writer = writer
        self._counts = counts
        self._last_words: deque[str] = deque(maxlen=_LAST_WORDS)
        self._output = asyncio.create_task(self._drain())
        self._listener: asyncio.Task[None] | None = None
        self._on_end: Callable[[Process, End], None] = lambda process, end: None
        self._pending: dict[int, Asked] = {}
        self._forgotten: set[int] = set()
        self._why: End | None = None
        self._watch: asyncio.TimerHandle | None = None
        self.worked = False
        """Whether a model has answered here."""
        self.held: tuple[str, ...] = ()
        """Keys of the models that are loaded, least recently used first as of the last one."""

    @classmethod
    async def start(cls, launch: Launch, counts: WorkerCounts) -> "tuple[Process, ProviderInfo]":
        """Start one, and hear what its provider is. Raises `CannotStart`."""
        ours, theirs = socket.socketpair()
        try:
            child = await asyncio.create_subprocess_exec(
                *(*launch.command, "--fd", str(theirs.fileno()), "--parent", str(os.getpid())),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                pass_fds=(theirs.fileno(),),
                env=launch.variables,
                start_new_session=True,  # Ctrl-C is for the parent, which ends its workers in order
                limit=_BUFFER,
            )
        except OSError as error:
            ours.close()
            raise CannotStart(f"cannot run {launch.command[0]}: {error.strerror}") from error
        finally:
            theirs.close()
        reader, writer = await asyncio.open_connection(sock=ours, limit=_BUFFER)
        counts.starts += 1
        process = cls(launch, child, reader, writer, counts)
        try:
            return process, await process._introduced()
        except CannotStart:
            counts.deaths += 1
            await process._bury()
            raise
        except asyncio.CancelledError:
            await asyncio.shield(process._bury())
            raise

    async def _introduced(self) -> ProviderInfo:
        who = f"provider {self._launch.provider!r}"
        try:
            async with asyncio.timeout(self._launch.start_seconds):
                said = await _receive(self._reader)
        except TimeoutError as error:
            raise CannotStart(f"{who} took longer than {self._launch.start_seconds:g} s") from error
        except Garbage as error:
            raise CannotStart(f"{who} sent garbage: {error}") from error
        except (OSError, EOFError):
            detail = await self._autopsy()
            last = (
                f": {self._last_words[-1]}" if self._last_words else ""
            )  # nothing private is in it: no input was there
            raise CannotStart(f"{who}: {detail}{last}") from None
        match said:
            case Ready(protocol=protocol) if protocol == PROTOCOL:
                schema = json.loads(said.settings_schema)
                trained = frozenset(said.writes), frozenset(said.sources)
                return ProviderInfo(self._launch.provider, said.package, frozenset(said.kinds), schema, *trained)
            case Ready(protocol=protocol):
                detail = f"its environment speaks protocol {protocol}, this one {PROTOCOL}: install our version"
            case Broken():
                detail = said.detail
            case _:
                detail = f"it began with {type(said).__name__}"
        raise CannotStart(f"{who}: {detail}")

    # -------------------------------------------------------------------------------------------------- asking

    def serve(self, on_end: Callable[["Process", End], None]) -> None:
        """Take questions. `on_end` is called once, before anybody who asked is told."""
        self._on_end = on_end
        self._listener = asyncio.create_task(self._listen())

    def hand_over(self, on_end: Callable[["Process", End], None], counts: WorkerCounts) -> None:
        """It is another's from now on, who is told of its end."""
        self._on_end = on_end
        self._counts = counts

    async def answered(self) -> None:
        """Wait until nobody waits for an answer of it any more. Nothing more may be asked then."""
        while self._pending:
            await asyncio.wait([asked.done for asked in self._pending.values()])
            await asyncio.sleep(0)  # who gives up does so in a step of its own

    @property
    def pid(self) -> int:
        """Its id."""
        return self._child.pid

    @property
    def running(self) -> bool:
        """Whether questions may be put to it: it has not ended, nor is it about to."""
        return self._why is None and self._child.returncode is None and not self._reader.at_eof()

    async def ask(self, frame: bytes, asked: Asked) -> None:
        """Put a question; returns when nothing more will be said to it.

        Who gives up waiting ends the process if the model is at the question: it cannot be told to stop.
        """
        self._pending[asked.id] = asked
        self._look_out()
        try:
            with suppress(OSError):  # it has ended: the listener tells
                self._writer.write(frame)
                await self._writer.drain()
            await asked.done
        except asyncio.CancelledError:
            if self._pending.pop(asked.id, None) is not None:
                if asked.begun is not None:
                    await asyncio.shield(self.end(End(WorkerDied("its caller gave up"), "wanted")))
                else:
                    self._forget(asked)
            raise

    def _forget(self, asked: Asked) -> None:
        self._forgotten.add(asked.id)
        self._look_out()
        if self.running:
            self._writer.write(pack(Forget(asked.id)))

    async def end(self, how: End) -> None:
        """End it by force, for a reason that those who wait are told; returns when it is gone."""
        self._why = self._why or how
        self._kill()
        if self._listener is not None:
            await asyncio.wait((self._listener,))

    async def retire(self, seconds: float) -> None:
        """Let it end by itself, which it does when nobody is there any more; after so many seconds by force."""
        self._why = self._why or End(WorkerDied("it was stopped"), "wanted")
        self._writer.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._child.wait()
        await self.end(self._why)

    # ----------------------------------------------------------------------------------------------- listening

    async def _listen(self) -> None:
        try:
            while True:
                self._hear(await _receive(self._reader))
        except (OSError, EOFError):
            end = End(WorkerDied(await self._autopsy()), "death")
        except Garbage as error:
            end = End(WorkerDied(f"it sent garbage ({error}), and was killed"), "death")
            for asked in self._pending.values():  # who it was meant for is not known
                asked.begun = asked.begun or asked.left
        await self._bury()
        self._finish(self._why or end)

    def _hear(self, word: Word) -> None:
        if isinstance(word, (Ready, Broken)):
            raise Garbage("an introduction in the midst")
        asked = self._pending.get(word.id)
        if asked is None:
            if word.id not in self._forgotten:
                raise Garbage("an answer to nothing")
            return
        match word:
            case Began():
                _begin(asked, word)
                self._counts.idle_seconds += word.idle
            case Answers():
                _answer(asked, word)
                self._counts.busy_seconds += word.busy
                self.worked = True
            case Loaded() | Refused() | Raised() | Unloaded():
                _conclude(asked, word)
                if isinstance(word, Loaded):
                    self.held = tuple(word.held)
                self.worked = self.worked or bool(asked.lost)
        if asked.refused is not None or (asked.begun is None and not asked.left):
            self._done(asked)
        self._look_out()

    def _done(self, asked: Asked) -> None:
        del self._pending[asked.id]
        if not asked.done.done():
            asked.done.set_result(None)

    def _look_out(self) -> None:
        """A word is due within the patience of what the model is at, or else of anybody who waits."""
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        if not self._pending:
            return
        at = [asked for asked in self._pending.values() if asked.begun is not None]
        seconds = max(asked.patience for asked in at or self._pending.values())
        self._watch = asyncio.get_running_loop().call_later(seconds, self._too_long, seconds)

    def _too_long(self, seconds: float) -> None:
        self._why = self._why or End(WorkerTimeout(f"no answer within {seconds:g} s"), "timeout")
        self._kill()

    def _finish(self, end: End) -> None:
        """Tell everybody who waits how far it came."""
        if self._watch is not None:
            self._watch.cancel()
        at = [asked for asked in self._pending.values() if asked.begun is not None]
        for asked in at:
            if asked.begun:
                asked.lost.append((asked.begun, end.error))
            else:
                asked.unloadable = end.error
        self._on_end(self, End(end.error, end.cause, any(asked.searching for asked in at)))
        for asked in list(self._pending.values()):
            asked.interrupted = end.error
            asked.mysterious = not at and end.cause != "wanted"
            self._done(asked)

    # ------------------------------------------------------------------------------------------------- the end

    async def _drain(self) -> None:
        # What a model prints must neither block it nor reach anybody's log above debug: it may quote its
        # input.
        assert self._child.stdout is not None  # noqa: S101 (it is a pipe)
        while chunk := await self._child.stdout.read(1 << 16):
            lines = chunk.decode(errors="replace").splitlines()
            self._last_words.extend(line[:500] for line in lines if line.strip())
            if _log.isEnabledFor(logging.DEBUG):
                for line in lines:
                    _log.debug("model worker output", extra={"provider": self._launch.provider, "line": line[:2000]})

    async def _autopsy(self) -> str:
        """What a process that closed its socket died of."""
        with suppress(TimeoutError):
            async with asyncio.timeout(5.0):  # the socket closes a moment before the process is gone
                await self._child.wait()
        code = self._child.returncode
        return "it closed its connection" if code is None else death(code)

    def _kill(self) -> None:
        if self._child.returncode is None:
            with suppress(ProcessLookupError):
                self._child.kill()

    async def _bury(self) -> None:
        """Leave nothing of it: itself, our end of its socket, the task that reads its output."""
        self._kill()
        self._writer.close()
        await self._child.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(1.0):  # a process that the model started may hold the pipe for ever
                await self._output


def _begin(asked: Asked, word: Began) -> None:
    if asked.begun is not None or not set(word.places) <= set(asked.left):
        raise Garbage("it begins what it was not asked, or again")
    asked.begun = word.places


def _answer(asked: Asked, word: Answers) -> None:
    if not asked.begun or len(word.items) != len(asked.begun):
        raise Garbage(f"{len(word.items)} answers to {len(asked.begun or ())} inputs")
    asked.answers.update(zip(asked.begun, word.items, strict=True))
    if word.uncertainties:
        if len(word.uncertainties) != len(asked.begun):
            raise Garbage(f"{len(word.uncertainties)} uncertainties of {len(asked.begun)} inputs")
        told = zip(asked.begun, word.uncertainties, strict=True)
        asked.uncertainties.update((place, one) for place, one in told if one is not None and 0 <= one <= 1)
    asked.busy += word.busy
    asked.begun = None


def _conclude(asked: Asked, word: Loaded | Refused | Raised | Unloaded) -> None:
    begun, asked.begun = asked.begun, None
    match word:
        case Unloaded() if begun is None and not asked.inputs:
            return
        case Raised() if begun:
            asked.lost.append((begun, ProviderRaised(word.error)))
        case Loaded() if begun == []:
            asked.loaded = word
        case Refused() if begun == []:
            asked.refused = word.detail
        case Raised() if begun == []:
            asked.refused = f"the model cannot be loaded: {word.error}"
        case _:
            asked.begun = begun
            raise Garbage(f"a {type(word).__name__} that was not due")


async def _receive(reader: asyncio.StreamReader) -> Word:
    head = await reader.readexactly(LENGTH_BYTES)
    return unpack_word(await reader.readexactly(body_length(head)))


def death(code: int) -> str:
    """An exit code in words."""
    if code == OUT_OF_MEMORY:
        return "out of memory: over its memory limit"
    if code == -signal.SIGKILL:
        return "killed by SIGKILL, as a system that runs out of memory does"
    if code < 0:
        with suppress(ValueError):
            return f"killed by {signal.Signals(-code).name}"
        return f"killed by signal {-code}"
    return f"exited with code {code}"
