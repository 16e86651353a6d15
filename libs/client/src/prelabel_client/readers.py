"""Files as tasks: JSONL, JSON, CSV, TXT, a folder, standard input. Constant memory; can be read again for a retry.

What is a line of JSON already is passed on as it is: the server says what is wrong with it, by its line's number. What
cannot be made a task here becomes an empty line, so that numbers stay what they are in the file, and is told by
`Source.refused`.
"""

import contextlib
import csv
import hashlib
import io
import json
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import IO, Any, Literal

from .errors import Refused

Format = Literal["jsonl", "json", "csv", "tsv", "txt", "folder"]
SUFFIXES: dict[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".txt": "txt",
    ".text": "txt",
    ".md": "txt",
}
PIECE_BYTES = 256 * 1024
MAX_TOLD = 100
"""Refused rows whose reasons are kept."""
_LONGEST_ITEM = 64 * 1024 * 1024
_NOTHING = b"\n"
_NO_SPACE = re.compile(r"[^ \t\r\n]")


@dataclass(frozen=True, slots=True)
class Reading:
    """How a file is read."""

    format: Format | None = None
    """By the file's suffix unless given."""
    field: str = "text"
    """The field of the data that a text becomes."""
    text_column: str | None = None
    """CSV: the column that becomes `field`."""
    id_column: str | None = None
    """CSV: the column that becomes the task's id."""
    delimiter: str | None = None
    """CSV: found in the header unless given."""
    whole: bool = False
    """TXT: the whole file is one task, instead of each line."""
    bare: bool = False
    """JSON: each object is the data itself, {"text": …} instead of {"data": {"text": …}}."""
    encoding: str = "utf-8-sig"


@dataclass(slots=True)
class Source:
    """Tasks of a file or a folder; each iteration begins at the start."""

    name: str
    reading: Reading
    format: Format
    size: int | None
    """Bytes in all."""
    _open: Callable[[], IO[bytes]]
    _folder: Path | None = None
    rows: int = 0
    """Rows read so far."""
    refused_rows: int = 0
    refused: list[tuple[int, str]] = field(default_factory=list)
    """The first rows that could not be made a task, with why."""
    _at: Callable[[], int] = lambda: 0

    @property
    def position(self) -> int:
        """Bytes read so far."""
        return self._at()

    def __iter__(self) -> Iterator[bytes]:
        self.rows, self.refused_rows = 0, 0
        self.refused.clear()
        if self._folder is not None:
            yield from _files(self, self._folder)
            return
        with self._open() as file, _refusals(self):
            self._at = _teller(file)
            try:
                yield from _READERS[self.format](self, file)
            finally:
                end = self.position
                self._at = lambda: end

    def key(self) -> str:
        """An Idempotency-Key of the content and of how it is read: the same file again adds nothing."""
        digest = hashlib.sha256(repr((self.format, self.reading)).encode())
        if self._folder is not None:
            for name, path in _listed(self._folder):
                digest.update(f"{name}\0{path.stat().st_size}\0".encode())
                digest.update(path.read_bytes())
        else:
            with self._open() as file:
                while piece := file.read(PIECE_BYTES):
                    digest.update(piece)
        return f"file-{digest.hexdigest()[:40]}"

    def check(self) -> None:
        """Read it before anything is handed in, to its end where it may break off. Raises `Refused`, also if empty:
        a run that was opened for it would wait for the rest.
        """
        found = False
        for line in self:
            found = found or bool(line.strip())
            if found and self.format in ("jsonl", "folder"):  # each line, each file stands for itself
                return
        if found:
            return
        why = "".join(f": line {row}: {why}" for row, why in self.refused[:1])
        raise Refused(f"{self.name} holds no tasks{why}")

    def columns(self) -> Sequence[str] | None:
        """The names in a CSV's header; None for what is no CSV."""
        if self.format not in ("csv", "tsv"):
            return None
        with self._open() as file, _refusals(self), _text(self, file) as text:
            return _header(self, _rows(self, text))

    def refuse(self, why: str) -> bytes:
        """The row that is read now is none."""
        self.refused_rows += 1
        if len(self.refused) < MAX_TOLD:
            self.refused.append((self.rows, why))
        return _NOTHING


def source(name: str, reading: Reading, *, stdin: IO[bytes] | None = None) -> Source:
    """A file, a folder, or "-" for standard input. Raises `Refused`."""
    if name == "-":
        return _standard_input(reading, stdin or sys.stdin.buffer)
    path = Path(name)
    if path.is_dir():
        return Source(name, reading, "folder", None, io.BytesIO, _folder=path)
    kind = reading.format or SUFFIXES.get(path.suffix.lower())
    if kind is None:
        raise Refused(
            f"{name}: what is a {path.suffix or 'file without a suffix'}? Say --format jsonl, json, csv or txt"
        )
    if kind == "folder":
        raise Refused(f"{name} is no folder")
    try:
        size = path.stat().st_size
        with path.open("rb"):
            pass
    except OSError as error:
        raise Refused(f"{name} cannot be read: {error.strerror}") from None
    return Source(name, reading, kind, size, lambda: path.open("rb"))


def _standard_input(reading: Reading, stdin: IO[bytes]) -> Source:
    """Kept in a temporary file: it must be hashed before it is sent, and sent again after a lost connection."""
    kept = tempfile.SpooledTemporaryFile(8 * PIECE_BYTES)  # noqa: SIM115 - lives as long as the source
    while piece := stdin.read(PIECE_BYTES):
        kept.write(piece)
    size = kept.tell()
    kept.seek(0)
    kind = reading.format or _guessed(kept.read(4096))

    @contextlib.contextmanager
    def from_start() -> Iterator[Any]:
        kept.seek(0)
        yield kept

    return Source("standard input", reading, kind, size, from_start)  # type: ignore[arg-type]


def _guessed(start: bytes) -> Format:
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith(b"{"):
        return "jsonl"
    return "json" if text.startswith((b"[{", b'["')) or text == b"[]" else "txt"


def _teller(file: IO[bytes]) -> Callable[[], int]:
    raw = getattr(file, "raw", None)
    return file.tell if raw is None else raw.tell


@contextlib.contextmanager
def _refusals(of: Source) -> Iterator[None]:
    encoding = of.reading.encoding
    try:
        yield
    except UnicodeDecodeError:
        raise Refused(
            f"{of.name} is no text in {encoding.removesuffix('-sig')}: say --encoding, such as cp1252"
        ) from None
    except LookupError:
        raise Refused(f"there is no encoding {encoding!r}") from None
    except csv.Error as error:
        raise Refused(f"{of.name}, after row {of.rows}: {error}") from None
    except OSError as error:
        raise Refused(f"{of.name} cannot be read: {error.strerror}") from None


@contextlib.contextmanager
def _text(of: Source, file: IO[bytes]) -> Iterator[io.TextIOWrapper]:
    text = io.TextIOWrapper(file, encoding=of.reading.encoding, newline="")
    try:
        yield text
    finally:
        text.detach()  # else it would close the file with itself


# -------------------------------------------------------------------------------------------------------- by format


def _jsonl(of: Source, file: IO[bytes]) -> Iterator[bytes]:
    for line in file:
        of.rows += 1
        yield _task(of, line if of.rows > 1 else line.removeprefix(b"\xef\xbb\xbf"))


def _json(of: Source, file: IO[bytes]) -> Iterator[bytes]:
    with _text(of, file) as text:
        items = _Items(of, text)
        match items.peek():
            case "[":
                yield from items
            case "{":
                yield items.single()
            case _:
                raise Refused(f"{of.name} holds neither an array nor an object: is it JSON?")


class _Items:
    """The items of an array one by one, as they are written: numbers keep their digits."""

    def __init__(self, of: Source, text: IO[str]) -> None:
        self._of = of
        self._text = text
        self._decoder = json.JSONDecoder()
        self._read = ""
        self._at = 0

    def peek(self) -> str:
        """The next character that is no space; "" at the end."""
        while True:
            found = _NO_SPACE.search(self._read, self._at)
            if found is not None:
                self._at = found.start()
                return found.group()
            self._at = len(self._read)
            if not self._more():
                return ""

    def single(self) -> bytes:
        """The file holds one object."""
        item = self._item()
        if self.peek():
            raise Refused(f"{self._of.name} goes on after its object: say --format jsonl if it has one on each line")
        return item

    def __iter__(self) -> Iterator[bytes]:
        self._at += 1
        if self.peek() == "]":
            return
        while True:
            yield self._item()
            after = self.peek()
            self._at += 1
            if after == "]":
                return
            if after != ",":
                where = f"after item {self._of.rows}"
                raise Refused(f"{self._of.name}: {where} there is neither a comma nor the end of the array")
            self.peek()

    def _item(self) -> bytes:
        while True:
            try:
                value, end = self._decoder.raw_decode(self._read, self._at)
            except (ValueError, RecursionError) as error:
                wrong = f"{self._of.name}: item {self._of.rows + 1} is no JSON: {error}"
                if len(self._read) - self._at > _LONGEST_ITEM or not self._more():
                    raise Refused(wrong) from None
                continue
            # What ends where reading has ended may go on: 12 of 123.
            if end < len(self._read) or not self._more():
                written, self._at = self._read[self._at : end], end
                self._of.rows += 1
                return _written(self._of, value, written)

    def _more(self) -> bool:
        """Read on, as much again as there is: a long item is not looked at from its start too often."""
        piece = self._text.read(max(PIECE_BYTES, len(self._read) - self._at))
        self._read, self._at = self._read[self._at :] + piece, 0
        return bool(piece)


def _written(of: Source, value: Any, written: str) -> bytes:
    if isinstance(value, str):
        return _line({"data": {of.reading.field: value}})
    # No string of JSON holds a bare line break, so these stand between values.
    line = written.replace("\r", " ").replace("\n", " ").encode("utf-8", "surrogatepass")
    return _task(of, line)


def _task(of: Source, line: bytes) -> bytes:
    line = line.strip()
    return b'{"data":' + line + b"}\n" if of.reading.bare and line else line + b"\n"


def _csv(of: Source, file: IO[bytes]) -> Iterator[bytes]:
    with _text(of, file) as text:
        rows = _rows(of, text)
        header = _header(of, rows)
        names, id_at = _named(of, header)
        for row in rows:
            if not row:
                continue
            of.rows += 1
            if len(row) != len(header):
                yield of.refuse(f"it has {len(row)} columns, the header has {len(header)}")
                continue
            data = {name: cell for at, (name, cell) in enumerate(zip(names, row, strict=True)) if at != id_at}
            yield _line({"data": data} if id_at is None else {"id": row[id_at], "data": data})


def _rows(of: Source, text: IO[str]) -> Iterator[list[str]]:
    csv.field_size_limit(_LONGEST_ITEM)  # the server judges sizes, and says what they are
    first = text.readline()
    delimiter = of.reading.delimiter or ("\t" if of.format == "tsv" else _delimiter(first))
    return csv.reader(chain([first], text), delimiter=delimiter, strict=True)


def _named(of: Source, header: Sequence[str]) -> tuple[list[str], int | None]:
    """The field that each column becomes, and the place of the ids."""
    reading = of.reading
    for wanted in (reading.text_column, reading.id_column):
        if wanted is not None and wanted not in header:
            raise Refused(f"{of.name} has no column {wanted!r}; columns are {', '.join(header)}")
    names = [reading.field if name == reading.text_column else name for name in header]
    return names, header.index(reading.id_column) if reading.id_column is not None else None


def _delimiter(header: str) -> str:
    return max((",", ";", "\t"), key=header.count)


def _header(of: Source, rows: Iterator[list[str]]) -> list[str]:
    header = next(rows, [])
    if not header or not all(name.strip() for name in header):
        raise Refused(f"{of.name}: the first line must name the columns")
    if len(set(header)) < len(header):
        raise Refused(f"{of.name}: two columns have the same name")
    return header


def _txt(of: Source, file: IO[bytes]) -> Iterator[bytes]:
    with _text(of, file) as text:
        if of.reading.whole:
            of.rows += 1
            yield _line({"data": {of.reading.field: text.read()}})
            return
        for line in text:
            of.rows += 1
            bare = line.rstrip("\r\n")
            yield _line({"data": {of.reading.field: bare}}) if bare.strip() else _NOTHING


def _files(of: Source, folder: Path) -> Iterator[bytes]:
    for name, path in _listed(folder):
        of.rows += 1
        try:
            text = path.read_text(encoding=of.reading.encoding)
        except (UnicodeDecodeError, LookupError):
            yield of.refuse(f"{name} is no text in {of.reading.encoding.removesuffix('-sig')}")
        except OSError as error:
            yield of.refuse(f"{name} cannot be read: {error.strerror}")
        else:
            # Its name is its id: a file that has changed is a new revision of its task.
            named = {"id": name} if len(name) <= 200 else {}
            yield _line({**named, "data": {of.reading.field: text}, "meta": {"file": name[:1000]}})


def _listed(folder: Path) -> list[tuple[str, Path]]:
    """Files of a folder and the folders in it, in order; hidden ones are left out."""
    found = ((path.relative_to(folder), path) for path in folder.rglob("*") if path.is_file())
    return sorted((name.as_posix(), path) for name, path in found if not any(p.startswith(".") for p in name.parts))


_READERS: dict[Format, Callable[[Source, IO[bytes]], Iterator[bytes]]] = {
    "jsonl": _jsonl,
    "json": _json,
    "csv": _csv,
    "tsv": _csv,
    "txt": _txt,
}


def _line(task: dict[str, Any]) -> bytes:
    return json.dumps(task, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass") + b"\n"
