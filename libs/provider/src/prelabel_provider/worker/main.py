"""The child side of a model worker: `python -m prelabel_provider.worker.main`, started by
`worker.ModelWorker` only.

One thread predicts; another reads the socket. So the end of the parent is noticed at once, also while a
model is busy: the reading thread sees the socket close and ends the process. Where a model keeps the
interpreter's lock in native code no thread of ours could, and on Linux the kernel does it (PR_SET_PDEATHSIG).
The next question is read while the model works, and answers that the parent does not take at once are handed over by
a third thread: the model waits for neither.
"""

import argparse
import json
import os
import socket
import sys
import threading
from collections import deque
from collections.abc import Sequence
from importlib.metadata import entry_points, version
from typing import Any

from ..base import ENTRY_POINTS, Provider
from ..child import OUT_OF_MEMORY, die_with, limit_memory
from ..trainer import ENTRY_POINTS as TRAINERS
from .frames import (
    LENGTH_BYTES,
    PROTOCOL,
    Answer,
    Broken,
    Garbage,
    Raised,
    Ready,
    body_length,
    pack,
    unpack_question,
)
from .host import Host, Jobs, line


def main(argv: Sequence[str] | None = None) -> None:
    """Serve one provider's models to the parent until the parent goes."""
    arguments = _arguments(argv)
    die_with(arguments.parent)
    limit_memory(arguments.memory_mib)
    os.set_inheritable(arguments.fd, False)  # or a process that a model starts would keep our end open
    connection = socket.socket(fileno=arguments.fd)
    connection.setblocking(True)
    jobs = Jobs()
    threading.Thread(target=_read, args=(connection, jobs), name="parent", daemon=True).start()
    try:
        _serve(arguments.provider, arguments.models, connection, jobs)
    except MemoryError:
        os._exit(OUT_OF_MEMORY)
    except OSError:
        os._exit(0)  # the parent has gone; the reading thread was about to say so


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="prelabel_provider.worker.main")
    parser.add_argument("--provider", required=True)
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True, help="process id")
    parser.add_argument("--memory-mib", type=int, default=0, help="0: no limit")
    parser.add_argument("--models", type=int, default=4, help="models kept loaded")
    return parser.parse_args(argv)


def _read(connection: socket.socket, jobs: Jobs) -> None:
    try:
        while True:
            head = _exactly(connection, LENGTH_BYTES)
            jobs.put(unpack_question(_exactly(connection, body_length(head))))
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


def _serve(name: str, models: int, connection: socket.socket, jobs: Jobs) -> None:
    try:
        provider, package = _find(name)
        schema = json.dumps(provider.Settings.model_json_schema()).encode()
    except MemoryError:
        raise
    except BaseException as error:  # an import can raise anything, SystemExit too; all of it is the parent's to tell
        connection.sendall(pack(Broken(f"{type(error).__name__}: {line(error)}")))
        raise SystemExit(1) from error
    connection.sendall(pack(Ready(PROTOCOL, package, sorted(provider.kinds), schema, *_trained(name))))
    host = Host(provider, models, Voice(connection).say)
    while True:
        job = jobs.take()
        if host.work(job, jobs.idled()):
            jobs.put_back(job)


class Voice:
    """What is said to the parent: at once while it listens, else by a thread, so that the model need not wait."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._unsaid: deque[memoryview] = deque()
        self._changed = threading.Condition()
        threading.Thread(target=self._catch_up, name="answers", daemon=True).start()

    def say(self, answer: Answer) -> None:
        """In order. What was said at once reaches the parent also if this process dies right afterwards."""
        try:
            frame = memoryview(pack(answer))
        except (OverflowError, ValueError, TypeError) as error:  # a text that is no Unicode, batches beyond all bounds
            frame = memoryview(pack(Raised(answer.id, type(error).__name__)))
        with self._changed:
            if not self._unsaid:
                frame = frame[self._at_once(frame) :]
            if frame:
                self._unsaid.append(frame)
                self._changed.notify()

    def _at_once(self, frame: memoryview) -> int:
        try:
            return self._connection.send(frame, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return 0

    def _catch_up(self) -> None:
        try:
            while True:
                with self._changed:
                    while not self._unsaid:
                        self._changed.wait()
                    frame = self._unsaid[0]  # it stays until it is said: nothing overtakes it
                self._connection.sendall(frame)
                with self._changed:
                    self._unsaid.popleft()
        except OSError:
            os._exit(0)


def _find(name: str) -> tuple[type[Provider[Any]], str]:
    found = next(iter(entry_points(group=ENTRY_POINTS, name=name)), None)
    if found is None:
        raise LookupError(f"no provider {name!r} is installed for {sys.executable}")
    provider = found.load()
    if not (isinstance(provider, type) and issubclass(provider, Provider)):
        raise TypeError(f"{found.value} is no Provider")
    return provider, found.dist.version if found.dist is not None else version("prelabel-provider")


def _trained(name: str) -> tuple[list[str], list[str]]:
    """What a trained version's files may be, and which settings it stands for; nothing where none can be trained."""
    try:
        found = next(iter(entry_points(group=TRAINERS, name=name)), None)
        trainer = found.load() if found is not None else None
        return (sorted(trainer.writes), sorted(trainer.source_settings)) if trainer is not None else ([], [])
    except MemoryError:
        raise
    except BaseException as error:  # models as their settings say are served also where nothing can be trained
        sys.stderr.write(f"no trainer: {type(error).__name__}: {line(error)}\n")
        return [], []


if __name__ == "__main__":
    main()
