"""Files under one URL, on this machine or not: what the blob store and the model store stand on.

Promises (tests/unit/runtime/test_blobs.py, tests/unit/provider/test_models.py):

- What is written is durable and whole under its name, or has no name: a kill leaves at most a part, told by its name.
- Reading takes no more than it is told to.
- Links are told apart and never followed by `entries` and `walk`.

Everything here blocks; `off_loop` runs a call in threads of this file system's own. fsspec is imported here and nowhere
else; the drivers of s3, gs and abfs are packages of their own, and find their credentials themselves (environment,
instance role).
"""

import asyncio
import contextlib
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeVar

import fsspec  # type: ignore[import-untyped]
from fsspec.implementations.local import LocalFileSystem  # type: ignore[import-untyped]

from .errors import Refused

T = TypeVar("T")

THREADS = 8
CHUNK_BYTES = 8 << 20
"""Of a large file in memory at once."""
_PART = ".part"
_PART_NAME = re.compile(r"[0-9a-f]{16}\.part")
_DRIVERS = {"file": "", "memory": "", "s3": "s3fs", "gs": "gcsfs", "abfs": "adlfs"}
"""The file systems we know, and the package that each needs."""
_UNKNOWN_AGE = 2**53


class NotGiven(Exception):
    """The store answers, and does not let this path be read."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What lies in a folder."""

    name: str
    """Its path below the folder that was asked about, with slashes."""
    kind: Literal["file", "folder", "link", "other"]
    size: int
    """Bytes; 0 for what is no file."""
    modified_ms: int
    """When it was written, ms since 1970; far in the future where that is unknown: such a one is never old."""

    @property
    def part(self) -> bool:
        """Whether it is what a writer that was killed, or is at it, left of a file."""
        return _PART_NAME.fullmatch(self.name.rpartition("/")[2]) is not None


class Files:
    """One file system, below one root. Each driver raises exceptions of its own where it cannot be reached."""

    def __init__(self, url: str, *, setting: str, random_bytes: Callable[[int], bytes] = os.urandom) -> None:
        """Opens nothing yet. Raises `Refused` for a place that we cannot use, naming the setting it came from."""
        self._scheme = _scheme(url, setting)
        self._url = url
        self._random_bytes = random_bytes
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="files")
        self._opened: tuple[Any, str] | None = None

    def stop(self) -> None:
        """Let go of the threads."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def off_loop(self, call: Callable[..., T], *arguments: Any) -> T:
        """What a call answers that may block, from a thread of ours."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, call, *arguments)

    # ------------------------------------------------------------------------------------------------------- writing

    def write(self, path: str, content: bytes) -> None:
        """Keep these bytes under a path, there all at once or not at all. What was there is replaced."""
        files, root = self._open()
        if not isinstance(files, LocalFileSystem):
            files.pipe_file(f"{root}/{path}", content)
            return
        self._replace(root, path, lambda file: _fill(file, content))

    def upload(self, path: str, source: Path) -> None:
        """The same for a file of this machine, of any size."""
        files, root = self._open()
        if self._scheme == "memory":
            files.pipe_file(f"{root}/{path}", source.read_bytes())  # its put_file shows an empty file first
            return
        if not isinstance(files, LocalFileSystem):
            more = {"overwrite": True} if self._scheme == "abfs" else {}  # the others do so anyway
            files.put_file(str(source), f"{root}/{path}", **more)
            return
        with open(source, "rb") as content:
            self._replace(root, path, lambda file: shutil.copyfileobj(content, file, CHUNK_BYTES))

    def delete(self, path: str) -> None:
        """Forget a file, or a folder with all that lies in it; there may be none."""
        files, root = self._open()
        with contextlib.suppress(FileNotFoundError):
            files.rm(f"{root}/{path}", recursive=True)

    def _replace(self, root: str, path: str, fill: Callable[[BinaryIO], object]) -> None:
        final = f"{root}/{path}"
        folder = os.path.dirname(final)
        os.makedirs(root, mode=0o700, exist_ok=True)
        os.makedirs(folder, exist_ok=True)
        part = f"{folder}/{self._random_bytes(8).hex()}{_PART}"
        try:
            with open(part, "xb", opener=for_the_owner) as file:
                fill(file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, final)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(part)
            raise
        while len(folder) > len(root):
            sync_folder(folder)
            folder = os.path.dirname(folder)
        sync_folder(root)

    # ------------------------------------------------------------------------------------------------------- reading

    def read(self, path: str, most: int) -> bytes | None:
        """The first bytes of a file, `most` at most; None: there is no such file. Raises `NotGiven`."""
        files, root = self._open()
        try:
            return bytes(files.cat_file(f"{root}/{path}", start=0, end=most))
        except FileNotFoundError:
            return None
        except PermissionError:
            files.ls(root)  # raises where nothing may be read: then the store must be waited for, not this file
            raise NotGiven(path) from None
        except Exception:
            if files.info(f"{root}/{path}")["size"]:
                raise
            return b""  # S3 has no ranges of nothing, and says so by an error

    def chunks(self, path: str, most: int) -> Iterator[bytes]:
        """The first bytes of a large file, piece by piece. Raises `FileNotFoundError`, `NotGiven`."""
        files, root = self._open()
        try:
            end = min(most, files.info(f"{root}/{path}")["size"])
            for start in range(0, end, CHUNK_BYTES):  # ranges: what `open` gives, threads may share (memory://)
                yield bytes(files.cat_file(f"{root}/{path}", start=start, end=min(start + CHUNK_BYTES, end)))
        except PermissionError:
            files.ls(root)
            raise NotGiven(path) from None

    def entries(self, path: str = "") -> list[Entry]:
        """What lies in a folder, in no order; nothing where there is no folder."""
        files, root = self._open()
        folder = f"{root}/{path}".rstrip("/")
        try:
            listed = files.ls(folder, detail=True)
        except FileNotFoundError:
            return []
        told = [_entry(one, folder) for one in listed]
        return [entry for entry in told if entry.name]  # object stores may list the folder in itself

    def walk(self, path: str = "") -> Iterator[Entry]:
        """All that lies below a folder, at any depth, folders themselves left out; links are named, not followed."""
        waiting = [""]
        while waiting:
            below = waiting.pop()
            for entry in self.entries(f"{path}/{below}".strip("/")):
                name = f"{below}/{entry.name}".lstrip("/")
                if entry.kind == "folder":
                    waiting.append(name)
                else:
                    yield Entry(name, entry.kind, entry.size, entry.modified_ms)

    def _open(self) -> tuple[Any, str]:
        if self._opened is None:
            more = {} if self._scheme in ("file", "memory") else {"use_listings_cache": False}
            files, root = fsspec.core.url_to_fs(self._url, skip_instance_cache=True, **more)
            self._opened = files, root.rstrip("/")
        return self._opened


def for_the_owner(path: str, flags: int) -> int:
    """An opener of files that nobody else may read."""
    return os.open(path, flags, 0o600)


def sync_folder(path: str | Path) -> None:
    """Make the names in a folder of this machine durable."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _fill(file: BinaryIO, content: bytes) -> None:
    file.write(content)


def _scheme(url: str, setting: str) -> str:
    scheme = url.partition("://")[0] if "://" in url else "file"
    package = _DRIVERS.get(scheme)
    if package is None:
        known = ", ".join(f"{name}://" for name in _DRIVERS if name != "memory")
        raise Refused(f"{setting} begins with {scheme}://: use a folder, or one of {known}")
    try:
        fsspec.get_filesystem_class(scheme)
    except ImportError:
        raise Refused(
            f'{setting} is on {scheme}://, whose driver is not installed: pip install "prelabel-runtime[{scheme}]"'
            f" (or {package})"
        ) from None
    return scheme


def _entry(told: Mapping[str, Any], folder: str) -> Entry:
    name = told["name"].rstrip("/").removeprefix(folder).lstrip("/")
    return Entry(name, _kind(told), int(told.get("size") or 0), _modified_ms(told))


def _kind(told: Mapping[str, Any]) -> Literal["file", "folder", "link", "other"]:
    if told.get("islink"):
        return "link"
    return {"file": "file", "directory": "folder"}.get(told["type"], "other")  # type: ignore[return-value]


def _modified_ms(told: Mapping[str, Any]) -> int:
    """When a file was written: each file system says it under another name, as seconds, a moment or a text."""
    said = next((told[name] for name in _MODIFIED if told.get(name)), None)
    if isinstance(said, str):
        said = datetime.fromisoformat(said)
    if isinstance(said, datetime):
        return int((said if said.tzinfo else said.replace(tzinfo=UTC)).timestamp() * 1000)
    return int(said * 1000) if said is not None else _UNKNOWN_AGE


_MODIFIED = ("mtime", "LastModified", "last_modified", "updated", "created")
