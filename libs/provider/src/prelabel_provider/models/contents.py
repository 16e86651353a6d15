"""What is in a file: refused is what would run code, or unpack to more than was agreed, whatever its name says.

The allow-list of names comes first, and loaders are chosen so that they run nothing (safetensors, skops, spaCy's own);
this is the second line, for the day when one of them has a hole. Nothing is unpacked further than to look at its first
bytes, except archives in archives, up to NESTED_BYTES.
"""

import io
import re
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from .manifest import ArtifactRefused

NESTED_BYTES = 256 << 20
"""Of an archive within an archive: it is read into memory."""
MAX_MEMBERS = 10_000
"""Of one archive."""
_MAX_DIRECTORY = 4 << 20
"""Bytes of an archive's table of contents: reading it takes ten times as much memory."""
_HEAD = 512
_MAX_TENSORS_HEADER = 100_000_000
"""What safetensors itself takes."""
_MAX_ARRAY_HEADER = 10_000
_ZIP = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
_ZIP_NAMES = (".zip", ".skops", ".npz")
_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18", b"7z\xbc\xaf")
_BINARY_PICKLE = re.compile(rb"\x80[\x01-\x09][^\x00]", re.DOTALL)
_TEXT_PICKLE = re.compile(rb"[(\]}ldt0-9pq\n]{0,16}[ci][A-Za-z_][\w.]*\r?\n[A-Za-z_][\w.]*\r?\n")
"""A global by its module and name, at the beginning: what makes a pickle of protocol 0 or 1 dangerous."""
_PICKLE_NAMES = (".pkl", ".pickle", ".joblib", ".dill")
_ARRAY = b"\x93NUMPY"
_DTYPE = rb"'[|<>=][biufcSUVmM]\d*(\[\w+\])?'"
_ARRAY_HEADER = re.compile(
    rb"\{'descr': ("
    + _DTYPE
    + rb"|\[(\('\w*', "
    + _DTYPE
    + rb"(, \([\d, ]*\))?\)(, )?)+\])"
    + rb", 'fortran_order': (True|False), 'shape': \([\d, ]*\), \} *\n"
)
"""As numpy writes it, with types that are no objects: an array of objects is a pickle."""
_TAIL = 22 + 65_535
"""Bytes in which an archive's end record lies."""
_MAX_NESTING = 2


@dataclass
class Unpacked:
    """How much may still be unpacked from the archives of an artifact, in bytes."""

    left: int


def check_content(path: Path, name: str, unpacked: Unpacked) -> None:
    """Let pass a file that cannot run code when it is loaded, nor unpack to too much. Raises `ArtifactRefused`."""
    with open(path, "rb") as file:
        _check(file, name, unpacked, 0)


def _check(file: IO[bytes], name: str, unpacked: Unpacked, depth: int) -> None:
    head = file.read(_HEAD)
    if name.endswith(".safetensors"):
        _check_tensors(head, name)
        return
    _check_head(head, name)
    if _TEXT_PICKLE.match(head) and (depth or _last(file) == b"."):  # a list of words may begin alike
        raise _pickled(name)
    if head.startswith(_ARRAY):
        file.seek(0)
        _check_array(file.read(_HEAD + _MAX_ARRAY_HEADER), name)
    if head.startswith(_ZIP) or name.endswith(_ZIP_NAMES):
        _check_archive(file, name, unpacked, depth)


def _check_head(head: bytes, name: str) -> None:
    if name.endswith(_PICKLE_NAMES) or _BINARY_PICKLE.match(head):
        raise _pickled(name)
    if head.startswith(_COMPRESSED):
        raise ArtifactRefused("compressed", f"{name} is compressed: what it unpacks to cannot be told")


def _pickled(name: str) -> ArtifactRefused:
    return ArtifactRefused("pickle", f"{name} is a pickle, which runs code when it is loaded")


def _last(file: IO[bytes]) -> bytes:
    file.seek(-1, io.SEEK_END)
    return file.read(1)


def _check_tensors(head: bytes, name: str) -> None:
    """Its first bytes are a length, which may look like a pickle's or an archive's: so its form is looked at."""
    length = int.from_bytes(head[:8], "little")
    if len(head) <= 8 or length > _MAX_TENSORS_HEADER or head[8:9] != b"{":
        raise ArtifactRefused("safetensors", f"{name} is not what its name says")


def _check_array(head: bytes, name: str) -> None:
    start = 10 if head[6:7] == b"\x01" else 12
    length = int.from_bytes(head[8:start], "little")
    if length > _MAX_ARRAY_HEADER or not _ARRAY_HEADER.fullmatch(head[start : start + length]):
        raise ArtifactRefused("array", f"{name} is an array of objects, or of a form that numpy does not write")


def _check_archive(file: IO[bytes], name: str, unpacked: Unpacked, depth: int) -> None:
    if depth == _MAX_NESTING:
        raise ArtifactRefused("archive", f"{name}: archives lie in each other, more than {_MAX_NESTING} deep")
    try:
        _check_directory(file, name)
        with zipfile.ZipFile(file) as archive:
            _check_members(archive, name, unpacked, depth)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError, NotImplementedError) as error:
        raise ArtifactRefused("archive", f"{name} is no archive that can be read: {type(error).__name__}") from error


def _check_directory(file: IO[bytes], name: str) -> None:
    """Reading a table of contents costs memory: its size is looked at first, where zipfile will find it."""
    size = file.seek(0, io.SEEK_END)
    file.seek(max(0, size - _TAIL - 20))
    tail = file.read()
    end = tail.rfind(b"PK\x05\x06")
    if end < 0 or b"PK\x06\x07" in tail[max(0, end - 20) : end]:
        raise ArtifactRefused("archive", f"{name} is no archive of less than 2 GiB")
    if int.from_bytes(tail[end + 12 : end + 16], "little") > _MAX_DIRECTORY:
        raise ArtifactRefused("archive", f"{name} has a table of contents of more than {_MAX_DIRECTORY} bytes")


def _check_members(archive: zipfile.ZipFile, name: str, unpacked: Unpacked, depth: int) -> None:
    members = archive.infolist()
    if len(members) > MAX_MEMBERS:
        raise ArtifactRefused("archive", f"{name} has {len(members)} members, an archive may have {MAX_MEMBERS}")
    unpacked.left -= sum(member.file_size for member in members)
    if unpacked.left < 0:
        raise ArtifactRefused("unpacked", f"{name} unpacks to more than an artifact may")
    for member in members:
        with archive.open(member) as content:
            _check_member(content, f"{name}/{member.filename[:100]}", member.file_size, unpacked, depth)


def _check_member(content: IO[bytes], name: str, size: int, unpacked: Unpacked, depth: int) -> None:
    head = content.read(_HEAD + _MAX_ARRAY_HEADER)
    if not (head.startswith(_ZIP) or name.endswith(_ZIP_NAMES)):
        _check(io.BytesIO(head), name, unpacked, depth + 1)
        return
    if size > NESTED_BYTES:
        raise ArtifactRefused("unpacked", f"{name}: an archive in an archive may have {NESTED_BYTES} bytes")
    _check(io.BytesIO(head + content.read()), name, unpacked, depth + 1)
