"""From tasks to what a model is given: texts, or rows of numbers."""

import base64
import binascii
from collections import Counter
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from prelabel_provider.base import BadSettings, Failed, Input

from .settings import Encoding, SklearnSettings

Given = Sequence[str] | NDArray[np.float64]
"""Of a batch, what the model is given: one text, or one row, for each input that fits."""
_NUMBERS = "biuf"
"""Kinds of numpy's types that count as numbers: true is 1, in whatever company."""
_TYPES: dict[Encoding, str] = {"uint8": "u1", "float32": "<f4", "float64": "<f8"}


class Reader(Protocol):
    """Takes what a model needs out of tasks."""

    def sample(self) -> Given:
        """One harmless input."""
        ...

    def read(self, batch: Sequence[Input]) -> tuple[Given, dict[int, Failed]]:
        """What fits, in order; and what does not, by its place."""
        ...

    def sizes(self, given: Given) -> Sequence[int]:
        """What each costs in memory: its characters, or numbers."""
        ...


class Texts:
    """The text of the model's field."""

    def __init__(self, max_length: int) -> None:
        self._max_length = max_length

    def sample(self) -> Given:
        """A word."""
        return ["ready"]

    def read(self, batch: Sequence[Input]) -> tuple[Given, dict[int, Failed]]:
        """Texts that are not too long."""
        most = self._max_length
        texts: list[str] = []
        unfit: dict[int, Failed] = {}
        for place, one in enumerate(batch):
            text = one.data.get(one.field)
            if isinstance(text, str) and len(text) <= most:
                texts.append(text)
            elif isinstance(text, str):
                unfit[place] = Failed("too_long", f"{len(text)} characters, the limit is {most}")
            else:
                unfit[place] = Failed("input", f"field {one.field!r} is not a text")
        return texts, unfit

    def sizes(self, given: Given) -> Sequence[int]:
        """Characters."""
        return [len(text) for text in given]


class Vectors:
    """As many numbers as the model takes: of its field, or of several fields with one each."""

    def __init__(self, count: int, encoding: Encoding, columns: Sequence[str] = ()) -> None:
        self._count = count
        self._type = np.dtype(_TYPES[encoding])
        self._columns = tuple(columns)

    def sample(self) -> Given:
        """Nothing but zeros."""
        return np.zeros((1, self._count))

    def read(self, batch: Sequence[Input]) -> tuple[Given, dict[int, Failed]]:
        """Rows of the right length."""
        values = [self._value(one) for one in batch]
        if all(isinstance(value, list) for value in values) and (rows := self._together(values)) is not None:
            return rows, {}
        found: list[NDArray[np.float64]] = []
        unfit: dict[int, Failed] = {}
        for place, (one, value) in enumerate(zip(batch, values, strict=True)):
            try:
                found.append(self._row(value))
            except ValueError as error:
                where = "the columns" if self._columns else f"field {one.field!r}"
                unfit[place] = Failed("input", f"{where}: {error}")
        return np.array(found, dtype=np.float64).reshape(len(found), self._count), unfit

    def sizes(self, given: Given) -> Sequence[int]:
        """Numbers."""
        return [self._count] * len(given)

    def _value(self, one: Input) -> Any:
        if self._columns:
            return [one.data.get(column) for column in self._columns]
        return one.data.get(one.field)

    def _together(self, values: Sequence[Any]) -> NDArray[np.float64] | None:
        """A whole batch at once, which is what costs little; None if anything about it is unusual."""
        try:
            rows = np.array(values)
        except (ValueError, OverflowError):
            return None
        if rows.dtype.kind not in _NUMBERS or rows.size != len(values) * self._count or not np.isfinite(rows).all():
            return None
        return rows.reshape(len(values), self._count).astype(np.float64, copy=False)

    def _row(self, value: Any) -> NDArray[np.float64]:
        """Raises ValueError, which says what it is instead, and never shows it."""
        numbers = self._numbers(value)
        if numbers.size != self._count:
            raise ValueError(f"the model takes {self._count} numbers, these are {numbers.size}")
        if not np.isfinite(numbers).all():
            raise ValueError("it holds a number that is not finite")
        return numbers.reshape(self._count).astype(np.float64)

    def length(self, one: Input) -> int:
        """How many numbers an input holds, whether or not the model takes so many; 0 if none."""
        try:
            return self._numbers(self._value(one)).size
        except ValueError:
            return 0

    def _numbers(self, value: Any) -> NDArray[Any]:
        if isinstance(value, str):
            numbers: NDArray[Any] = self._decoded(value)
        elif isinstance(value, list):
            try:
                numbers = np.array(value)
            except (ValueError, OverflowError):
                raise ValueError("lists of numbers must be equally long") from None
            if numbers.size and numbers.dtype.kind not in _NUMBERS:
                raise ValueError("it holds something that is no number")
        else:
            raise ValueError("it is no list of numbers")
        return numbers

    def _decoded(self, text: str) -> NDArray[Any]:
        head, comma, body = text[:100].partition(",")
        if comma and head.startswith("data:"):
            if head.startswith("data:image/"):
                raise ValueError("it is a picture in a format of its own: give its pixels")
            text = body + text[100:]
        try:
            raw = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raise ValueError("it is a text, and not Base64") from None
        if len(raw) % self._type.itemsize:
            raise ValueError(f"{len(raw)} bytes are no whole number of {self._type.name}")
        return np.frombuffer(raw, self._type)


def usual_length(batch: Sequence[Input], encoding: Encoding) -> int:
    """How many numbers most inputs hold; of equally many the fewer; 0 if none holds any."""
    reader = Vectors(0, encoding)
    found = Counter(length for one in batch if (length := reader.length(one)))
    return min(found, key=lambda length: (-found[length], length), default=0)


def reader_of(model: Any, settings: SklearnSettings) -> Reader:
    """What a model reads. Raises `BadSettings` where it does not go with the settings."""
    if settings.input == "text":
        return Texts(settings.max_length)
    count = getattr(model, "n_features_in_", None)
    if count is None:
        raise BadSettings("input: the model does not say how many numbers it takes: it is one for texts, it seems")
    if settings.columns and len(settings.columns) != count:
        raise BadSettings(f"columns: the model takes {count} numbers, these are {len(settings.columns)} columns")
    return Vectors(int(count), settings.encoding, settings.columns)
