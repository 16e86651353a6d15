"""The child side of a model worker: `python -m prelabel_provider.worker_main`, started by
`worker.ModelWorker` only.

One thread predicts; another reads the socket. So the end of the parent is noticed at once, also while a
model is busy: the reading thread sees the socket close and ends the process. Where a model keeps the
interpreter's lock in native code no thread of ours could, and on Linux the kernel does it (PR_SET_PDEATHSIG).
"""

import argparse
import ctypes
import gc
import json
import os
import resource
import signal
import socket
import sys
import threading
from collections import OrderedDict
from collections.abc import Sequence
from importlib.metadata import entry_points, version
from queue import SimpleQueue
from typing import Any

from prelabel_contract.errors import field_errors
from prelabel_contract.regions import REGIONS
from pydantic import ValidationError

from .base import ENTRY_POINTS, BadSettings, Failed, Input, PredictedJson, Prediction, Provider
from .frames import (
    LENGTH_BYTES,
    PROTOCOL,
    Answer,
    Answers,
    Broken,
    Garbage,
    Load,
    Loaded,
    NoAnswer,
    NotLoaded,
    Predict,
    Question,
    Raised,
    Ready,
    Refused,
    Unload,
    Unloaded,
    body_length,
    pack,
    unpack_question,
)

OUT_OF_MEMORY = 77
"""Exit code: the memory limit is reached. What a failed allocation leaves behind is not worth trusting."""

_PR_SET_PDEATHSIG = 1
_MIB = 1 << 20


def main(argv: Sequence[str] | None = None) -> None:
    """Serve one provider's models to the parent until the parent goes."""
    arguments = _arguments(argv)
    _die_with(arguments.parent)
    if arguments.memory_mib:
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (arguments.memory_mib * _MIB, hard))
    os.set_inheritable(arguments.fd, False)  # or a process that a model starts would keep our end open
    connection = socket.socket(fileno=arguments.fd)
    connection.setblocking(True)
    questions: SimpleQueue[Question] = SimpleQueue()
    threading.Thread(target=_read, args=(connection, questions), name="parent", daemon=True).start()
    try:
        _serve(arguments.provider, arguments.models, connection, questions)
    except MemoryError:
        os._exit(OUT_OF_MEMORY)
    except OSError:
        os._exit(0)  # the parent has gone; the reading thread was about to say so


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="prelabel_provider.worker_main")
    parser.add_argument("--provider", required=True)
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True, help="process id")
    parser.add_argument("--memory-mib", type=int, default=0, help="0: no limit")
    parser.add_argument("--models", type=int, default=4, help="models kept loaded")
    return parser.parse_args(argv)


def _die_with(parent: int) -> None:
    """End when the parent ends, and only then: signals to a whole group or container are for the parent."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(0)  # it died before we asked to be told
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, signal.SIG_IGN)


def _read(connection: socket.socket, questions: "SimpleQueue[Question]") -> None:
    try:
        while True:
            head = _exactly(connection, LENGTH_BYTES)
            questions.put(unpack_question(_exactly(connection, body_length(head))))
    except (OSError, EOFError):
        os._exit(0)
    except MemoryError:
        os._exit(OUT_OF_MEMORY)
    except Garbage:
        os._exit(1)


def _exactly(connection: socket.socket, count: int) -> bytes:
    buffer = bytearray(count)
    view = memoryview(buffer)
    filled = 0
    while filled < count:
        received = connection.recv_into(view[filled:])
        if not received:
            raise EOFError
        filled += received
    return bytes(buffer)


def _serve(name: str, models: int, connection: socket.socket, questions: "SimpleQueue[Question]") -> None:
    try:
        provider, package = _find(name)
        schema = json.dumps(provider.Settings.model_json_schema()).encode()
    except MemoryError:
        raise
    except BaseException as error:  # an import can raise anything, SystemExit too; all of it is the parent's to tell
        connection.sendall(pack(Broken(f"{type(error).__name__}: {_line(error)}")))
        raise SystemExit(1) from error
    connection.sendall(pack(Ready(PROTOCOL, package, sorted(provider.kinds), schema)))
    host = Host(provider, models)
    while True:
        answer = host.answer(questions.get())
        try:
            frame = pack(answer)
        except (
            OverflowError,
            ValueError,
            TypeError,
        ) as error:  # a text that is no Unicode, batches beyond all bounds
            frame = pack(Raised(type(error).__name__))
        connection.sendall(frame)


def _find(name: str) -> tuple[type[Provider[Any]], str]:
    found = next(iter(entry_points(group=ENTRY_POINTS, name=name)), None)
    if found is None:
        raise LookupError(f"no provider {name!r} is installed for {sys.executable}")
    provider = found.load()
    if not (isinstance(provider, type) and issubclass(provider, Provider)):
        raise TypeError(f"{found.value} is no Provider")
    return provider, found.dist.version if found.dist is not None else version("prelabel-provider")


class Host:
    """The models of one provider that are loaded, least recently used first."""

    def __init__(self, provider: type[Provider[Any]], limit: int) -> None:
        self._provider = provider
        self._limit = limit
        self._models: OrderedDict[str, Provider[Any]] = OrderedDict()

    def answer(self, question: Question) -> Answer:
        """Do what is asked. Raises MemoryError; everything else becomes an answer."""
        match question:
            case Load():
                return self._load(question)
            case Unload():
                self._models.pop(question.key, None)
                self._settle()
                return Unloaded()
            case Predict():
                return self._predict(question)

    def _load(self, question: Load) -> Answer:
        try:
            settings = self._provider.Settings.model_validate_json(question.settings)
            while len(self._models) >= self._limit and question.key not in self._models:
                self._models.popitem(last=False)
            model = self._provider.load(settings)
            said = model.describe()
            answer = Loaded(said.version, sorted(said.kinds), {k: list(v) for k, v in said.labels.items()})
        except ValidationError as error:
            wrong = field_errors(error)
            return Refused("; ".join(f"{e.pointer or '(settings)'}: {e.detail}" for e in wrong))
        except BadSettings as error:
            return Refused(_line(error))
        except MemoryError:
            raise
        except Exception as error:
            return Raised(f"{type(error).__name__}: {_line(error)}")
        self._models[question.key] = model
        self._settle()
        return answer

    def _settle(self) -> None:
        # A model lives long: the collector frees what went, and need not walk what stays once per batch.
        gc.unfreeze()
        gc.collect()
        gc.freeze()

    def _predict(self, question: Predict) -> Answer:
        model = self._models.get(question.key)
        if model is None:
            return NotLoaded()
        self._models.move_to_end(question.key)
        try:
            said = model.predict([Input(i.task, i.data, i.field) for i in question.items])
            if len(said) != len(question.items):
                return Raised(f"{len(said)} predictions for {len(question.items)} inputs")
            return Answers([_packed(one) for one in said])
        except MemoryError:
            raise
        except Exception as error:
            return Raised(type(error).__name__)


def _packed(said: Prediction) -> bytes | NoAnswer:
    if isinstance(said, Failed):
        return NoAnswer(said.reason, said.detail)
    if isinstance(said, PredictedJson):
        return said.regions
    return REGIONS.dump_json(said.regions, exclude_none=True)


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [""])[0][:500]


if __name__ == "__main__":
    main()
