"""The model store: artifacts under their manifest's hash, on any file system.

Promises, on every file system (tests/unit/provider/test_models.py):

- An artifact is there from the moment its manifest is, which is written last. A kill before that leaves nothing that
  anybody sees, and publishing again leads to the same name. Several writers of one artifact do not disturb each other.
- `fetch` answers a folder of this machine whose files are what the manifest says, byte for byte, and pass the rules of
  the provider; or it raises, and nothing was loaded. That is looked at each time, also where the folder was here.
- An artifact that the quota has no room for is refused before anything is written. Writers at the same moment may each
  find room: together they go over it by what they bring at most.
- `retain` removes nothing that it is told to keep and nothing younger than it is told, the manifest first: what is half
  removed is not there. Where there is nothing to keep it removes nothing: a registry that forgot costs no models.
- The event loop never waits for a file or a network: everything runs in threads of the store's own.

Where: PRELABEL_MODELS, as `prelabel_runtime.files` understands it: <artifact>/<file>, and <artifact>/manifest.json.
"""

import asyncio
import contextlib
import os
import shutil
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from prelabel_runtime import log
from prelabel_runtime.errors import Unavailable
from prelabel_runtime.files import Files, NotGiven, for_the_owner, sync_folder

from .manifest import MANIFEST, MAX_MANIFEST_BYTES, ArtifactRefused, Manifest, Rules, StoredFile, check, check_artifact
from .scanned import compare, compare_sizes, scan, verify

T = TypeVar("T")
_log = log.get("prelabel.models")

ANSWER_SECONDS = 1800.0
"""To move one artifact; a store that takes longer counts as down."""
_FILES = "files"
_MENDED = frozenset({"manifest", "missing_file", "unknown_file", "size", "damaged", "link"})
"""What is wrong with a folder on this machine that fetching it again may mend."""
_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Origin:
    """How an artifact came about."""

    seed: int
    fingerprint: str
    """Of the examples it was trained on."""
    libraries: Mapping[str, str] = field(default_factory=dict)
    """Versions of what the files depend on, by distribution."""


@dataclass(frozen=True, slots=True)
class Line:
    """The versions of one (project, model), by their artifacts."""

    serving: frozenset[str]
    """What serves, and what must be there for another reason: a base, a version under evaluation."""
    versions: Sequence[str]
    """Newest first."""


def kept(lines: Iterable[Line], last: int) -> frozenset[str]:
    """What retention keeps: of each line what serves and the `last` newest versions."""
    return frozenset(artifact for line in lines for artifact in (*line.serving, *line.versions[: max(0, last)]))


class Models:
    """A model store. Raises `Unavailable` where its file system does not answer."""

    def __init__(
        self,
        url: str,
        cache: Path,
        *,
        quota: int | None = None,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        """Opens nothing yet. `cache`: a folder of this machine, ours alone; `quota`: bytes of all artifacts, None: any.

        Raises `Refused` for a place that we cannot use.
        """
        self._files = Files(url, setting="PRELABEL_MODELS", random_bytes=random_bytes)
        self._cache = cache
        self._quota = quota
        self._random_bytes = random_bytes

    def stop(self) -> None:
        """Let go of the threads."""
        self._files.stop()

    # --------------------------------------------------------------------------------------------------------- using

    async def publish(self, folder: Path, files: Iterable[str], origin: Origin, rules: Rules) -> str:
        """Keep a folder, which holds these files and nothing else, and answer the artifact's name.

        Again with the same content it changes nothing but the artifact's age, and mends what was damaged. Raises
        `ArtifactRefused`.
        """
        manifest = await self._files.off_loop(_described, folder, tuple(files), origin, rules)
        return await self._at_store(self._publish, folder, manifest)

    async def fetch(self, artifact: str, rules: Rules) -> Path:
        """The folder of this machine with an artifact's files, checked: nobody changes it. Raises `ArtifactRefused`.

        It is as young then as if it had been brought now.
        """
        return await self._at_store(self._fetch, artifact, rules)

    async def manifest(self, artifact: str) -> Manifest:
        """What an artifact holds. Raises `ArtifactRefused`."""
        return await self._at_store(self._manifest, artifact)

    # ------------------------------------------------------------------------------------------------------- keeping

    async def published(self) -> list[str]:
        """The artifacts that are there, by name."""
        return await self._at_store(self._published)

    async def used(self) -> int:
        """Bytes in the store, of what is being written or was left by a kill too."""
        return await self._at_store(self._used)

    async def retain(self, keep: Collection[str], before_ms: int) -> list[str]:
        """Remove from the store what is not to be kept and was last written before a moment (ms since 1970).

        What a kill left unpublished goes too. Answers the names of what went. Nothing to keep: nothing goes.
        """
        return await self._at_store(self._retain, frozenset(keep), before_ms)

    async def forget(self, keep: Collection[str], before_ms: int) -> list[str]:
        """The same for the folders on this machine: `fetch` brings them again."""
        return await self._at_store(self._forget, frozenset(keep), before_ms)

    async def renew(self, artifacts: Collection[str]) -> None:
        """What is here of these is in use: as young as if it had been fetched now, for whoever tidies this machine."""
        await self._at_store(self._renew, frozenset(artifacts))

    # ---------------------------------------------------------------------------------------- in threads of our own

    def _publish(self, folder: Path, manifest: Manifest) -> str:
        artifact, content = manifest.artifact, manifest.encoded()
        self._make_sure_of_room(artifact, manifest.size + len(content))
        for name in manifest.files:
            self._files.upload(f"{artifact}/{name}", folder / name)
        self._compare_stored(artifact, manifest)
        self._files.write(f"{artifact}/{MANIFEST}", content)
        return artifact

    def _make_sure_of_room(self, artifact: str, size: int) -> None:
        if self._quota is None:
            return
        used = self._used() - sum(entry.size for entry in self._files.walk(artifact))
        if used + size > self._quota:
            raise ArtifactRefused(
                "quota",
                f"the model store holds {_mib(used)} of the {_mib(self._quota)} it may, and this artifact has "
                f"{_mib(size)}: raise PRELABEL_MODELS_QUOTA_MIB, or keep fewer versions (PRELABEL_MODELS_KEEP)",
            )

    def _fetch(self, artifact: str, rules: Rules) -> Path:
        local = self._cache / check_artifact(artifact)
        if local.is_dir():
            self._renew(frozenset({artifact}))
            try:
                return _verified(local, artifact, rules)
            except (ArtifactRefused, OSError) as error:
                if isinstance(error, ArtifactRefused) and error.reason not in _MENDED:
                    raise
                _log.warning("a model on this machine is not what it was", artifact=artifact)
                self._remove(local)
        manifest = self._manifest(artifact)
        check(manifest, rules)
        self._compare_stored(artifact, manifest)
        part = self._part()
        try:
            self._download(artifact, manifest, part)
            verify(part / _FILES, manifest, rules)
            self._move(part, local)
        finally:
            shutil.rmtree(part, ignore_errors=True)
        return local / _FILES

    def _renew(self, artifacts: frozenset[str]) -> None:
        for name in artifacts:
            with contextlib.suppress(OSError):  # it is not here, or another user's
                os.utime(self._cache / name)

    def _manifest(self, artifact: str) -> Manifest:
        try:
            content = self._files.read(f"{check_artifact(artifact)}/{MANIFEST}", MAX_MANIFEST_BYTES + 1)
        except NotGiven:
            raise ArtifactRefused("forbidden", f"the model store does not give {artifact}") from None
        if content is None:
            raise ArtifactRefused("missing", f"the model store has no {artifact}: it was removed, or never published")
        return Manifest.read(artifact, content)

    def _compare_stored(self, artifact: str, manifest: Manifest) -> None:
        entries = [one for one in self._files.walk(artifact) if not one.part and one.name != MANIFEST]
        for one in entries:
            if one.kind != "file":
                raise ArtifactRefused("link", f"{one.name[:100]!r} is a link, or no file")
        sizes = {one.name: one.size for one in entries}
        compare(sizes, manifest.files)
        compare_sizes(sizes, manifest)

    def _download(self, artifact: str, manifest: Manifest, part: Path) -> None:
        for name, file in manifest.files.items():
            target = part / _FILES / name
            target.parent.mkdir(parents=True, exist_ok=True)
            self._download_one(f"{artifact}/{name}", target, file)
        with open(part / MANIFEST, "xb", opener=for_the_owner) as target_file:
            target_file.write(manifest.encoded())

    def _download_one(self, path: str, target: Path, file: StoredFile) -> None:
        with open(target, "xb", opener=for_the_owner) as written:
            try:
                for chunk in self._files.chunks(path, file.bytes + 1):
                    written.write(chunk)
            except FileNotFoundError:
                raise ArtifactRefused("missing_file", f"the model store has no {path}") from None
            except NotGiven:
                raise ArtifactRefused("forbidden", f"the model store does not give {path}") from None
            written.flush()
            os.fsync(written.fileno())

    def _move(self, part: Path, local: Path) -> None:
        try:
            part.rename(local)
        except OSError:
            if not local.is_dir():
                raise
            return  # another fetch was faster, and checked the same bytes
        sync_folder(self._cache)

    def _part(self) -> Path:
        self._cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = self._cache / f"{self._random_bytes(8).hex()}.part"
        (part / _FILES).mkdir(mode=0o700, parents=True)
        return part

    def _remove(self, local: Path) -> None:
        gone = self._cache / f"{self._random_bytes(8).hex()}.part"
        with contextlib.suppress(FileNotFoundError):
            local.rename(gone)  # at once: nobody finds the half of it
        shutil.rmtree(gone, ignore_errors=True)

    def _published(self) -> list[str]:
        return sorted(name for name in self._folders() if any(e.name == MANIFEST for e in self._files.entries(name)))

    def _folders(self) -> list[str]:
        return [entry.name for entry in self._files.entries() if entry.kind == "folder" and _is_artifact(entry.name)]

    def _used(self) -> int:
        return sum(entry.size for entry in self._files.walk())

    def _retain(self, keep: frozenset[str], before_ms: int) -> list[str]:
        if not keep:
            return []
        gone = []
        for name in sorted(set(self._folders()) - keep):
            if self._last_written(name) < before_ms:  # asked as late as can be: it may be published anew meanwhile
                self._files.delete(f"{name}/{MANIFEST}")
                self._files.delete(name)
                gone.append(name)
        return gone

    def _last_written(self, artifact: str) -> int:
        return max((entry.modified_ms for entry in self._files.walk(artifact)), default=0)

    def _forget(self, keep: frozenset[str], before_ms: int) -> list[str]:
        if not keep or not self._cache.is_dir():
            return []
        gone = [
            path.name
            for path in self._cache.iterdir()
            if path.name not in keep and path.lstat().st_mtime_ns // 1_000_000 < before_ms
        ]
        for name in gone:
            self._remove(self._cache / name)
        return sorted(gone)

    async def _at_store(self, call: Callable[..., T], *arguments: object) -> T:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await self._files.off_loop(call, *arguments)
        except ArtifactRefused:
            raise
        except Exception as error:  # each driver has exceptions of its own: whatever they are, the store failed
            _log.warning("the model store failed", error=type(error).__name__)
            raise Unavailable("the model store") from error


def _described(folder: Path, files: tuple[str, ...], origin: Origin, rules: Rules) -> Manifest:
    manifest = Manifest(
        provider=rules.provider,
        files=scan(folder, files, rules),
        libraries=dict(origin.libraries),
        seed=origin.seed,
        fingerprint=origin.fingerprint,
    )
    if (size := len(manifest.encoded())) > MAX_MANIFEST_BYTES:
        raise ArtifactRefused("manifest", f"the manifest has {size} bytes, at most {MAX_MANIFEST_BYTES}")
    return manifest


def _verified(local: Path, artifact: str, rules: Rules) -> Path:
    with open(local / MANIFEST, "rb") as file:
        manifest = Manifest.read(artifact, file.read(MAX_MANIFEST_BYTES + 1))
    verify(local / _FILES, manifest, rules)
    return local / _FILES


def _is_artifact(name: str) -> bool:
    try:
        return bool(check_artifact(name))
    except ArtifactRefused:
        return False


def _mib(size: int) -> str:
    return f"{size / _MIB:,.1f} MiB"
