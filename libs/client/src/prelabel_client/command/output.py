"""What commands print: tables for people, tab-separated lines in a pipe, JSON when asked.

On standard output goes what was asked for, on standard error everything else. What others wrote (texts, names,
messages) is shown without its control characters: it must not steer a terminal.
"""

import json as _json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

WIDEST = 100
"""Characters of one cell of a table on a terminal."""
_STEERING = (127, *range(128, 160), 0x2028, 0x2029, 0x202D, 0x202E)
"""Beside ASCII's: what moves a cursor, ends a line, or shows a text in another order than it has."""
_CONTROLS = dict.fromkeys((*range(32), *_STEERING), " ")
_CONTROLS_OF_LINES = {char: shown for char, shown in _CONTROLS.items() if chr(char) not in "\t\n"}
_IN_JSON = {char: f"\\u{char:04x}" for char in _STEERING}


class Out:
    """Where one command prints."""

    def __init__(self, *, json: bool = False) -> None:
        self.json = json
        self._console: Console | None = None

    @property
    def console(self) -> "Console":
        """A terminal to draw on. Colours only where there is one, and not with NO_COLOR."""
        if self._console is None:
            from rich.console import Console

            self._console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
        return self._console

    @property
    def terminal(self) -> bool:
        """Somebody looks."""
        return sys.stdout.isatty()

    def value(self, value: Any) -> None:
        """JSON, on one line."""
        if hasattr(value, "json_value"):
            value = value.json_value()
        text = _json.dumps(value, ensure_ascii=not speaks_unicode())
        sys.stdout.write(text.translate(_IN_JSON) + "\n")

    def line(self, text: str = "") -> None:
        """A line of text."""
        sys.stdout.write(_encodable(text.translate(_CONTROLS_OF_LINES)) + "\n")

    def note(self, text: str) -> None:
        """A line beside the result, for people; not with --json."""
        if not self.json:
            sys.stderr.write(text.translate(_CONTROLS) + "\n")

    def rows(self, columns: Sequence[str], rows: Iterable[Sequence[Any]], *, nothing: str = "") -> None:
        """A table on a terminal; elsewhere lines of cells between tabs, as they come."""
        if not self.terminal:
            rest = iter(rows)
            first = list(islice(rest, 1))  # what cannot be asked for prints no line of columns either
            self.line("\t".join(columns))
            for row in chain(first, rest):
                self.line("\t".join(cell(value) for value in row))
            return
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, header_style="bold")
        for number, column in enumerate(columns):
            table.add_column(column, no_wrap=number == 0)  # what comes first is copied to the next command: never cut
        for row in rows:
            cells = [_shortened(cell(value)) for value in row]
            table.add_row(cells[0], *(Text(one, no_wrap=True, overflow="ellipsis") for one in cells[1:]))
        if not table.row_count and nothing:
            self.note(nothing)
            return
        self.console.print(table, soft_wrap=False)

    def fields(self, pairs: Mapping[str, Any]) -> None:
        """Names and values, one to a line."""
        width = max((len(name) for name in pairs), default=0)
        for name, value in pairs.items():
            if self.terminal:
                self.line(f"{name:<{width}}  {cell(value)}")
            else:
                self.line(f"{name}\t{cell(value)}")


def progress(*, quiet: bool) -> "Progress":
    """A progress bar with rate and remaining time, on standard error, if that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    console = Console(stderr=True, highlight=False)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TextColumn("{task.fields[said]}"),
        TimeRemainingColumn(compact=True),
        TimeElapsedColumn(),
        console=console,
        disable=quiet or not console.is_terminal,
        transient=True,
    )


def clean(text: str) -> str:
    """A text on one line that cannot steer a terminal."""
    return " ".join(text.translate(_CONTROLS).split())


def cell(value: Any) -> str:
    """A value in a table."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.2f}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple, set, frozenset)):
        return ", ".join(cell(one) for one in value)
    return clean(str(value))


def counted(number: int, one: str, many: str = "") -> str:
    """How many there are of something: "1 task", "2 tasks". `many`: where that is not `one` and an s."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def moment(ms: int | None) -> str:
    """A time in milliseconds since 1970, as people in UTC write it."""
    if ms is None:
        return ""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _shortened(text: str) -> str:
    return text if len(text) <= WIDEST else text[: WIDEST - 1] + "…"


def speaks_unicode() -> bool:
    """Whether what is printed may hold any character."""
    return (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"


def _encodable(text: str) -> str:
    encoding = sys.stdout.encoding or "utf-8"
    return text.encode(encoding, "replace").decode(encoding)
