"""The parent side of a model worker: a provider in a process of its own, which can crash, hang or eat
memory alone.

    worker = ModelWorker("spacy")
    description = await worker.load({"path": "/models/ner"})
    outcomes = await worker.predict_each(key_of({"path": "/models/ner"}), inputs)

The process is spawned with a chosen interpreter, so a provider's heavy dependencies may live in an
environment of their own, which needs nothing of ours but this package. It dies with its parent; see
`worker_main`. Besides what every predictor raises, it tells by class what goes wrong:

WorkerDied         the process ended while it worked; the next call starts it anew
WorkerTimeout      it worked longer than it may, and was killed; the next call starts it anew
ProviderRaised     the provider raised an ordinary exception: a defect, the process lives on
"""

import asyncio
import json
import logging
import os
import signal
import socket
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from typing import TypeVar

from prelabel_contract.names import Lane
from pydantic import JsonValue

from .base import BadSettings, Description, Failed, Input
from .frames import (
    LENGTH_BYTES,
    PROTOCOL,
    Answer,
    Answers,
    Broken,
    Garbage,
    Item,
    Load,
    Loaded,
    NoAnswer,
    NotLoaded,
    Predict,
    Raised,
    Ready,
    Refused,
    Unload,
    Unloaded,
    body_length,
    pack,
    unpack_answer,
)
from .lanes import Turns
from .predictor import CannotLoad, CannotStart, Predictor, ProviderInfo, key_of
from .worker_main import OUT_OF_MEMORY

_log = logging.getLogger(__name__)

A = TypeVar("A")

_THREADS = (
    *(
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "BLIS_NUM_THREADS",
        "NUMEXPR_NUM_THREADS",
    ),
    *("VECLIB_MAXIMUM_THREADS", "RAYON_NUM_THREADS"),
)
_OF_OUR_INTERPRETER = ("PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__")
_NOT_FOR_MODELS = ("PRELABEL_API_KEY", "PRELABEL_API_KEY_FILE", "PRELABEL_BUS", "PRELABEL_STORE")
"""Variables that hold secrets of ours: a model's code has no business with them."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerLimits:
    """What a worker may use."""

    start_seconds: float = 120.0
    """To start, and to load a model, each."""
    batch_seconds: float = 300.0
    """To predict a batch."""
    memory_mib: int | None = None
    """Memory of the process's own, in MiB (RLIMIT_DATA: code and shared files do not count)."""
    threads: int = 1
    """Of numerical libraries."""
    models: int = 4
    """Kept loaded at once; the least recently used goes first, and comes back when it is needed."""


@dataclass(slots=True)
class WorkerCounts:
    """What happened to a worker since it was made: for metrics and tests."""

    starts: int = 0
    deaths: int = 0
    """Crashes and kills, not counting stops and cancelled calls."""
    timeouts: int = 0
    repeated: int = 0
    """Inputs given to the model a second time, because a batch with them was lost."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before starts in a row that no prediction follows: the first restart is at once."""

    first: float = 0.1
    """Seconds before the second."""
    most: float = 5.0
    """Seconds."""

    def seconds(self, failures: int) -> float:
        """The wait after so many failures in a row."""
        return 0.0 if failures < 2 else float(min(self.most, self.first * 2 ** min(failures - 2, 30)))


@dataclass(slots=True)
class _Process:
    child: asyncio.subprocess.Process
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    output: asyncio.Task[None]
    last_words: deque[str]


@dataclass(slots=True)
class _Model:
    settings: bytes
    description: Description | None = None


class ModelWorker(Predictor):
    """One worker process of one provider. One question at a time: callers wait for each other.

    It starts by itself with the first question, and again after a death; `stop` ends it for good. On Linux
    the process dies with the thread that runs the event loop, not only with the whole parent.
    """

    def __init__(
        self,
        provider: str,
        *,
        python: str = sys.executable,
        limits: WorkerLimits = WorkerLimits(),
        environment: Mapping[str, str] | None = None,
        backoff: Backoff = Backoff(),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`python` is the interpreter that has the provider installed; `environment` adds variables."""
        self._provider = provider
        self._python = python
        self._limits = limits
        self._environment = dict(environment or {})
        self._backoff = backoff
        self._sleep = sleep
        self._models: dict[str, _Model] = {}
        self._busy = asyncio.Lock()
        self._turns = Turns()
        self._process: _Process | None = None
        self._info: ProviderInfo | None = None
        self._failures = 0
        self._stopped = False
        self.counts = WorkerCounts()

    @property
    def restarts(self) -> Mapping[str, int]:
        """By `death` and `timeout`."""
        return {"death": self.counts.deaths, "timeout": self.counts.timeouts}

    def turn(self, lane: Lane, work: float = 1.0) -> AbstractAsyncContextManager[None]:
        """One batch at a time."""
        return self._turns.turn(lane, work)

    @property
    def pid(self) -> int | None:
        """The process, while there is one."""
        return None if self._process is None else self._process.child.pid

    @property
    def running(self) -> bool:
        """Whether there is a process that has not ended."""
        return self._process is not None and self._process.child.returncode is None

    async def start(self) -> ProviderInfo:
        """Start the process if there is none, and tell what the provider is. Raises `CannotStart`."""
        async with self._busy:
            return await self._ensure_started()

    async def stop(self, grace: float = 10.0) -> None:
        """End the process for good: after what it does, or by force after `grace` seconds."""
        self._stopped = True
        with suppress(TimeoutError):
            async with asyncio.timeout(grace), self._busy:
                pass
        process, self._process = self._process, None
        if process is not None:
            process.writer.close()  # it ends by itself when it sees that
            with suppress(TimeoutError):
                async with asyncio.timeout(min(grace, 2.0)):
                    await process.child.wait()
            await self._bury(process)

    async def load(self, settings: Mapping[str, JsonValue]) -> Description:
        """Load a model, or tell what is known of it. Its key is `key_of(settings)`. After a restart, or
        when others pushed it out, it is loaded again when it is needed.

        Raises `BadSettings` and `CannotStart`.
        """
        key = key_of(settings)
        async with self._busy:
            known = self._models.get(key)
            if known is not None and known.description is not None:
                return known.description
            model = _Model(json.dumps(dict(settings), ensure_ascii=False).encode())
            await self._ensure_started()
            description = await self._load(key, model)
            self._models[key] = model
            return description

    def description(self, key: str) -> Description:
        """A model as it was loaded last: a reload from a folder that changed has another version.

        Raises KeyError for a model that was never loaded.
        """
        description = self._models[key].description
        assert description is not None  # noqa: S101 (it is kept only once loaded)
        return description

    async def unload(self, key: str) -> None:
        """Forget a model."""
        async with self._busy:
            known = self._models.pop(key, None)
            if known is not None and self.running:
                await self._expect(await self._ask(pack(Unload(key)), self._limits.start_seconds), Unloaded)

    async def predict(self, key: str, inputs: Sequence[Input]) -> list[bytes | Failed]:
        """Predict a batch in one go: per input its regions as JSON, or why there are none.

        Raises KeyError for a model that was never loaded, `BadSettings` if it cannot be loaded again, and
        `WorkerError`: then the whole batch is lost. `predict_each` saves what can be saved.
        """
        async with self._busy:
            return await self._predict(key, inputs)

    async def predict_each(self, key: str, inputs: Sequence[Input], lane: Lane = Lane.BULK) -> list[bytes | Failed]:
        """Predict a batch, and lose only those inputs that cannot be predicted.

        If the batch kills its worker, takes too long or makes the provider raise, every input goes through
        it once more, alone. So an input that is not at fault is repeated once, however many others are; and
        one that is takes two processes with it, no more. Who fails alone is answered `Failed`, with reason
        `worker_crashed`, `timeout` or `error`.

        Raises KeyError, `BadSettings` and `CannotStart`, which are no input's fault.
        """
        async with self._busy:
            try:
                return await self._predict(key, inputs)
            except (WorkerDied, WorkerTimeout):
                pass
            except ProviderRaised as error:
                if len(inputs) == 1:
                    return [_failed(error)]
            return [await self._predict_alone(key, one) for one in inputs]

    async def _predict_alone(self, key: str, one: Input) -> bytes | Failed:
        self.counts.repeated += 1
        try:
            return (await self._predict(key, [one]))[0]
        except (WorkerDied, WorkerTimeout, ProviderRaised) as error:
            return _failed(error)

    # ------------------------------------------------------------------------------------------- one question

    async def _predict(self, key: str, inputs: Sequence[Input]) -> list[bytes | Failed]:
        model = self._models[key]
        if not inputs:
            return []
        frame, unfit = _packed(key, inputs)
        if len(unfit) == len(inputs):
            return list(unfit.values())
        await self._ensure_started()
        answer = await self._ask(frame, self._limits.batch_seconds)
        if isinstance(answer, NotLoaded):
            await self._load(key, model)
            answer = await self._ask(frame, self._limits.batch_seconds)
        if isinstance(answer, Raised):
            self._failures = 0
            raise ProviderRaised(answer.error)
        answers = await self._expect(answer, Answers)
        if len(answers.items) != len(inputs) - len(unfit):
            await self._kill()
            raise WorkerDied(f"it gave {len(answers.items)} answers to {len(inputs) - len(unfit)} inputs")
        self._failures = 0
        said = iter(answers.items)
        return [unfit[i] if i in unfit else _outcome(next(said)) for i in range(len(inputs))]

    async def _load(self, key: str, model: _Model) -> Description:
        try:
            answer = await self._ask(pack(Load(key, model.settings)), self._limits.start_seconds)
        except WorkerTimeout as error:
            raise CannotLoad(f"loading a model took longer than {self._limits.start_seconds:g} s") from error
        except WorkerDied as error:
            raise CannotLoad(f"loading a model: {error}") from error
        match answer:
            case Refused():
                raise BadSettings(answer.detail)
            case Raised():
                raise BadSettings(f"the model cannot be loaded: {answer.error}")
            case Loaded():
                labels = {kind: tuple(values) for kind, values in answer.labels.items()}
                model.description = Description(answer.version, frozenset(answer.kinds), labels)
                return model.description
            case _:
                await self._kill()
                raise CannotStart(f"loading a model was answered by {type(answer).__name__}")

    async def _ask(self, frame: bytes, seconds: float) -> Answer:
        process = self._process
        if process is None:
            raise WorkerDied("there is no process")
        try:
            async with asyncio.timeout(seconds):
                process.writer.write(frame)
                await process.writer.drain()
                return await _receive(process.reader)
        except TimeoutError as error:
            self.counts.timeouts += 1
            await self._kill()
            raise WorkerTimeout(f"no answer within {seconds:g} s") from error
        except (OSError, EOFError):
            raise WorkerDied(await self._autopsy(process)) from None
        except Garbage as error:
            await self._kill()
            raise WorkerDied(f"it sent garbage ({error}), and was killed") from error
        except asyncio.CancelledError:
            await asyncio.shield(self._kill(blame=False))  # its late answer must not be taken for the next one's
            raise

    async def _expect(self, answer: Answer, kind: type[A]) -> A:
        if not isinstance(answer, kind):
            await self._kill()
            raise WorkerDied(f"it answered {type(answer).__name__} where {kind.__name__} was due")
        return answer

    # -------------------------------------------------------------------------------------------- the process

    async def _ensure_started(self) -> ProviderInfo:
        if self._stopped:
            raise CannotStart("the worker was stopped")
        if self._process is not None and self._process.child.returncode is not None:
            process, self._process = self._process, None  # it died between two questions
            self._died()
            await self._bury(process)
        if self._process is None or self._info is None:
            await self._sleep(self._backoff.seconds(self._failures))
            self._info = await self._start()
        return self._info

    async def _start(self) -> ProviderInfo:
        ours, theirs = socket.socketpair()
        try:
            child = await asyncio.create_subprocess_exec(
                *(self._python, "-X", "faulthandler", "-m", "prelabel_provider.worker_main"),
                *("--provider", self._provider, "--fd", str(theirs.fileno()), "--parent", str(os.getpid())),
                *("--memory-mib", str(self._limits.memory_mib or 0), "--models", str(self._limits.models)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                pass_fds=(theirs.fileno(),),
                env=self._variables(),
                start_new_session=True,  # Ctrl-C is for the parent, which ends its workers in order
                limit=_BUFFER,
            )
        except OSError as error:
            ours.close()
            self._failures += 1
            raise CannotStart(f"cannot run {self._python}: {error.strerror}") from error
        finally:
            theirs.close()
        reader, writer = await asyncio.open_connection(sock=ours, limit=_BUFFER)
        last_words: deque[str] = deque(maxlen=_LAST_WORDS)
        output = asyncio.create_task(self._drain(child, last_words))
        process = self._process = _Process(child, reader, writer, output, last_words)
        self.counts.starts += 1
        try:
            async with asyncio.timeout(self._limits.start_seconds):
                answer = await _receive(reader)
        except TimeoutError as error:
            await self._kill()
            raise CannotStart(
                f"provider {self._provider!r} took longer than {self._limits.start_seconds:g} s"
            ) from error
        except Garbage as error:
            await self._kill()
            raise CannotStart(f"provider {self._provider!r} sent garbage: {error}") from error
        except (OSError, EOFError):
            detail = await self._autopsy(process)
            said = f": {last_words[-1]}" if last_words else ""  # no input has been there yet: nothing private is in it
            raise CannotStart(f"provider {self._provider!r}: {detail}{said}") from None
        except asyncio.CancelledError:
            await asyncio.shield(self._kill(blame=False))
            raise
        return await self._introduced(answer)

    async def _introduced(self, answer: Answer) -> ProviderInfo:
        match answer:
            case Ready(protocol=protocol) if protocol == PROTOCOL:
                schema = json.loads(answer.settings_schema)
                return ProviderInfo(self._provider, answer.package, frozenset(answer.kinds), schema)
            case Ready(protocol=protocol):
                detail = f"its environment speaks protocol {protocol}, this one {PROTOCOL}: install our version"
            case Broken():
                detail = answer.detail
            case _:
                detail = f"it began with {type(answer).__name__}"
        await self._kill()
        raise CannotStart(f"provider {self._provider!r}: {detail}")

    def _variables(self) -> dict[str, str]:
        variables = dict(os.environ)
        if self._python != sys.executable:
            for name in _OF_OUR_INTERPRETER:
                variables.pop(name, None)
        for name in _NOT_FOR_MODELS:
            variables.pop(name, None)
        variables.update(dict.fromkeys(_THREADS, str(self._limits.threads)))
        variables["TOKENIZERS_PARALLELISM"] = "true" if self._limits.threads > 1 else "false"
        return variables | self._environment

    async def _drain(self, child: asyncio.subprocess.Process, last_words: deque[str]) -> None:
        # What a model prints must neither block it nor reach anybody's log above debug: it may quote its
        # input.
        assert child.stdout is not None  # noqa: S101 (it is a pipe)
        while chunk := await child.stdout.read(1 << 16):
            lines = chunk.decode(errors="replace").splitlines()
            last_words.extend(line[:500] for line in lines if line.strip())
            if _log.isEnabledFor(logging.DEBUG):
                for line in lines:
                    _log.debug("model worker output", extra={"provider": self._provider, "line": line[:2000]})

    async def _autopsy(self, process: _Process) -> str:
        """What a process that closed its socket died of."""
        with suppress(TimeoutError):
            async with asyncio.timeout(5.0):  # the socket closes a moment before the process is gone
                await process.child.wait()
        code = process.child.returncode
        self._process = None
        self._died()
        await self._bury(process)
        detail = "it closed its connection" if code is None else death(code)
        _log.warning("model worker died", extra={"provider": self._provider, "by": detail, "failures": self._failures})
        return detail

    async def _kill(self, *, blame: bool = True) -> None:
        process, self._process = self._process, None
        if process is not None:
            if blame:
                self._died()
            await self._bury(process)

    def _died(self) -> None:
        self.counts.deaths += 1
        self._failures += 1

    @staticmethod
    async def _bury(process: _Process) -> None:
        """Leave nothing of a process: itself, our end of its socket, the task that reads its output."""
        if process.child.returncode is None:
            with suppress(ProcessLookupError):
                process.child.kill()
        process.writer.close()
        await process.child.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(1.0):  # a process that the model started may hold the pipe for ever
                await process.output


async def _receive(reader: asyncio.StreamReader) -> Answer:
    head = await reader.readexactly(LENGTH_BYTES)
    return unpack_answer(await reader.readexactly(body_length(head)))


def _packed(key: str, inputs: Sequence[Input]) -> tuple[bytes, dict[int, Failed]]:
    """The question, and the inputs that cannot travel: numbers beyond 64 bits, texts that are no Unicode."""
    items = [Item(one.task, dict(one.data), one.field) for one in inputs]
    try:
        return pack(Predict(key, items)), {}
    except _CANNOT_TRAVEL:
        unfit = {position: said for position, item in enumerate(items) if (said := _unfit(item)) is not None}
        return pack(Predict(key, [item for position, item in enumerate(items) if position not in unfit])), unfit


def _unfit(item: Item) -> Failed | None:
    try:
        pack(Predict("", [item]))
    except _CANNOT_TRAVEL as error:
        return Failed("input", f"the data cannot be given to a model: {type(error).__name__}")
    return None


_CANNOT_TRAVEL = (OverflowError, ValueError, TypeError, RecursionError)


def _outcome(answer: bytes | NoAnswer) -> bytes | Failed:
    return Failed(answer.reason, answer.detail) if isinstance(answer, NoAnswer) else answer


def _failed(error: WorkerError) -> Failed:
    match error:
        case WorkerTimeout():
            return Failed("timeout", f"the model gave {error}")
        case ProviderRaised():
            return Failed("error", f"the model failed: {error}")
        case _:
            return Failed("worker_crashed", f"the model's process died of this input: {error}")


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
