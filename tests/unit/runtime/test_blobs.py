"""The promises of the blob store, on every file system that can be had here."""

import asyncio
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prelabel_contract.blobs import Blob, BlobRef, blob_of
from prelabel_contract.errors import InvalidEvent
from prelabel_contract.limits import MAX_BLOB_BYTES, MAX_DATA_BYTES
from prelabel_runtime.blobs import BlobError, Blobs, Kept, NoBlobs, open_blobs
from prelabel_runtime.errors import Refused, Unavailable
from prelabel_runtime.metrics import Metrics

FAR = 2**50
BLOB = blob_of("ein langer Text äöü 🎉 " * 1000)


class BlobTests:
    """One suite. A binding opens stores on the same place, and writes into that place behind their back."""

    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        raise NotImplementedError

    @pytest.fixture
    def damage(self, url: str) -> Callable[[str, bytes], None]:
        """Replace what is stored under a path (below the root)."""
        raise NotImplementedError

    @pytest.fixture
    def store(self, url: str) -> Iterator[Blobs]:
        store = Blobs(url)
        yield store
        store.stop()

    @pytest.fixture
    def other(self, url: str) -> Iterator[Blobs]:
        """Another process's store on the same place: it has nothing cached."""
        other = Blobs(url)
        yield other
        other.stop()

    async def test_what_was_put_is_read_by_everybody(self, store: Blobs, other: Blobs) -> None:
        await store.put("mails", "t1", BLOB)
        await store.put("mails", "t1", BLOB)
        assert await other.get("mails", "t1", BLOB.ref) == BLOB.content
        assert await store.value("mails", "t1", BLOB.ref) == "ein langer Text äöü 🎉 " * 1000

    async def test_what_is_not_there_is_missing(self, store: Blobs) -> None:
        await store.put("mails", "t1", BLOB)
        for project, task in (("mails", "t2"), ("others", "t1")):
            with pytest.raises(BlobError) as error:
                await store.get(project, task, BLOB.ref)
            assert error.value.reason == "missing"

    @pytest.mark.parametrize("how", ["changed", "cut", "longer", "empty"])
    async def test_what_is_not_what_it_should_be_is_damaged(
        self, store: Blobs, other: Blobs, damage: Callable[[str, bytes], None], how: str
    ) -> None:
        await store.put("mails", "t1", BLOB)
        content = BLOB.content
        wrong = {"changed": b"X" + content[1:], "cut": content[:-1], "longer": content + b"x" * 10_000, "empty": b""}
        damage(f"mails/t1/{BLOB.ref.sha256}", wrong[how])
        with pytest.raises(BlobError) as error:
            await other.get("mails", "t1", BLOB.ref)
        assert error.value.reason == "damaged"
        await other.put("mails", "t1", BLOB)
        assert await other.get("mails", "t1", BLOB.ref) == content

    async def test_a_tasks_blobs_go_with_it_and_no_others(self, store: Blobs) -> None:
        second = blob_of("second")
        for task in ("t1", "t11", "t2"):
            await store.put("mails", task, BLOB)
            await store.put("mails", task, second)
        await store.get("mails", "t1", BLOB.ref)
        await store.delete_of_task("mails", "t1")
        await store.delete_of_task("mails", "t1")
        for ref in (BLOB.ref, second.ref):
            with pytest.raises(BlobError):
                await store.get("mails", "t1", ref)
            assert await store.get("mails", "t11", ref)
            assert await store.get("mails", "t2", ref)

    async def test_old_ones_are_told_by_their_newest_blob(self, store: Blobs) -> None:
        assert await store.tasks_older_than(FAR) == []
        await store.put("mails", "t1", BLOB)
        await store.put("letters", "t2", BLOB)
        told = await store.tasks_older_than(FAR)
        assert sorted(told, key=lambda kept: kept.task) == [Kept("mails", "t1"), Kept("letters", "t2")]
        assert await store.tasks_older_than(1_000_000) == []

    async def test_data_comes_apart_and_together_again(self, store: Blobs, other: Blobs) -> None:
        data: dict[str, Any] = {"title": "t", "text": "é" * MAX_DATA_BYTES, "list": [1, {"b": None, "a": 2.5}]}
        fitting, refs = await store.shed("mails", "t1", data)
        assert dict(fitting) == {**data, "text": None}
        assert await other.whole("mails", "t1", fitting, refs) == data
        assert await store.shed("mails", "t1", data) == (fitting, refs)

    async def test_what_is_over_the_limit_is_refused(self, store: Blobs) -> None:
        with pytest.raises(InvalidEvent) as error:
            await store.put("mails", "t1", Blob(BLOB.ref, b"x" * (MAX_BLOB_BYTES + 1)))
        assert error.value.reason == "too_large"
        with pytest.raises(InvalidEvent, match="32 largest"):
            await store.shed("mails", "t1", {f"f{n}": "x" * 10_000 for n in range(60)})

    async def test_the_event_loop_goes_on_while_a_store_is_slow(self, store: Blobs) -> None:
        going_on = threading.Event()
        slow = asyncio.create_task(_Slow(store, going_on).put("mails", "t1", BLOB))
        await asyncio.sleep(0)
        going_on.set()  # were the loop waiting for the store, this would come too late
        async with asyncio.timeout(60):
            await slow


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


class _Slow(Blobs):
    """A store that answers when something has happened."""

    def __init__(self, store: Blobs, happened: threading.Event) -> None:
        super().__init__(store._url)
        self._happened = happened

    def _put(self, path: str, content: bytes) -> None:
        assert self._happened.wait(10)
        super()._put(path, content)


class TestFolder(BlobTests):
    """A folder."""

    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return str(tmp_path / "made" / "at once")

    @pytest.fixture
    def damage(self, url: str) -> Callable[[str, bytes], None]:
        def write(path: str, content: bytes) -> None:
            Path(url, path).write_bytes(content)

        return write

    async def test_nobody_else_may_read_it(self, store: Blobs, url: str) -> None:
        await store.put("mails", "t1", BLOB)
        assert os.stat(url).st_mode & 0o077 == 0
        assert os.stat(f"{url}/mails/t1/{BLOB.ref.sha256}").st_mode & 0o077 == 0

    async def test_what_was_not_written_to_its_end_has_no_name(
        self, store: Blobs, url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(number: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(Unavailable):
            await store.put("mails", "t1", BLOB)
        assert _files(Path(url)) == []

    async def test_a_store_that_cannot_be_reached_is_unavailable_not_empty(
        self, store: Blobs, url: str, tmp_path: Path
    ) -> None:
        Path(url).parent.write_bytes(b"a file where a folder should be")
        with pytest.raises(Unavailable):
            await store.get("mails", "t1", BLOB.ref)

    async def test_a_file_url_is_the_folder(self, store: Blobs, url: str) -> None:
        await store.put("mails", "t1", BLOB)
        assert await Blobs(f"file://{url}").get("mails", "t1", BLOB.ref) == BLOB.content


class TestMemory(BlobTests):
    """A file system without folders and renames, as object stores are."""

    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"memory://{tmp_path.name}/bucket"

    @pytest.fixture
    def damage(self, url: str) -> Callable[[str, bytes], None]:
        import fsspec  # type: ignore[import-untyped]

        files = fsspec.filesystem("memory")
        return lambda path, content: files.pipe_file(f"{url}/{path}", content)

    @pytest.mark.parametrize("all_of_it", [False, True])
    async def test_a_blob_that_is_not_given_fails_alone_but_a_store_that_is_closed_is_waited_for(
        self, store: Blobs, monkeypatch: pytest.MonkeyPatch, all_of_it: bool
    ) -> None:
        from fsspec.implementations.memory import MemoryFileSystem  # type: ignore[import-untyped]

        def refuse(*_: Any, **__: Any) -> None:
            raise PermissionError("403")

        await store.put("mails", "t1", BLOB)
        for name in ("cat_file", "ls") if all_of_it else ("cat_file",):
            monkeypatch.setattr(MemoryFileSystem, name, refuse)
        with pytest.raises(Unavailable if all_of_it else BlobError, match="the blob store"):
            await store.get("mails", "t1", BLOB.ref)


async def test_the_cache_holds_no_more_than_it_may(tmp_path: Path) -> None:
    small = [blob_of(f"{n}" * 400) for n in range(10)]
    store = Blobs(str(tmp_path), cache_bytes=1000)
    for blob in small:
        await store.put("mails", "t1", blob)
        await store.get("mails", "t1", blob.ref)
    for path in _files(tmp_path):
        path.unlink()
    kept = []
    for blob in small:
        try:
            kept.append(await store.get("mails", "t1", blob.ref))
        except BlobError:
            continue
    assert kept == [small[8].content, small[9].content]


async def test_what_is_put_and_what_cannot_be_had_is_counted(tmp_path: Path) -> None:
    metrics = Metrics()
    store = Blobs(str(tmp_path), metrics=metrics)
    await store.put("mails", "t1", BLOB)
    with pytest.raises(BlobError):
        await store.get("mails", "t2", BLOB.ref)
    told = metrics.expose().decode()
    assert f'prelabel_blob_bytes_total{{operation="put"}} {float(len(BLOB.content))}' in told
    assert 'prelabel_blob_failures_total{reason="missing"} 1.0' in told


async def test_without_a_store_the_setting_is_named() -> None:
    none = open_blobs("")
    assert isinstance(none, NoBlobs)
    assert await none.shed("mails", "t1", {"text": "short"}) == ({"text": "short"}, {})
    with pytest.raises(InvalidEvent, match="set PRELABEL_BLOBS"):
        await none.shed("mails", "t1", {"text": "x" * MAX_DATA_BYTES})
    with pytest.raises(BlobError, match="set PRELABEL_BLOBS"):
        await none.get("mails", "t1", BlobRef(sha256="0" * 64, bytes=1))
    await none.delete_of_task("mails", "t1")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://example.org/x", "use a folder, or one of file://, s3://, gs://, abfs://"),
        ("s3://bucket/path", 'pip install "prelabel-runtime\\[s3\\]" (or s3fs)'),
        ("gs://bucket", 'pip install "prelabel-runtime\\[gs\\]" (or gcsfs)'),
        ("abfs://box@account/x", 'pip install "prelabel-runtime\\[abfs\\]" (or adlfs)'),
    ],
)
def test_a_place_that_cannot_be_used_is_refused_in_one_line(
    url: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for driver in ("s3fs", "gcsfs", "adlfs"):
        monkeypatch.setitem(sys.modules, driver, None)  # also where somebody has installed one
    with pytest.raises(Refused) as refused:
        open_blobs(url)
    assert says.replace("\\", "") in str(refused.value)
    assert "\n" not in str(refused.value)
