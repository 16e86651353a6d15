"""The process of one training: `python -m prelabel_provider.training.main`, started by `process` only.

It trains in its main thread; another reads the socket, so that it ends as soon as its parent does, and also where the
parent stands still and nobody says any more that it may go on: somebody else may be at the training then. Where native
code keeps the interpreter's lock for long, the parent's end is noticed by the kernel, the other as soon as it lets go.
"""

import argparse
import json
import math
import os
import resource
import select
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import Any

from prelabel_contract.base import MAX_INT

from ..child import OUT_OF_MEMORY, die_with, end_before_others, limit_memory
from ..models.manifest import Limits
from ..models.workspace import ExampleLine, read_lines
from ..trainer import ENTRY_POINTS, CannotTrain, Job, Progress, Trained, Trainer
from .words import LEASE_OVER, JobFile, Known, Made, Raised, Refused, Stepped, Word, line, until

_EVERY = 0.2
"""Seconds between two reports that are passed on: a trainer may report as often as it likes."""


def main(argv: Sequence[str] | None = None) -> None:
    """Say what the trainer is, and train what the job says."""
    arguments = _arguments(argv)
    die_with(arguments.parent)
    os.nice(arguments.nice)
    end_before_others()
    limit_memory(arguments.memory_mib)
    _limit_files()
    os.set_inheritable(arguments.fd, False)
    connection = socket.socket(fileno=arguments.fd)
    try:
        _work(arguments.provider, arguments.job, arguments.until, connection)
    except MemoryError:
        os._exit(OUT_OF_MEMORY)
    except OSError:
        os._exit(0)  # the parent has gone


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="prelabel_provider.training.main")
    parser.add_argument("--provider", required=True)
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True, help="process id")
    parser.add_argument("--job", type=Path, help="a job's file; without it the trainer is introduced and no more")
    parser.add_argument("--until", type=float, default=0.0, help="seconds of the monotonic clock")
    parser.add_argument("--memory-mib", type=int, default=0, help="0: no limit")
    parser.add_argument("--nice", type=int, default=0)
    return parser.parse_args(argv)


def _limit_files() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    most = Limits().file_bytes
    resource.setrlimit(resource.RLIMIT_FSIZE, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # it would hold the examples


def _work(provider: str, job: Path | None, may_until: float, connection: socket.socket) -> None:
    try:
        trainer, known = _found(provider)
    except MemoryError:
        raise
    except BaseException as error:  # an import can raise anything
        connection.sendall(line(Raised(f"{type(error).__name__}: {_first_line(error)}")))
        return
    connection.sendall(line(known))
    if job is None:
        return
    threading.Thread(target=_watch, args=(connection, may_until), name="parent", daemon=True).start()
    connection.sendall(line(_train(trainer, JobFile.model_validate_json(job.read_bytes()), connection)))


def _found(name: str) -> tuple[Trainer[Any], Known]:
    point = next(iter(entry_points(group=ENTRY_POINTS, name=name)), None)
    if point is None:
        raise LookupError(f"no trainer {name!r} is installed for {sys.executable}")
    kind: type[Trainer[Any]] = point.load()
    if not (isinstance(kind, type) and issubclass(kind, Trainer)):
        raise TypeError(f"{point.value} is no Trainer")
    package = point.dist.version if point.dist is not None else version("prelabel-provider")
    schema = json.loads(json.dumps(kind.Settings.model_json_schema()))
    return kind(), Known(package, sorted(kind.kinds), sorted(kind.writes), sorted(kind.source_settings), schema)


def _train(trainer: Trainer[Any], file: JobFile, connection: socket.socket) -> Word:
    try:
        said = trainer.train(_job(trainer, file), _reporter(connection))
        return _made(said)
    except CannotTrain as error:
        return Refused(_text(error.reason, 100), _text(error.detail, 1000))
    except (MemoryError, BrokenPipeError, ConnectionError):
        raise
    except BaseException as error:  # SystemExit too: it is the trainer's, and no end of ours
        return Raised(type(error).__name__)


def _job(trainer: Trainer[Any], file: JobFile) -> Job:
    base = None if file.base is None else Path(file.base)
    if base is None and file.base_settings is not None:
        base = trainer.base_of(file.base_settings)
    return Job(
        examples=tuple(one.example for one in read_lines(Path(file.examples), ExampleLine)),
        label_set=file.label_set,
        folder=Path(file.folder),
        seed=file.seed,
        settings=file.settings,
        base=base,
        threads=file.threads,
    )


def _reporter(connection: socket.socket) -> Callable[[Progress], None]:
    last = -math.inf

    def report(progress: Progress) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _EVERY or progress.step >= progress.steps:
            last = now
            connection.sendall(line(_stepped(progress)))

    return report


def _stepped(progress: Progress) -> Stepped:
    score = _number(progress.score)
    left = _number(progress.seconds_left)
    return Stepped(
        step=min(MAX_INT, max(0, int(progress.step))),
        steps=min(MAX_INT, max(0, int(progress.steps))),
        loss=_number(progress.loss),
        score=score if score is not None and 0 <= score <= 1 else None,
        seconds_left=left if left is not None and left >= 0 else None,
    )


def _made(said: Trained) -> Made:
    metrics = {str(name): _number(value) for name, value in said.metrics.items()}
    return Made([str(name) for name in said.files], metrics, {str(k): str(v) for k, v in said.libraries.items()})


def _text(said: str, most: int) -> str:
    """A text that can travel: libraries may put into it what is no Unicode."""
    return str(said)[:most].encode(errors="replace").decode()


def _number(value: float | None) -> float | None:
    """A float of Python's own: libraries have others, and some are none."""
    return None if value is None or not math.isfinite(value) else float(value)


def _watch(connection: socket.socket, may_until: float) -> None:
    unread = b""
    try:
        while True:
            ready, _, _ = select.select([connection], [], [], max(0.0, may_until - time.monotonic()))
            if not ready:
                os._exit(LEASE_OVER)
            if not (said := connection.recv(1 << 16)):
                os._exit(0)
            *lines, unread = (unread + said).split(b"\n")
            for one in lines:
                may_until = max(may_until, until(one))
    except BaseException:
        os._exit(1)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [""])[0][:500]


if __name__ == "__main__":
    main()
