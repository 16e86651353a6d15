"""A model that writes down whom it saw before it says anything, and does harm when told.

The ledger has one line per input and call: the task's uid. A batch is one write to a file opened for
appending, so the lines of several processes do not mix, and a process killed afterwards has left its lines.
"""

import ctypes
import os
import resource
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from typing import Self

from prelabel_contract.names import content_hash
from prelabel_contract.regions import Choice, Region, Span
from prelabel_provider.base import (
    BadSettings,
    Description,
    Failed,
    Input,
    Predicted,
    PredictedJson,
    Prediction,
    Provider,
)

from .settings import LedgerSettings

LEDGER = "PRELABEL_LEDGER"
_CHUNK = 8 << 20


class LedgerProvider(Provider[LedgerSettings]):
    """Labels the first word, and the whole text with a choice."""

    name = "ledger"
    kinds = frozenset({"span", "choice"})
    Settings = LedgerSettings

    def __init__(self, settings: LedgerSettings, ledger: int | None) -> None:
        self._settings = settings
        self._ledger = ledger

    @classmethod
    def load(cls, settings: LedgerSettings) -> Self:
        """Open the ledger."""
        try:
            settings = settings.whole()
        except (OSError, ValueError) as error:
            raise BadSettings(f"path: {settings.path!r}: {type(error).__name__}") from error
        _work(settings.load_seconds)
        while settings.load_after is not None and not os.path.exists(settings.load_after):
            time.sleep(0.01)
        if settings.die_on_load:
            os.abort()
        path = settings.ledger or os.environ.get(LEDGER)
        try:
            ledger = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644) if path else None
        except OSError as error:
            raise BadSettings(f"ledger: {error.strerror}") from error
        return cls(settings, ledger)

    def describe(self) -> Description:
        """The package's version, and a hash of what it says."""
        settings = self._settings
        said = content_hash([settings.label, settings.choice, *([settings.words] if settings.words else [])])
        choices = {*settings.words.values(), *((settings.choice,) if settings.choice else ())}
        labels = {"span": (settings.label,), "choice": tuple(sorted(choices))}
        return Description(f"ledger-{version('prelabel-inference-ledger')}+{said[:16]}", self.kinds, labels)

    def predict(self, batch: Sequence[Input]) -> list[Prediction]:
        """Write the batch down, then answer it."""
        if self._ledger is not None:
            os.write(self._ledger, "".join(f"{one.task}\n" for one in batch).encode())
        for stream in (sys.stdout, sys.stderr):
            stream.write("x" * self._settings.print_bytes)
        time.sleep(self._settings.seconds_per_task * len(batch))
        answers = [self._answer(one) for one in batch]
        lost = sum(_has(one, self._settings.lose_on) for one in batch)
        return answers[: len(answers) - lost]

    def warm(self) -> None:
        """Nothing: the ledger is of tasks only."""

    def _answer(self, one: Input) -> Prediction:
        settings = self._settings
        try:
            text = one.text
        except ValueError as error:
            return Failed("input", str(error))
        if _has(one, settings.abort_on):
            os.abort()
        if _has(one, settings.crash_on):
            ctypes.string_at(0)
        if _has(one, settings.hang_on):
            ctypes.PyDLL(None).sleep(100_000)  # PyDLL keeps the interpreter's lock, as careless native code does
        if _has(one, settings.eat_on):
            _eat()
        if _has(one, settings.raise_on):
            raise RuntimeError(f"told to raise by {text}")
        if _has(one, settings.fail_on):
            return Failed(settings.fail_as, "the text says so")
        if _has(one, settings.garble_on):
            return PredictedJson(b'[{"kind":"choice","labels":["seen"],"score":NaN}]')
        regions: list[Region] = []
        choice = settings.choice
        if words := text.split():
            choice = settings.words.get(words[0], choice)
            start = text.index(words[0])
            end = start + len(words[0])
            regions.append(Span(start=start, end=end, labels=(settings.label,), text=text[start:end]))
        if choice:
            regions.append(Choice(labels=(choice,), score=0.5))
        return Predicted(tuple(regions), settings.uncertainty)


def _has(one: Input, marker: str | None) -> bool:
    return marker is not None and isinstance(one.data.get(one.field), str) and marker in one.text


def _work(seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        content_hash([until])


def _eat() -> None:
    soft, _ = resource.getrlimit(resource.RLIMIT_DATA)
    eaten: list[bytearray] = []
    while soft != resource.RLIM_INFINITY:
        eaten.append(bytearray(_CHUNK))
