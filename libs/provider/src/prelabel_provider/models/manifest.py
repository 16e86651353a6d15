"""What an artifact is: a manifest, and the files that it names.

The manifest is canonical JSON, and its SHA-256 in hexadecimal is the artifact's name. So whoever holds the name can
tell the manifest, and whoever holds the manifest can tell every file, whatever lies between them and who wrote it.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, Self

from prelabel_contract import names
from prelabel_contract.base import Count, Model, Slug
from pydantic import ConfigDict, Field, ValidationError

MANIFEST = "manifest.json"
"""Its name beside the files; no file of an artifact has it."""
MAX_MANIFEST_BYTES = 1 << 20
_NAME = re.compile(r"[0-9a-f]{64}")
_PART_OF_A_PATH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,119}")
"""What every file system takes and none understands otherwise: nothing hidden, no "..", no drive, no control sign."""
_MAX_DEPTH = 8


class ArtifactRefused(Exception):
    """An artifact that is not to be had, or not to be trusted; nothing of it was loaded."""

    def __init__(self, reason: str, detail: str) -> None:
        """`reason`: a word for machines.

        missing, forbidden: there is none, or it is not given. manifest, format: its manifest is not what its name says,
        or of a later format. provider, name, suffix, link, too_many, too_large: what the manifest says is not allowed.
        missing_file, unknown_file, size, damaged: the files are not what the manifest says. pickle, compressed,
        archive, unpacked, array, safetensors: what is in a file is not allowed. quota: the store is full.

        `detail`: a sentence for people.
        """
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Limits:
    """What one artifact may be, at most."""

    files: int = 1000
    file_bytes: int = 4 << 30
    bytes: int = 8 << 30
    """Of all files together."""
    unpacked_bytes: int = 8 << 30
    """Of all archives' contents together: a loader unpacks them into memory."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What a provider loads."""

    provider: str
    allowed: frozenset[str]
    """Files that an artifact may have: suffixes (".json") and whole last names ("tokenizer")."""
    limits: Limits = Limits()

    def allows(self, name: str) -> bool:
        """Whether the allow-list has the file."""
        last = name.rpartition("/")[2]
        stem, dot, suffix = last.rpartition(".")
        return last in self.allowed or (bool(stem) and dot + suffix in self.allowed)


class StoredFile(Model):
    """One file of an artifact."""

    model_config = ConfigDict(extra="forbid", strict=True)

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    bytes: Count


class Manifest(Model):
    """What an artifact holds and how it came about. Equal content has an equal name."""

    model_config = ConfigDict(extra="forbid", strict=True)

    format: Literal[1] = 1
    provider: Slug
    files: Annotated[dict[str, StoredFile], Field(min_length=1)]
    """By name: relative, with slashes."""
    libraries: dict[str, str] = Field(default_factory=dict)
    """Versions of what the files depend on, by distribution."""
    seed: int
    fingerprint: str
    """Of the examples it was trained on."""

    @property
    def artifact(self) -> str:
        """The artifact's name."""
        return hashlib.sha256(self.encoded()).hexdigest()

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(file.bytes for file in self.files.values())

    def encoded(self) -> bytes:
        """The manifest as it is stored: canonical JSON."""
        return names.canonical(self.model_dump(mode="json"))

    @classmethod
    def read(cls, artifact: str, content: bytes) -> Self:
        """The manifest of an artifact. Raises `ArtifactRefused` for bytes that are not it."""
        if hashlib.sha256(content).hexdigest() != check_artifact(artifact):
            raise ArtifactRefused("manifest", f"the manifest of {artifact} has another hash")
        try:
            manifest = cls.model_validate_json(content)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = first["loc"][:1]
            reason = "format" if place == ("format",) else "manifest"
            raise ArtifactRefused(reason, f"the manifest of {artifact} cannot be read: {first['msg']}") from None
        if manifest.encoded() != content:
            raise ArtifactRefused("manifest", f"the manifest of {artifact} is not in canonical form")
        return manifest


def check_artifact(name: str) -> str:
    """The name, if it can be an artifact's: it becomes a part of paths. Raises `ArtifactRefused`."""
    if not _NAME.fullmatch(name):
        raise ArtifactRefused("name", "an artifact's name is 64 hexadecimal digits in lower case")
    return name


def check(manifest: Manifest, rules: Rules) -> None:
    """Let pass what the rules allow, by what the manifest says alone. Raises `ArtifactRefused`."""
    if manifest.provider != rules.provider:
        raise ArtifactRefused("provider", f"the artifact is of {manifest.provider}, not of {rules.provider}")
    check_files({name: file.bytes for name, file in manifest.files.items()}, rules)


def check_files(sizes: Mapping[str, int], rules: Rules) -> None:
    """Let pass names and sizes (bytes) that the rules allow. Raises `ArtifactRefused`."""
    limits = rules.limits
    if len(sizes) > limits.files:
        raise ArtifactRefused("too_many", f"an artifact has at most {limits.files} files, this one has {len(sizes)}")
    check_names(sizes)
    for name, size in sizes.items():
        if not rules.allows(name):
            allowed = ", ".join(sorted(rules.allowed))
            raise ArtifactRefused("suffix", f"{name}: {rules.provider} loads no such file, only {allowed}")
        if size > limits.file_bytes:
            raise ArtifactRefused("too_large", f"{name} has {size} bytes, a file may have {limits.file_bytes}")
    if (size := sum(sizes.values())) > limits.bytes:
        raise ArtifactRefused("too_large", f"the files have {size} bytes, an artifact may have {limits.bytes}")


def check_names(files: Iterable[str]) -> None:
    """Let pass names that lead below a folder on every file system, each to a file of its own.

    Raises `ArtifactRefused`.
    """
    files = list(files)
    folders: set[str] = set()
    for name in files:
        parts = name.split("/")
        if len(parts) > _MAX_DEPTH or not all(map(_PART_OF_A_PATH.fullmatch, parts)):
            raise ArtifactRefused("name", f"{name[:100]!r} is no name for a file of an artifact")
        folders.update("/".join(parts[:depth]).casefold() for depth in range(1, len(parts)))
    taken = {name.casefold() for name in files}  # some file systems take no notice of case
    if len(taken) < len(files) or taken & folders or MANIFEST in taken:
        raise ArtifactRefused("name", f"two files have one name, or one has that of a folder or of {MANIFEST}")
