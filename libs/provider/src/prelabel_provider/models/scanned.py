"""A folder of this machine against what it should hold: nothing more, nothing less, nothing else."""

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from .contents import Unpacked, check_content
from .manifest import ArtifactRefused, Manifest, Rules, StoredFile, check, check_files

_CHUNK = 1 << 20


def scan(folder: Path, files: Iterable[str], rules: Rules) -> dict[str, StoredFile]:
    """What lies in the folder, which must be these files and pass the rules. Raises `ArtifactRefused`."""
    sizes = dict(_listed(folder, rules.limits.files))
    compare(sizes, files)
    check_files(sizes, rules)
    _check_contents(folder, sizes, rules)
    return {name: _stored(folder, name) for name in sorted(sizes)}


def verify(folder: Path, manifest: Manifest, rules: Rules) -> None:
    """Let pass a folder that holds what the manifest says, byte for byte. Raises `ArtifactRefused`."""
    check(manifest, rules)
    sizes = dict(_listed(folder, rules.limits.files))
    compare(sizes, manifest.files)
    compare_sizes(sizes, manifest)
    for name, file in manifest.files.items():
        if _stored(folder, name) != file:
            raise ArtifactRefused("damaged", f"{name} has another hash than the manifest says")
    _check_contents(folder, sizes, rules)


def compare(found: Iterable[str], expected: Iterable[str]) -> None:
    """Let pass equal sets of names. Raises `ArtifactRefused`."""
    found, expected = set(found), set(expected)
    if missing := sorted(expected - found):
        raise ArtifactRefused("missing_file", f"{missing[0][:100]} is missing")
    if unknown := sorted(found - expected):
        raise ArtifactRefused("unknown_file", f"{unknown[0][:100]!r} lies there, and nothing says that it should")


def compare_sizes(sizes: dict[str, int], manifest: Manifest) -> None:
    """Let pass files as large as the manifest says. Raises `ArtifactRefused`."""
    for name, file in manifest.files.items():
        if sizes[name] != file.bytes:
            raise ArtifactRefused("size", f"{name} has {sizes[name]} bytes, the manifest says {file.bytes}")


def _listed(folder: Path, most: int) -> Iterator[tuple[str, int]]:
    waiting, count = [folder], 0
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                name = Path(entry.path).relative_to(folder).as_posix()
                told = entry.stat(follow_symlinks=False)
                count += 1
                if count > 2 * most:  # folders count too: a deep tree of nothing is no artifact either
                    raise ArtifactRefused("too_many", f"an artifact has at most {most} files")
                if stat.S_ISDIR(told.st_mode):
                    waiting.append(Path(entry.path))
                elif stat.S_ISREG(told.st_mode) and told.st_nlink == 1:
                    yield name, told.st_size
                else:
                    raise ArtifactRefused("link", f"{name[:100]!r} is a link, or no file")


def _stored(folder: Path, name: str) -> StoredFile:
    digest, size = hashlib.sha256(), 0
    with open(folder / name, "rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return StoredFile(sha256=digest.hexdigest(), bytes=size)


def _check_contents(folder: Path, names: Iterable[str], rules: Rules) -> None:
    unpacked = Unpacked(rules.limits.unpacked_bytes)
    for name in names:
        check_content(folder / name, name, unpacked)
