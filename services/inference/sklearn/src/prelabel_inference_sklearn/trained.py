"""The folder that a training leaves: the model, and beside it what the model reads.

So whoever serves it needs to know the folder only: what a model was trained on is no setting of the project's.
"""

from pathlib import Path

from prelabel_contract.base import Model, Name
from prelabel_provider.base import BadSettings
from pydantic import ConfigDict, ValidationError

from .settings import Encoding, InputKind, SklearnSettings

FILE = "model.skops"
READS = "reads.json"
_MOST = 1 << 20
"""Bytes of a description."""


class Reads(Model):
    """What a trained model reads, in the words of the provider's settings."""

    model_config = ConfigDict(extra="forbid")

    input: InputKind
    columns: tuple[Name, ...] = ()
    encoding: Encoding = "float32"


def describe(folder: Path, reads: Reads) -> None:
    """Say in a folder what the model in it reads."""
    (folder / READS).write_text(reads.model_dump_json() + "\n")


def found(settings: SklearnSettings) -> SklearnSettings:
    """Settings of one file: their own, or those of the folder that they name. Raises `BadSettings`.

    Of a folder, what it says itself counts: the project's settings may still be those of the file that it replaces.
    """
    if settings.path is None:
        raise BadSettings("path: there is no model yet: train one, or name a file")
    folder = Path(settings.path)
    if not folder.is_dir():
        return settings
    reads = _reads(folder)
    said = {**reads.model_dump(), "path": str(folder / FILE), "labels": (), "emit": None}
    return settings.model_copy(update=said)


def _reads(folder: Path) -> Reads:
    try:
        with (folder / READS).open("rb") as file:
            return Reads.model_validate_json(file.read(_MOST))
    except OSError as error:
        raise BadSettings(
            f"path: {str(folder)!r} is no folder of a trained model: {READS} cannot be read: {error.strerror}"
        ) from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise BadSettings(f"path: {READS} in {str(folder)!r} is not what a training writes: {first['msg']}") from None
