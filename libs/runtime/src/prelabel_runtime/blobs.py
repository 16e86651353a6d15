"""The blob store: what is too large for an event, kept under its content's hash until its task goes.

Promises, kept by every file system behind it (tests/unit/runtime/test_blobs.py):

- `put` returns once the blob is durable under its name; a blob that can be read is whole. Putting it again changes
  nothing but its age.
- `get` answers what was put, or raises: hash and size are checked each time it is read from the store.
- A task's blobs lie in one folder, <project>/<task uid>/<sha256>, and go with it. Two tasks never share a blob.
- The event loop never waits for a file or a network: everything runs in threads of the store's own.

Where: PRELABEL_BLOBS, as fsspec understands it. fsspec is imported here and nowhere else; the drivers of s3, gs and
abfs are packages of their own, and find their credentials themselves (environment, instance role).
"""

import asyncio
import contextlib
import hashlib
import os
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

import fsspec  # type: ignore[import-untyped]
import orjson
from fsspec.implementations.local import LocalFileSystem  # type: ignore[import-untyped]
from prelabel_contract import blobs as contract
from prelabel_contract.blobs import Blob, BlobRef
from prelabel_contract.errors import FieldError, InvalidEvent
from prelabel_contract.limits import MAX_BLOB_BYTES, MAX_DATA_BYTES
from prelabel_contract.tasks import json_size

from . import log
from .errors import Refused, Unavailable
from .metrics import Metrics

T = TypeVar("T")
_log = log.get("prelabel.blobs")

CACHE_BYTES = 64 * 1024 * 1024
THREADS = 8
ANSWER_SECONDS = 60.0
"""A store that takes longer counts as down."""
_PART = ".part"
_DRIVERS = {"file": "", "memory": "", "s3": "s3fs", "gs": "gcsfs", "abfs": "adlfs"}
"""The file systems we know, and the package that each needs."""


class BlobError(Exception):
    """A blob that cannot be had, though the store answers. `reason` is a word for machines."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Kept:
    """The folder of one task in the store."""

    project: str
    task: str


class Blobs:
    """A blob store on one file system. Raises `Unavailable` where that does not answer."""

    def __init__(
        self,
        url: str,
        *,
        metrics: Metrics | None = None,
        cache_bytes: int = CACHE_BYTES,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        """Opens nothing yet. Raises `Refused` for a place that we cannot use."""
        self._scheme = _scheme(url)
        self._url = url
        self._metrics = metrics or Metrics()
        self._cache = _Cache(cache_bytes)
        self._random_bytes = random_bytes
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="blobs")
        self._opened: tuple[Any, str] | None = None

    def stop(self) -> None:
        """Let go of the threads."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    # --------------------------------------------------------------------------------------------- values of events

    async def shed(
        self, project: str, task: str, data: Mapping[str, Any]
    ) -> tuple[Mapping[str, Any], dict[str, BlobRef]]:
        """A task's data as it fits into events, after what is too large was stored.

        Raises `InvalidEvent` for what is too large even so.
        """
        if json_size(data) <= MAX_DATA_BYTES:
            return data, {}
        try:
            rest, moved = await self._off_loop(contract.split, data)
        except ValueError as error:
            raise _too_large(f"data: {error}") from None
        for blob in moved.values():
            await self.put(project, task, blob)
        return rest, {name: blob.ref for name, blob in moved.items()}

    async def whole(
        self, project: str, task: str, data: Mapping[str, Any], refs: Mapping[str, BlobRef]
    ) -> dict[str, Any]:
        """A task's data with the fields that were stored. Raises `BlobError`."""
        if not refs:
            return dict(data)
        values = {name: await self.value(project, task, ref) for name, ref in refs.items()}
        return {name: values.get(name, value) for name, value in data.items()}

    async def value(self, project: str, task: str, ref: BlobRef) -> Any:
        """The JSON value behind a reference. Raises `BlobError`."""
        return await self._off_loop(orjson.loads, await self.get(project, task, ref))

    # -------------------------------------------------------------------------------------------------------- blobs

    async def put(self, project: str, task: str, blob: Blob) -> None:
        """Keep a blob. Raises `InvalidEvent` for one over MAX_BLOB_BYTES."""
        if len(blob.content) > MAX_BLOB_BYTES:
            raise _too_large(f"{len(blob.content)} bytes, the limit is {MAX_BLOB_BYTES}")
        path = f"{contract.folder(project, task)}/{blob.ref.sha256}"
        await self._at_store("put", self._put, path, blob.content)
        self._metrics.blob_bytes.labels("put").inc(len(blob.content))

    async def get(self, project: str, task: str, ref: BlobRef) -> bytes:
        """A blob, checked. Raises `BlobError`: it is not there (yet), or it is not what it should be."""
        path = f"{contract.folder(project, task)}/{ref.sha256}"
        if (known := self._cache.get(path)) is not None:
            return known
        try:
            content = await self._checked(path, ref)
        except BlobError as error:
            self._metrics.blob_failures.labels(error.reason).inc()
            raise
        self._metrics.blob_bytes.labels("get").inc(len(content))
        self._cache.put(path, content)
        return content

    async def _checked(self, path: str, ref: BlobRef) -> bytes:
        content = await self._at_store("get", self._get, path, ref.bytes + 1)
        if content is None:
            raise BlobError("missing", f"the blob store has no {path}")
        digest = await self._off_loop(lambda: hashlib.sha256(content).hexdigest())
        if len(content) != ref.bytes or digest != ref.sha256:
            raise BlobError("damaged", f"what the blob store has as {path} has another size or hash")
        return content

    async def delete_of_task(self, project: str, task: str) -> None:
        """Forget all blobs of a task; there may be none."""
        path = contract.folder(project, task)
        self._cache.forget(f"{path}/")
        await self._at_store("delete", self._delete, path)

    # ------------------------------------------------------------------------------------------------------ sweeping

    async def tasks_older_than(self, moment_ms: int) -> list[Kept]:
        """Tasks that have blobs, of which the newest was put before that moment (ms since 1970)."""
        return await self._at_store("list", lambda: list(self._older_than(moment_ms)), patience=3600.0)

    # -------------------------------------------------------------------------------------- in threads of our own

    def _open(self) -> tuple[Any, str]:
        if self._opened is None:
            more = {} if self._scheme in ("file", "memory") else {"use_listings_cache": False}
            files, root = fsspec.core.url_to_fs(self._url, skip_instance_cache=True, **more)
            self._opened = files, root.rstrip("/")
        return self._opened

    def _put(self, path: str, content: bytes) -> None:
        files, root = self._open()
        if not isinstance(files, LocalFileSystem):
            files.pipe_file(f"{root}/{path}", content)  # there all at once, or not at all
            return
        final = f"{root}/{path}"
        folder = os.path.dirname(final)
        os.makedirs(root, mode=0o700, exist_ok=True)
        os.makedirs(folder, exist_ok=True)
        part = f"{folder}/{self._random_bytes(8).hex()}{_PART}"
        try:
            with open(part, "xb", opener=_for_the_owner) as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, final)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(part)
            raise
        for above in (folder, os.path.dirname(folder), root):
            _sync_folder(above)

    def _get(self, path: str, most: int) -> bytes | None:
        files, root = self._open()
        try:
            return bytes(files.cat_file(f"{root}/{path}", start=0, end=most))
        except FileNotFoundError:
            return None
        except PermissionError:
            files.ls(root)  # raises where nothing may be read: then the store must be waited for, not this blob
            raise BlobError("forbidden", f"the blob store does not give {path}") from None
        except Exception:
            if files.info(f"{root}/{path}")["size"]:
                raise
            return b""  # S3 has no ranges of nothing, and says so by an error

    def _delete(self, path: str) -> None:
        files, root = self._open()
        with contextlib.suppress(FileNotFoundError):
            files.rm(f"{root}/{path}", recursive=True)

    def _older_than(self, moment_ms: int) -> Iterator[Kept]:
        files, root = self._open()
        for project in _folders(files, root):
            for task in _folders(files, project):
                moments = [_modified_ms(entry) for entry in _entries(files, task) if entry["type"] == "file"]
                if moments and max(moments) < moment_ms:
                    yield Kept(os.path.basename(project), os.path.basename(task))

    async def _at_store(
        self, operation: str, call: Callable[..., T], *arguments: Any, patience: float = ANSWER_SECONDS
    ) -> T:
        try:
            async with asyncio.timeout(patience):
                with self._metrics.blob_seconds.labels(operation).time():
                    return await self._off_loop(call, *arguments)
        except BlobError:
            raise
        except Exception as error:  # each driver has exceptions of its own: whatever they are, the store failed
            self._metrics.blob_failures.labels("unavailable").inc()
            _log.warning("the blob store failed", error=type(error).__name__)
            raise Unavailable("the blob store") from error

    async def _off_loop(self, call: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, call, *arguments)


class NoBlobs(Blobs):
    """No blob store: what does not fit into an event is refused, and the setting that would help is named."""

    def __init__(self) -> None:
        super().__init__("memory://none")

    async def put(self, project: str, task: str, blob: Blob) -> None:
        """Refused."""
        raise _too_large(
            f"data is more than {MAX_DATA_BYTES} bytes as JSON, the limit without a blob store: set PRELABEL_BLOBS"
        )

    async def get(self, project: str, task: str, ref: BlobRef) -> bytes:
        """Not there."""
        raise BlobError("missing", "there is no blob store: set PRELABEL_BLOBS to the one that the others use")

    async def delete_of_task(self, project: str, task: str) -> None:
        """There are none."""

    async def tasks_older_than(self, moment_ms: int) -> list[Kept]:
        """None."""
        return []


def open_blobs(url: str, metrics: Metrics | None = None) -> Blobs:
    """The blob store that a setting names; empty: none. Raises `Refused`."""
    return Blobs(url, metrics=metrics) if url else NoBlobs()


def _scheme(url: str) -> str:
    scheme = url.partition("://")[0] if "://" in url else "file"
    package = _DRIVERS.get(scheme)
    if package is None:
        known = ", ".join(f"{name}://" for name in _DRIVERS if name != "memory")
        raise Refused(f"PRELABEL_BLOBS begins with {scheme}://: use a folder, or one of {known}")
    try:
        fsspec.get_filesystem_class(scheme)
    except ImportError:
        raise Refused(
            f'PRELABEL_BLOBS is on {scheme}://, whose driver is not installed: pip install "prelabel-runtime[{scheme}]"'
            f" (or {package})"
        ) from None
    return scheme


def _too_large(detail: str) -> InvalidEvent:
    return InvalidEvent("too_large", detail, [FieldError(pointer="/data", detail=detail)])


def _for_the_owner(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _sync_folder(path: str) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _entries(files: Any, path: str) -> list[dict[str, Any]]:
    try:
        return list(files.ls(path, detail=True))
    except FileNotFoundError:
        return []


def _folders(files: Any, path: str) -> list[str]:
    return [entry["name"].rstrip("/") for entry in _entries(files, path) if entry["type"] == "directory"]


def _modified_ms(entry: Mapping[str, Any]) -> int:
    """When a file was written: each file system says it under another name, as seconds, a moment or a text."""
    said = next((entry[name] for name in _MODIFIED if entry.get(name)), None)
    if isinstance(said, str):
        said = datetime.fromisoformat(said)
    if isinstance(said, datetime):
        return int((said if said.tzinfo else said.replace(tzinfo=UTC)).timestamp() * 1000)
    return int(said * 1000) if said is not None else 2**53  # one of unknown age is never old


_MODIFIED = ("mtime", "LastModified", "last_modified", "updated", "created")


class _Cache:
    """The blobs that were read last, as many as fit."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._known: OrderedDict[str, bytes] = OrderedDict()

    def get(self, path: str) -> bytes | None:
        if path in self._known:
            self._known.move_to_end(path)
        return self._known.get(path)

    def put(self, path: str, content: bytes) -> None:
        if len(content) > self._limit:
            return
        self._size += len(content) - len(self._known.pop(path, b""))
        self._known[path] = content
        while self._size > self._limit:
            self._size -= len(self._known.popitem(last=False)[1])

    def forget(self, folder: str) -> None:
        for path in [path for path in self._known if path.startswith(folder)]:
            self._size -= len(self._known.pop(path))
