"""The blob store: what is too large for an event, kept under its content's hash until its task goes.

Promises, kept by every file system behind it (tests/unit/runtime/test_blobs.py):

- `put` returns once the blob is durable under its name; a blob that can be read is whole. Putting it again changes
  nothing but its age.
- `get` answers what was put, or raises: hash and size are checked each time it is read from the store.
- A task's blobs lie in one folder, <project>/<task uid>/<sha256>, and go with it. Two tasks never share a blob.
- The event loop never waits for a file or a network: everything runs in threads of the store's own.

Where: PRELABEL_BLOBS, as `files` understands it.
"""

import asyncio
import hashlib
import os
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import orjson
from prelabel_contract import blobs as contract
from prelabel_contract.blobs import Blob, BlobRef
from prelabel_contract.errors import FieldError, InvalidEvent
from prelabel_contract.limits import MAX_BLOB_BYTES, MAX_DATA_BYTES
from prelabel_contract.tasks import json_size

from . import log
from .errors import Unavailable
from .files import Files, NotGiven
from .metrics import Metrics

T = TypeVar("T")
_log = log.get("prelabel.blobs")

CACHE_BYTES = 64 * 1024 * 1024
ANSWER_SECONDS = 60.0
"""A store that takes longer counts as down."""


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
        self._url = url
        self._files = Files(url, setting="PRELABEL_BLOBS", random_bytes=random_bytes)
        self._metrics = metrics or Metrics()
        self._cache = _Cache(cache_bytes)

    def stop(self) -> None:
        """Let go of the threads."""
        self._files.stop()

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

    def _put(self, path: str, content: bytes) -> None:
        self._files.write(path, content)

    def _get(self, path: str, most: int) -> bytes | None:
        try:
            return self._files.read(path, most)
        except NotGiven:
            raise BlobError("forbidden", f"the blob store does not give {path}") from None

    def _delete(self, path: str) -> None:
        self._files.delete(path)

    def _older_than(self, moment_ms: int) -> Iterator[Kept]:
        for project in self._folders(""):
            for task in self._folders(project):
                entries = self._files.entries(f"{project}/{task}")
                moments = [entry.modified_ms for entry in entries if entry.kind == "file"]
                if moments and max(moments) < moment_ms:
                    yield Kept(project, task)

    def _folders(self, path: str) -> list[str]:
        return [entry.name for entry in self._files.entries(path) if entry.kind == "folder"]

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
        return await self._files.off_loop(call, *arguments)


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


def _too_large(detail: str) -> InvalidEvent:
    return InvalidEvent("too_large", detail, [FieldError(pointer="/data", detail=detail)])


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
