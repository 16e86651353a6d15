"""The promises of the model store, on every file system that can be had here."""

import asyncio
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prelabel_contract import names
from prelabel_provider.models.manifest import MANIFEST, ArtifactRefused, Limits, Rules
from prelabel_provider.models.store import Line, Models, Origin, kept
from prelabel_runtime.errors import Refused, Unavailable
from prelabel_runtime.files import CHUNK_BYTES, Files

FAR = 2**50
RULES = Rules("spacy", frozenset({".json", ".cfg", ".npy", ".zip", "model"}))
ORIGIN = Origin(seed=7, fingerprint="f" * 64, libraries={"spacy": "3.8.7"})
CONTENTS = {"meta.json": b'{"lang": "de"}', "ner/model": bytes(range(7, 250)) * 9000, "ner/cfg.json": b""}


def folder_of(path: Path, contents: dict[str, bytes] = CONTENTS) -> Path:
    for name, content in contents.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


class Place:
    """The store behind its back."""

    def __init__(self, url: str) -> None:
        self._files = Files(url, setting="PRELABEL_MODELS")

    def write(self, path: str, content: bytes) -> None:
        self._files.write(path, content)

    def read(self, path: str) -> bytes:
        return self._files.read(path, 1 << 30) or b""

    def delete(self, path: str) -> None:
        self._files.delete(path)

    def names(self) -> set[str]:
        return {entry.name for entry in self._files.walk()}

    def forge(self, **changes: Any) -> str:
        """Publish a manifest that nobody would write: its name is right, what it says is not."""
        said: dict[str, Any] = {"format": 1, "provider": "spacy", "libraries": {}, "seed": 1, "fingerprint": "f"} | {
            "files": {"meta.json": entry(b"{}")}
        }
        return self.forge_raw(names.canonical(said | changes))

    def forge_raw(self, content: bytes) -> str:
        artifact = hashlib.sha256(content).hexdigest()
        self.write(f"{artifact}/{MANIFEST}", content)
        self.write(f"{artifact}/meta.json", b"{}")
        return artifact


def entry(content: bytes) -> dict[str, Any]:
    return {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}


class ModelTests:
    """One suite. A binding says where."""

    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        raise NotImplementedError

    @pytest.fixture
    def place(self, url: str) -> Place:
        return Place(url)

    @pytest.fixture
    def store(self, url: str, tmp_path: Path) -> Iterator[Models]:
        store = Models(url, tmp_path / "cache")
        yield store
        store.stop()

    @pytest.fixture
    def other(self, url: str, tmp_path: Path) -> Iterator[Models]:
        """Another machine's store on the same place."""
        other = Models(url, tmp_path / "elsewhere" / "cache")
        yield other
        other.stop()

    @pytest.fixture
    def made(self, tmp_path: Path) -> Path:
        return folder_of(tmp_path / "made")

    async def test_what_was_published_is_fetched_byte_for_byte(self, store: Models, other: Models, made: Path) -> None:
        artifact = await store.publish(made, CONTENTS, ORIGIN, RULES)
        folder = await other.fetch(artifact, RULES)
        assert {name: (folder / name).read_bytes() for name in CONTENTS} == CONTENTS
        assert {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()} == set(CONTENTS)
        manifest = await other.manifest(artifact)
        assert (manifest.seed, manifest.fingerprint, manifest.libraries) == (7, "f" * 64, {"spacy": "3.8.7"})

    async def test_an_artifact_is_named_by_its_manifest_and_equal_content_has_one_name(
        self, store: Models, other: Models, made: Path, place: Place
    ) -> None:
        artifact = await store.publish(made, CONTENTS, ORIGIN, RULES)
        assert hashlib.sha256(place.read(f"{artifact}/{MANIFEST}")).hexdigest() == artifact
        assert await other.publish(made, reversed(list(CONTENTS)), ORIGIN, RULES) == artifact
        assert await store.publish(made, CONTENTS, Origin(8, "f" * 64), RULES) != artifact

    @pytest.mark.parametrize("more", [0, 1])
    async def test_a_file_of_several_pieces_arrives_whole(self, store: Models, tmp_path: Path, more: int) -> None:
        content = bytes(range(8)) * (CHUNK_BYTES // 8) + b"x" * more
        artifact = await store.publish(folder_of(tmp_path / "made", {"model": content}), ["model"], ORIGIN, RULES)
        assert (await store.fetch(artifact, RULES) / "model").read_bytes() == content

    async def test_two_writers_of_one_artifact_both_succeed(self, store: Models, other: Models, made: Path) -> None:
        writers = [one.publish(made, CONTENTS, ORIGIN, RULES) for one in (store, other) * 4]
        (artifact,) = set(await asyncio.gather(*writers))
        assert await store.published() == [artifact]
        await store.fetch(artifact, RULES)

    async def test_fetches_at_the_same_moment_get_one_folder(self, store: Models, made: Path) -> None:
        artifact = await store.publish(made, CONTENTS, ORIGIN, RULES)
        (folder,) = set(await asyncio.gather(*(store.fetch(artifact, RULES) for _ in range(6))))
        assert [path.name for path in folder.parent.parent.iterdir()] == [artifact]  # and nobody left a part

    @pytest.mark.parametrize("name", sorted(CONTENTS))
    async def test_a_flipped_bit_is_damage(self, store: Models, made: Path, place: Place, name: str) -> None:
        contents = CONTENTS | {"ner/cfg.json": b"[]"}
        artifact = await store.publish(folder_of(made, contents), contents, ORIGIN, RULES)
        middle = len(contents[name]) // 2
        flipped = bytearray(contents[name])
        flipped[middle] ^= 1
        place.write(f"{artifact}/{name}", bytes(flipped))
        await refused("damaged", store.fetch(artifact, RULES))

    @pytest.mark.parametrize("content", [b"", b"{", CONTENTS["meta.json"] + b" " * 100_000])
    async def test_a_file_of_another_size_is_refused(
        self, store: Models, made: Path, place: Place, content: bytes
    ) -> None:
        artifact = await store.publish(made, CONTENTS, ORIGIN, RULES)
        place.write(f"{artifact}/meta.json", content)
        await refused("size", store.fetch(artifact, RULES))

    async def test_a_missing_file_is_refused(self, store: Models, made: Path, place: Place) -> None:
        artifact = await store.publish(made, CONTENTS, ORIGIN, RULES)
        place.delete(f"{artifact}/ner/model")
        await refused("missing_file", store.fetch(artifact, RULES))

    @pytest.mark.parametrize("name", ["hooks.py", "ner/more.json", ".hidden/x.json"])
    async def test_a_file_that_the_manifest_does_not_know_is_refused(
        self, store: Models, made: Path, place: Place, name: str
    ) -> None:
        artifact = await store.publish(made, CONTENTS, ORIGIN, RULES)
        place.write(f"{artifact}/{name}", b"{}")
        await refused("unknown_file", store.fetch(artifact, RULES))

    async def test_publishing_again_mends_what_was_damaged(self, store: Models, made: Path, place: Place) -> None:
        artifact = await store.publish(made, CONTENTS, ORIGIN, RULES)
        place.write(f"{artifact}/meta.json", b"{}")
        place.write(f"{artifact}/{MANIFEST}", b"{}")
        await refused("manifest", store.fetch(artifact, RULES))
        assert await store.publish(made, CONTENTS, ORIGIN, RULES) == artifact
        await store.fetch(artifact, RULES)

    async def test_nothing_of_a_refused_artifact_stays_on_this_machine(
        self, store: Models, made: Path, place: Place, tmp_path: Path
    ) -> None:
        artifact = await store.publish(made, CONTENTS, ORIGIN, RULES)
        place.write(f"{artifact}/meta.json", b'{"lang": "fr"}')
        await refused("damaged", store.fetch(artifact, RULES))
        assert list((tmp_path / "cache").iterdir()) == []

    async def test_what_is_on_this_machine_is_looked_at_again_and_mended(self, store: Models, made: Path) -> None:
        artifact = await store.publish(made, CONTENTS, ORIGIN, RULES)
        folder = await store.fetch(artifact, RULES)
        (folder / "meta.json").write_bytes(b'{"lang": "fr"}')
        (folder / "hooks.py").write_bytes(b"print()")
        assert await store.fetch(artifact, RULES) == folder
        assert (folder / "meta.json").read_bytes() == CONTENTS["meta.json"]
        assert not (folder / "hooks.py").exists()

    async def test_what_is_on_this_machine_needs_no_store(self, store: Models, made: Path, place: Place) -> None:
        artifact = await store.publish(made, CONTENTS, ORIGIN, RULES)
        folder = await store.fetch(artifact, RULES)
        place.delete(artifact)
        assert await store.fetch(artifact, RULES) == folder

    @pytest.mark.parametrize("name", ["", "..", "a" * 63, "A" * 64, "../" + "a" * 61, "a" * 64 + "\n", "/" + "a" * 63])
    async def test_what_is_no_artifacts_name_leads_nowhere(self, store: Models, name: str) -> None:
        await refused("name", store.fetch(name, RULES))
        await refused("name", store.manifest(name))

    async def test_what_is_not_there_is_missing(self, store: Models) -> None:
        await refused("missing", store.fetch("a" * 64, RULES))
        assert await store.published() == []

    @pytest.mark.parametrize(
        "name",
        [
            "../evil.json", "a/../../evil.json", "/etc/evil.json", "C:/evil.json", "a\\..\\evil.json", "./meta.json",
            "a//meta.json", ".hidden.json", "meta.json\n", "a\x00.json", "x/" * 9 + "meta.json", "Manifest.json",
            "é.json", "x" * 121 + ".json", "",
        ],
    )  # fmt: skip
    async def test_names_that_lead_elsewhere_are_refused_before_anything_is_read(
        self, store: Models, place: Place, tmp_path: Path, name: str
    ) -> None:
        artifact = place.forge(files={name: entry(b"{}")})
        await refused("name", store.fetch(artifact, RULES))
        assert not (tmp_path / "cache").exists()

    @pytest.mark.parametrize("pair", [("a.json", "A.json"), ("a.json", "a.json/b.json"), ("A.json", "a.json/b.json")])
    async def test_two_names_that_some_file_system_takes_for_one_are_refused(
        self, store: Models, place: Place, pair: tuple[str, str]
    ) -> None:
        await refused("name", store.fetch(place.forge(files={name: entry(b"{}") for name in pair}), RULES))

    @pytest.mark.parametrize(
        ("reason", "changes"),
        [
            ("provider", {"provider": "sklearn"}),
            ("suffix", {"files": {"hooks.py": entry(b"{}")}}),
            ("suffix", {"files": {"model.json.py": entry(b"{}")}}),
            ("suffix", {"files": {"tokenizer": entry(b"{}")}}),
            ("format", {"format": 2}),
            ("manifest", {"run": "sh"}),
            ("manifest", {"files": {}}),
            ("manifest", {"files": {"meta.json": entry(b"{}") | {"bytes": -1}}}),
            ("manifest", {"files": {"meta.json": entry(b"{}") | {"bytes": "2"}}}),
            ("manifest", {"files": {"meta.json": {"sha256": "0" * 64 + "\n", "bytes": 2}}}),
            ("manifest", {"seed": "1"}),
        ],
    )
    async def test_a_manifest_that_says_what_is_not_allowed_is_refused(
        self, store: Models, place: Place, reason: str, changes: dict[str, Any]
    ) -> None:
        await refused(reason, store.fetch(place.forge(**changes), RULES))

    @pytest.mark.parametrize("content", [b"", b"[]", b"{" * 100_000, b'{"format": 1, "format": 1}'])
    async def test_a_manifest_that_cannot_be_read_is_refused(self, store: Models, place: Place, content: bytes) -> None:
        await refused({"manifest", "format"}, store.fetch(place.forge_raw(content), RULES))

    async def test_a_manifest_in_another_form_is_another_artifact_and_refused(
        self, store: Models, made: Path, place: Place
    ) -> None:
        artifact = await store.publish(made, CONTENTS, ORIGIN, RULES)
        said = json.loads(place.read(f"{artifact}/{MANIFEST}"))
        await refused("manifest", store.fetch(place.forge_raw(json.dumps(said, indent=1).encode()), RULES))

    @pytest.mark.parametrize(
        ("reason", "limits"),
        [
            ("too_many", Limits(files=2)),
            ("too_large", Limits(file_bytes=1000)),
            ("too_large", Limits(bytes=len(CONTENTS["ner/model"]))),
        ],
    )
    async def test_what_is_over_the_limits_is_neither_published_nor_fetched(
        self, store: Models, made: Path, place: Place, reason: str, limits: Limits
    ) -> None:
        narrow = Rules("spacy", RULES.allowed, limits)
        await refused(reason, store.publish(made, CONTENTS, ORIGIN, narrow))
        assert place.names() == set()
        await refused(reason, store.fetch(await store.publish(made, CONTENTS, ORIGIN, RULES), narrow))

    async def test_a_pickle_under_an_innocent_name_is_neither_published_nor_fetched(
        self, store: Models, tmp_path: Path, place: Place
    ) -> None:
        pickled = b"\x80\x04\x95\x1d\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94"
        made = folder_of(tmp_path / "made", {"meta.json": pickled})
        await refused("pickle", store.publish(made, ["meta.json"], ORIGIN, RULES))
        assert place.names() == set()
        artifact = place.forge(files={"meta.json": entry(pickled)})
        place.write(f"{artifact}/meta.json", pickled)
        await refused("pickle", store.fetch(artifact, RULES))

    @pytest.mark.parametrize(
        ("reason", "declared"),
        [("unknown_file", ["meta.json", "ner/model"]), ("missing_file", [*CONTENTS, "more.json"])],
    )
    async def test_a_trainer_that_wrote_something_else_than_it_says_publishes_nothing(
        self, store: Models, made: Path, place: Place, reason: str, declared: list[str]
    ) -> None:
        await refused(reason, store.publish(made, declared, ORIGIN, RULES))
        assert place.names() == set()

    @pytest.mark.parametrize("how", ["file", "folder", "hard"])
    async def test_a_link_is_not_published(self, store: Models, made: Path, place: Place, how: str) -> None:
        outside = folder_of(made.parent / "outside", {"secret.json": b"{}"})
        if how == "file":
            (made / "more.json").symlink_to(outside / "secret.json")
        elif how == "folder":
            (made / "more").symlink_to(outside, target_is_directory=True)
        else:
            os.link(outside / "secret.json", made / "more.json")
        declared = [*CONTENTS, "more/secret.json" if how == "folder" else "more.json"]
        await refused("link", store.publish(made, declared, ORIGIN, RULES))
        assert place.names() == set()

    async def test_over_the_quota_nothing_is_written_and_what_to_do_is_said(
        self, url: str, store: Models, made: Path, place: Place, tmp_path: Path
    ) -> None:
        artifact = await store.publish(made, CONTENTS, ORIGIN, RULES)
        used = await store.used()
        full = Models(url, tmp_path / "cache", quota=used + 1000)
        before = place.names()
        error = await refused("quota", full.publish(made, CONTENTS, Origin(8, "e" * 64), RULES))
        assert "PRELABEL_MODELS_QUOTA" in error.detail
        assert "PRELABEL_MODELS_KEEP" in error.detail
        assert place.names() == before
        assert await full.publish(made, CONTENTS, ORIGIN, RULES) == artifact  # it is here: it needs no room
        assert await full.retain({"a" * 64}, FAR) == [artifact]
        assert await full.publish(made, CONTENTS, Origin(8, "e" * 64), RULES)
        full.stop()

    async def test_retention_removes_what_it_is_not_told_to_keep(
        self, store: Models, other: Models, made: Path, place: Place
    ) -> None:
        first, second, third = [await store.publish(made, CONTENTS, Origin(n, "f"), RULES) for n in range(3)]
        place.write("b" * 64 + "/meta.json", b"left by a kill")
        place.write("notes.txt", b"somebody's")
        place.write("somebodys/notes.txt", b"somebody's")
        assert await store.retain({second}, 1_000_000) == []  # nothing is as old as that
        assert await store.retain({second}, FAR) == sorted([first, third, "b" * 64])
        assert await store.published() == [second]
        await other.fetch(second, RULES)
        await refused("missing", other.fetch(first, RULES))
        assert {"notes.txt", "somebodys/notes.txt"} < place.names()

    async def test_a_registry_that_forgot_costs_no_models(self, store: Models, made: Path) -> None:
        artifact = await store.publish(made, CONTENTS, ORIGIN, RULES)
        await store.fetch(artifact, RULES)
        assert await store.retain([], FAR) == []
        assert await store.forget([], FAR) == []
        assert await store.published() == [artifact]

    async def test_folders_on_this_machine_go_when_told_and_come_again(self, store: Models, made: Path) -> None:
        first, second = [await store.publish(made, CONTENTS, Origin(n, "f"), RULES) for n in range(2)]
        folders = [await store.fetch(one, RULES) for one in (first, second)]
        assert await store.forget({second}, 1_000_000) == []
        assert await store.forget({second}, FAR) == [first]
        assert [folder.exists() for folder in folders] == [False, True]
        assert await store.fetch(first, RULES) == folders[0]

    async def test_what_is_fetched_again_or_in_use_on_this_machine_is_young(self, store: Models, made: Path) -> None:
        names = [await store.publish(made, CONTENTS, Origin(n, "f"), RULES) for n in range(4)]
        kept, fetched, used, idle = names
        for one in names:
            os.utime((await store.fetch(one, RULES)).parent, (1, 1))
        await store.fetch(fetched, RULES)
        await store.renew({used, "b" * 64})
        assert await store.forget({kept}, 1_000_000_000) == [idle]

    async def test_the_event_loop_goes_on_while_a_store_is_slow(self, url: str, made: Path, tmp_path: Path) -> None:
        going_on = threading.Event()
        store = _Waiting(url, tmp_path / "cache", going_on)
        slow = asyncio.create_task(store.publish(made, CONTENTS, ORIGIN, RULES))
        await asyncio.sleep(0)
        going_on.set()  # were the loop waiting for the store, this would come too late
        async with asyncio.timeout(60):
            await slow
        store.stop()


class _Waiting(Models):
    """A store that answers when something has happened."""

    def __init__(self, url: str, cache: Path, happened: threading.Event) -> None:
        super().__init__(url, cache)
        self._happened = happened

    def _make_sure_of_room(self, artifact: str, size: int) -> None:
        assert self._happened.wait(10)
        super()._make_sure_of_room(artifact, size)


class TestFolder(ModelTests):
    """A folder."""

    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return str(tmp_path / "models")

    @pytest.mark.parametrize("files", range(len(CONTENTS) + 1))
    async def test_a_kill_before_the_manifest_leaves_nothing_that_anybody_sees(
        self, store: Models, made: Path, place: Place, url: str, tmp_path: Path, files: int
    ) -> None:
        publish_and_be_killed(url, made, files)
        whole = {name for name in place.names() if not name.endswith(".part")}
        assert len(whole) == files
        assert len(place.names()) == files + 1  # what it was at is a part
        assert await store.published() == []
        clean = Models(str(tmp_path / "another"), tmp_path / "cache2")
        artifact = await clean.publish(made, CONTENTS, ORIGIN, RULES)
        await refused("missing", store.fetch(artifact, RULES))
        assert await store.publish(made, CONTENTS, ORIGIN, RULES) == artifact
        await store.fetch(artifact, RULES)  # the part that was left is none of its files
        clean.stop()

    async def test_what_a_kill_left_is_swept_by_age(self, store: Models, made: Path, place: Place) -> None:
        artifact = await store.publish(made, CONTENTS, ORIGIN, RULES)
        place.write("b" * 64 + "/0123456789abcdef.part", b"half of it")
        assert await store.retain({artifact}, FAR) == ["b" * 64]

    @pytest.mark.parametrize("how", ["file", "folder"])
    async def test_a_link_in_the_store_is_not_followed(
        self, store: Models, made: Path, url: str, tmp_path: Path, how: str
    ) -> None:
        artifact = await store.publish(made, CONTENTS, ORIGIN, RULES)
        link(Path(url, artifact, "meta.json" if how == "file" else "ner"), tmp_path / "there")
        await refused("link", store.fetch(artifact, RULES))

    async def test_a_linked_folder_is_not_swept(self, store: Models, made: Path, url: str, tmp_path: Path) -> None:
        artifact = await store.publish(made, CONTENTS, ORIGIN, RULES)
        link(folder_of(Path(url, "c" * 64), {"precious.json": b"{}"}), tmp_path / "there")
        assert await store.retain({artifact}, FAR) == []
        assert (tmp_path / "there" / "precious.json").exists()

    async def test_nobody_else_may_read_it(self, store: Models, made: Path, url: str) -> None:
        artifact = await store.publish(made, CONTENTS, ORIGIN, RULES)
        folder = await store.fetch(artifact, RULES)
        for path in (Path(url), Path(url, artifact, "meta.json"), folder, folder / "meta.json"):
            assert path.stat().st_mode & 0o077 == 0, path

    async def test_a_store_that_cannot_be_reached_is_unavailable_not_empty(
        self, store: Models, made: Path, url: str
    ) -> None:
        folder_of(Path(url).parent, {"models": b"a file where a folder should be"})
        with pytest.raises(Unavailable):
            await store.fetch("a" * 64, RULES)
        with pytest.raises(Unavailable):
            await store.publish(made, CONTENTS, ORIGIN, RULES)


class TestMemory(ModelTests):
    """A file system without folders and renames, as object stores are."""

    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"memory://{tmp_path.name}/bucket"

    async def test_what_is_not_given_is_forbidden_but_a_store_that_is_closed_is_waited_for(
        self, store: Models, made: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from fsspec.implementations.memory import MemoryFileSystem  # type: ignore[import-untyped]

        def refuse(*_: Any, **__: Any) -> None:
            raise PermissionError("403")

        artifact = await store.publish(made, CONTENTS, ORIGIN, RULES)
        with monkeypatch.context() as patch:
            patch.setattr(MemoryFileSystem, "cat_file", refuse)
            await refused("forbidden", store.fetch(artifact, RULES))
            patch.setattr(MemoryFileSystem, "ls", refuse)
            with pytest.raises(Unavailable):
                await store.fetch(artifact, RULES)
        await store.fetch(artifact, RULES)


def test_retention_keeps_what_serves_and_the_newest_of_every_line() -> None:
    mails = Line(frozenset({"m1"}), ["m5", "m4", "m3", "m2", "m1"])
    calls = Line(frozenset(), ["c1"])
    base = Line(frozenset({"b", "b2"}), [])
    assert kept([mails, calls, base], 2) == {"m5", "m4", "m1", "c1", "b", "b2"}
    assert kept([mails], 0) == {"m1"}
    assert kept([mails], -1) == {"m1"}


def test_a_place_that_cannot_be_used_is_refused_by_its_settings_name(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="PRELABEL_MODELS begins with http://: use a folder"):
        Models("http://example.org/x", tmp_path)


def link(here: Path, there: Path) -> None:
    """Put elsewhere what lies here, and a link to it in its place."""
    here.rename(there)
    here.symlink_to(there, target_is_directory=there.is_dir())


def publish_and_be_killed(url: str, made: Path, files: int) -> None:
    """Publish in another process, which is killed after so many files have got their names, and the next has not."""
    with subprocess.Popen(
        [sys.executable, "-c", _KILLED, url, str(made), str(files)], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == f"{files} files\n"
        child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL


async def refused(reason: str | set[str], call: Any) -> ArtifactRefused:
    with pytest.raises(ArtifactRefused) as told:
        await call
    assert told.value.reason in ({reason} if isinstance(reason, str) else reason), told.value
    return told.value


_KILLED = f"""
import asyncio, os, signal, sys
from pathlib import Path
from prelabel_provider.models.store import Models
sys.path[:0] = [{os.path.dirname(__file__)!r}]
from test_models import CONTENTS, ORIGIN, RULES

url, made, files = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
replace, done = os.replace, 0

def halting(part, final):
    global done
    if done == files:
        print(f"{{done}} files", flush=True)
        signal.pause()  # until it is killed, one name short
    done += 1
    replace(part, final)

os.replace = halting
asyncio.run(Models(url, made.parent / "cache").publish(made, CONTENTS, ORIGIN, RULES))
"""
