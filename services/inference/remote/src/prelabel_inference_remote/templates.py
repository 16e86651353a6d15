"""Bodies in other forms than ours, by JMESPath: https://jmespath.org.

An expression is a project's, and what it is used on is a service's: `[@, @][]` a few times in a row makes of a word
what no machine can hold. So each step is counted, and so is what a step will make, before it is made: a few times as
many may be taken as what is given has parts. Up to `AT_ONCE` are taken on the event loop, more than that beside it.
"""

import asyncio
from collections.abc import Iterable
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
_EACH = 8
"""Steps that may be taken more for each part of what is given: about three are, where it is given another form."""
_MOST = 3_000_000
"""Steps that may be taken at all: some seconds."""
_TEXT = 32
"""Characters that count as a step."""
_ESCAPED = 6
"""Characters that one may become in JSON."""
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
        """Beside the event loop one at a time is made."""

    async def of(self, given: Any) -> Any:
        """What it makes of something. Raises `TooMuch`, and `Unfit`, which quotes nothing of it."""
        try:
            return self._filled(given, AT_ONCE)
        except TooMuch:
            async with self._turn:
                return await asyncio.to_thread(self._filled_large, given)

    def _filled_large(self, given: Any) -> Any:
        return self._filled(given, min(_MOST, _LEAST + _EACH * _weight(given, _MOST)))

    def _filled(self, given: Any, steps: int) -> Any:
        interpreter = _Counting(steps)
        try:
            made = interpreter.visit(self._parsed, given)
        except (TypeError, ValueError, AttributeError, LookupError, RecursionError, ArithmeticError) as error:
            raise Unfit(type(error).__name__) from None
        interpreter.weigh(made)  # it is small in memory, and may not be when it is written
        return made


def _weight(value: Any, most: int) -> int:
    """Steps that it takes to look at all of something, or more than `most`."""
    steps, left = 1, [value]
    while left and steps <= most:
        one = left.pop()
        if isinstance(one, str):
            steps += len(one) // _TEXT
        elif isinstance(one, list):
            steps += len(one)
            left.extend(one)
        elif isinstance(one, dict):
            steps += 2 * len(one)
            left.extend(one)
            left.extend(one.values())
    return steps


class _Counting(TreeInterpreter):
    """Takes so many steps, and no more."""

    def __init__(self, steps: int) -> None:
        super().__init__(Options(custom_functions=_CountedFunctions(self)))
        self._left = steps

    def take(self, steps: int) -> None:
        """Raises `TooMuch`."""
        self._left -= steps
        if self._left < 0:
            raise TooMuch

    def weigh(self, *values: Any, times: int = 1) -> None:
        """Take what it takes to look at all of something. Raises `TooMuch`."""
        for value in values:
            self.take(times * _weight(value, self._left))

    def visit(self, node: Any, *args: Any, **kwargs: Any) -> Any:
        """One step."""
        self._left -= 1  # as `take`: most steps are these
        if self._left < 0:
            raise TooMuch
        return super().visit(node, *args, **kwargs)

    def visit_flatten(self, node: Any, value: Any) -> Any:
        """Lists of a list, as one."""
        base = self.visit(node["children"][0], value)
        if isinstance(base, list):
            self.take(sum(len(one) if isinstance(one, list) else 1 for one in base))
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
        part = super().visit_slice(node, value)
        self.take(len(part or ()))
        return part


def _with(node: Any, *values: Any) -> Any:
    """A node whose parts are known by now."""
    return {**node, "children": [{"type": "literal", "value": value, "children": []} for value in values]}


class _CountedFunctions(Functions):
    """Functions that look at all of what they are given, and make no more than that."""

    def __init__(self, interpreter: _Counting) -> None:
        self._interpreter = interpreter

    def call_function(self, function_name: str, resolved_args: Iterable[Any]) -> Any:
        """Raises `TooMuch`."""
        if function_name not in _LIGHT:
            self._interpreter.weigh(*resolved_args, times=_ESCAPED if function_name == "to_string" else 1)
        return super().call_function(function_name, resolved_args)

    @signature({"types": ["string"]}, {"types": ["array-string"]})
    def _func_join(self, separator: str, array: list[str]) -> str:
        self._interpreter.take(len(separator) * len(array) // _TEXT)
        return separator.join(array)
