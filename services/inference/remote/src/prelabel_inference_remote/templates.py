"""Bodies in other forms than ours, by JMESPath: https://jmespath.org.

An expression is a project's, and what it is used on is a service's: `[@, @][]` a few times in a row makes of a word
what no machine can hold. So each step is counted, and so is what a step will make, before it is made: a few times as
many may be taken as what is given has parts. Up to `AT_ONCE` are taken on the event loop, more than that beside it.
There one is made at a time by each template, and `_BESIDE` by all: a project with many keeps others waiting little.
"""

import asyncio
from collections.abc import Iterable
from functools import lru_cache
from typing import Annotated, Any

import jmespath
from jmespath.functions import Functions, signature
from jmespath.parser import Parser
from jmespath.visitor import Options, TreeInterpreter
from pydantic import AfterValidator, Field, StringConstraints

AT_ONCE = 10_000
"""Steps that nobody else waits for: some milliseconds."""
_LEAST = 50_000
"""Steps that may be taken, however little is given."""
_EACH = 24
"""Steps that may be taken more for each part of what is given: about three are where objects are given another form,
and seventeen where pairs of numbers, which are little themselves, become regions."""
_MOST = 3_000_000
"""Steps that may be taken at all: some seconds."""
_TEXT = 32
"""Bytes of text that count as a step."""
_WIDE = 4
"""Bytes that a character takes in memory, where some are not of ASCII."""
_BITS = 100
"""Bits of a number that count as a step: about `_TEXT` digits."""
_ESCAPED = 6
"""Bytes that a character of ASCII may become in JSON, as `\\u0000` does; one beyond 16 bits becomes twice as many."""
_BESIDE = 2
"""Made at once beside one event loop: each may take some seconds and 250 MiB."""
_LIGHT = frozenset({"length", "not_null", "to_array", "type"})
"""Functions that do not look at what they are given."""


def _readable(expression: str) -> str:
    """Raises ValueError that says where it cannot be read."""
    compiled(expression)
    return expression


def compiled(expression: str) -> Any:
    """A template, ready to be used. Raises ValueError for what is none."""
    try:
        return jmespath.compile(expression)
    except (ValueError, RecursionError) as error:  # its own errors are ValueErrors, and so is a number without end
        said = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"no JMESPath: {said[:200]}") from None
    finally:
        Parser.purge()  # it keeps hundreds, and a large one takes megabytes


Template = Annotated[
    str,
    StringConstraints(min_length=1, max_length=8000),
    AfterValidator(_readable),
    Field(json_schema_extra={"format": "jmespath"}),
]
"""A JMESPath expression; the schema names its format, so that the API refuses what cannot be read."""


class Unfit(Exception):
    """A template cannot be used on what it was given."""


class TooMuch(Exception):
    """A template would take or make many times what it was given."""


class Filling:
    """One template in use."""

    def __init__(self, expression: str) -> None:
        """Raises ValueError for what is no template."""
        self._parsed = compiled(expression).parsed
        self._turn = asyncio.Lock()
        """Beside the event loop this template makes one at a time."""

    async def of(self, given: Any) -> Any:
        """What it makes of something. Raises `TooMuch`, and `Unfit`, which quotes nothing of it."""
        try:
            return self._filled(given, _Counting(AT_ONCE))
        except TooMuch:
            return await self._filled_beside(given)

    async def _filled_beside(self, given: Any) -> Any:
        async with self._turn, _places(asyncio.get_running_loop()):
            interpreter = _Counting(0)
            try:
                return await asyncio.to_thread(self._filled_large, given, interpreter)
            finally:
                interpreter.end()  # where nobody waits any more, its thread would go on

    def _filled_large(self, given: Any, interpreter: "_Counting") -> Any:
        interpreter.allow(min(_MOST, _LEAST + _EACH * _weight(given, _MOST)))
        return self._filled(given, interpreter)

    def _filled(self, given: Any, interpreter: "_Counting") -> Any:
        try:
            made = interpreter.visit(self._parsed, given)
        except (TypeError, ValueError, AttributeError, LookupError, RecursionError, ArithmeticError) as error:
            raise Unfit(type(error).__name__) from None
        interpreter.weigh(made)  # it is small in memory, and may not be when it is written
        return made


@lru_cache(maxsize=8)
def _places(loop: asyncio.AbstractEventLoop) -> asyncio.Semaphore:
    """Those of all templates that are used on one event loop: a process has one."""
    return asyncio.Semaphore(_BESIDE)


def _weight(value: Any, most: int, *, written: bool = False) -> int:
    """Steps that it takes to look at all of something, or to write it as JSON; or more than `most`."""
    steps, left = 1, [value]
    while left and steps <= most:
        one = left.pop()
        if isinstance(one, str):
            steps += len(one) * _width(one, written=written) // _TEXT
        elif isinstance(one, list):
            steps += len(one)
            left.extend(one)
        elif isinstance(one, dict):
            steps += 2 * len(one)
            left.extend(one)
            left.extend(one.values())
        elif type(one) is int:
            steps += one.bit_length() // _BITS
        elif written and type(one) is float:
            steps += 1  # most takes the search for its digits
    return steps


def _width(*texts: str, written: bool = False) -> int:
    """Bytes that each character takes in memory, or as JSON, at most."""
    if all(text.isascii() for text in texts):
        return _ESCAPED if written else 1
    return 2 * _ESCAPED if written else _WIDE


class _Counting(TreeInterpreter):
    """Takes so many steps, and no more."""

    def __init__(self, steps: int) -> None:
        super().__init__(Options(custom_functions=_CountedFunctions(self)))
        self._left = steps
        self._ended = False

    def allow(self, steps: int) -> None:
        """Take so many from here on."""
        self._left = steps

    def end(self) -> None:
        """Take none any more. It may be another thread that says so: `_left` would be written by both."""
        self._ended = True

    def take(self, steps: int) -> None:
        """Raises `TooMuch`."""
        self._left -= steps
        if self._left < 0:
            raise TooMuch

    def weigh(self, *values: Any, written: bool = False) -> None:
        """Take what it takes to look at all of something, or to write it. Raises `TooMuch`."""
        for value in values:
            self.take(_weight(value, self._left, written=written))

    def visit(self, node: Any, *args: Any, **kwargs: Any) -> Any:
        """One step."""
        self._left -= 1  # as `take`: most steps are these
        if self._left < 0 or self._ended:
            raise TooMuch
        return super().visit(node, *args, **kwargs)

    def visit_flatten(self, node: Any, value: Any) -> Any:
        """Lists of a list, as one."""
        base = self.visit(node["children"][0], value)
        if isinstance(base, list):
            self.take(len(base))  # before they are looked at, and where they are empty
            self.take(sum(len(one) for one in base if isinstance(one, list)))
        return super().visit_flatten(_with(node, base), value)

    def visit_comparator(self, node: Any, value: Any) -> Any:
        """Two values, compared to their ends; those that hold more or less than the other are unequal at once."""
        one, other = (self.visit(child, value) for child in node["children"])
        if isinstance(one, str) and isinstance(other, str):
            self.take(min(len(one), len(other)) // _TEXT)
        elif isinstance(one, (list, dict)) and isinstance(other, (list, dict)) and len(one) == len(other):
            self.weigh(one)
        return super().visit_comparator(_with(node, one, other), value)

    def visit_slice(self, node: Any, value: Any) -> Any:
        """A part of a list."""
        if isinstance(value, list):
            self.take(len(range(len(value))[slice(*node["children"])]))
        return super().visit_slice(node, value)


def _with(node: Any, *values: Any) -> Any:
    """A node whose parts are known by now."""
    return {**node, "children": [{"type": "literal", "value": value, "children": []} for value in values]}


class _CountedFunctions(Functions):
    """Functions that look at all of what they are given. What they make is as much, but for `to_string` and `join`."""

    def __init__(self, interpreter: _Counting) -> None:
        self._interpreter = interpreter

    def call_function(self, function_name: str, resolved_args: Iterable[Any]) -> Any:
        """Raises `TooMuch`."""
        if function_name not in _LIGHT:
            # A text is what it is written as.
            written = function_name == "to_string" and not any(isinstance(one, str) for one in resolved_args)
            self._interpreter.weigh(*resolved_args, written=written)
        return super().call_function(function_name, resolved_args)

    @signature({"types": ["string"]}, {"types": ["array-string"]})
    def _func_join(self, separator: str, array: list[str]) -> str:
        made = len(separator) * len(array) + sum(map(len, array))
        self._interpreter.take(made * _width(separator, *array) // _TEXT)  # one that is wide makes all of it wide
        return separator.join(array)
