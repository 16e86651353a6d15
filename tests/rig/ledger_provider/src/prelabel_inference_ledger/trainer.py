"""A trainer that learns a table in no time, writes down when it trained, and does harm when told."""

import ctypes
import fcntl
import json
import os
import resource
import time
from collections import Counter
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal

from prelabel_contract.regions import Choice, Span
from prelabel_provider.trainer import CannotTrain, Job, Progress, Trained, Trainer, TrainerSettings
from pydantic import Field

FILE = "ledger.json"
"""Settings of the provider, which go before those of the model."""
_CHUNK = 8 << 20


class LedgerTrainerSettings(TrainerSettings):
    """How long it takes, and what harm is done."""

    seconds: Annotated[float, Field(ge=0)] = 0.0
    """That it takes, step by step."""
    steps: Annotated[int, Field(ge=1)] = 4
    ledger: str | None = None
    """A file: a line "begin PID TIME" at the start, "step PID TIME" at each step, "end PID TIME" at the end."""
    harm: Literal["abort", "crash", "hang", "eat", "raise", "exit"] | None = None
    """Halfway: SIGABRT, SIGSEGV, a native call that never returns, all the memory, RuntimeError, SystemExit."""
    harmless_from: Annotated[int, Field(ge=1)] = 1_000_000
    """The beginning, as the ledger counts them, from which on no harm is done."""
    also_writes: dict[str, str] = Field(default_factory=dict)
    """Files that are not named: name -> content."""
    classes: Annotated[int, Field(ge=1, le=2)] = 1
    """So many different choices there must be, where there are any."""


class LedgerTrainer(Trainer[LedgerTrainerSettings]):
    """Counts labels: of spans, and of choices by the text's first word."""

    name = "ledger"
    kinds = frozenset({"span", "choice"})
    Settings = LedgerTrainerSettings
    writes = frozenset({".json"})
    source_settings = frozenset({"path", "label", "choice", "words"})

    def train(self, job: Job, report: Callable[[Progress], None]) -> Trained:
        """Train, and write down what the model says from then on."""
        settings = self.settings(job)
        _alone(settings)
        begun = _note(settings, "begin")
        learned = _learned(job, settings)
        for step in range(settings.steps):
            if step == settings.steps // 2 and settings.harm and begun < settings.harmless_from:
                _harm(settings.harm)
            time.sleep(settings.seconds / settings.steps)
            _note(settings, "step")
            report(Progress(step + 1, settings.steps, loss=1 / (step + 1)))
        (job.folder / FILE).write_text(json.dumps(learned, sort_keys=True), encoding="utf-8")
        for name, content in settings.also_writes.items():
            (job.folder / name).write_text(content, encoding="utf-8")
        _note(settings, "end")
        libraries = {"prelabel-inference-ledger": version("prelabel-inference-ledger")}
        return Trained((FILE,), {"examples": float(len(job.examples))}, libraries)


def _learned(job: Job, settings: LedgerTrainerSettings) -> dict[str, Any]:
    field = job.label_set[0].field
    spans, choices = Counter[str](), Counter[str]()
    words: dict[str, Counter[str]] = {}
    for one in job.examples:
        word = (str(one.data.get(field, "")).split() or [""])[0]
        for region in one.regions:
            if isinstance(region, Span):
                spans.update(region.labels)
            elif isinstance(region, Choice):
                choices.update(region.labels)
                words.setdefault(word, Counter()).update(region.labels)
    if not spans and not choices:
        raise CannotTrain("too_few", "no example has a span or a choice: annotate some tasks")
    if len(choices) == 1 and settings.classes > 1:
        raise CannotTrain("single_class", "all examples have the same label: annotate tasks that have another")
    before = {} if job.base is None else json.loads((job.base / FILE).read_text(encoding="utf-8"))
    learned: dict[str, Any] = {"choice": _most(choices) if choices else None}
    learned |= {"label": _most(spans)} if spans else {}
    return {**before, **learned, "words": {**before.get("words", {}), **{w: _most(c) for w, c in words.items()}}}


def _most(said: Counter[str]) -> str:
    return min(said, key=lambda label: (-said[label], label))


def _alone(settings: LedgerTrainerSettings) -> None:
    """Lock the ledger until the process ends; where another process has it, a line "double PID" says so."""
    if settings.ledger is None:
        return
    lock = os.open(settings.ledger, os.O_CREAT | os.O_RDWR | os.O_APPEND, 0o600)  # open until the end
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.write(lock, f"double {os.getpid()}\n".encode())


def _note(settings: LedgerTrainerSettings, what: str) -> int:
    """Write a line, and answer how many began."""
    if settings.ledger is None:
        return 1
    with open(settings.ledger, "ab", buffering=0) as file:
        file.write(f"{what} {os.getpid()} {time.monotonic()}\n".encode())
    return Path(settings.ledger).read_text().count("begin ")


def _harm(how: str) -> None:
    match how:
        case "abort":
            os.abort()
        case "crash":
            ctypes.string_at(0)
        case "hang":
            ctypes.PyDLL(None).sleep(100_000)  # PyDLL keeps the interpreter's lock
        case "eat":
            soft, _ = resource.getrlimit(resource.RLIMIT_DATA)
            eaten: list[bytearray] = []
            while soft != resource.RLIM_INFINITY:
                eaten.append(bytearray(_CHUNK))
        case "raise":
            raise RuntimeError("told to")
        case "exit":
            raise SystemExit(0)
