"""Model files: what may be in them, decided before anything of theirs runs.

skops writes a zip archive: one description of a tree of objects, and arrays beside it. It never unpickles; it refuses
types that nobody trusts. What is left to do here is to bound what unpacking costs, to let nobody but the operator trust
a type, and to read the file once, so that what was checked is what is loaded.
"""

import hashlib
import io
import json
import warnings
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
import skops.io
from prelabel_contract.projects import listing
from prelabel_provider.base import BadSettings
from sklearn.base import BaseEstimator
from sklearn.exceptions import InconsistentVersionWarning

from .settings import SklearnLimits

OLDEST_PROTOCOL = 2
"""Of skops' format. A file says itself how it wants to be checked; older ways have been fooled."""
_MIB = 1 << 20
_SCHEMA = "schema.json"


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model, and what it was loaded from."""

    model: Any
    name: str
    content: str
    """SHA-256 of the file, in hexadecimal."""


def load(path: str, limits: SklearnLimits) -> Loaded:
    """Read, check and build a model. Raises `BadSettings`, which says what would be right."""
    data = _read(Path(path), limits.max_mib)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            _check_size(archive, limits.max_mib)
            _check_protocol(archive)
        unknown = [name for name in skops.io.get_untrusted_types(data=data) if name not in limits.trusted]
    except BadSettings:
        raise
    except MemoryError:
        raise
    except Exception as error:  # whatever a damaged archive, or a forged tree, makes its readers raise
        raise BadSettings(f"path: {path!r} is no file that skops can read: {_line(error)}") from error
    if unknown:
        raise BadSettings(
            f"path: {path!r} holds types that are not trusted, and was not loaded: {listing(unknown)}; "
            f"whoever runs this provider may trust them: PRELABEL_SKLEARN_TRUSTED"
        )
    model = _built(path, data, limits)
    return Loaded(model, Path(path).stem[:60], hashlib.sha256(data).hexdigest())


def tame(model: Any) -> None:
    """Let no part of a model start processes, or read files that a task names. Raises `BadSettings`."""
    for part in estimators(model):
        if getattr(part, "n_jobs", None) is not None:
            part.n_jobs = 1  # threads are those of the numerical libraries, as many as this process was given
        if getattr(part, "input", "content") != "content":
            raise BadSettings(
                f"path: its {type(part).__name__} takes texts for names of files: give it input='content'"
            )


def estimators(model: Any) -> Iterator[BaseEstimator]:
    """Every estimator in a model, fitted parts of it too, once each."""
    seen: set[int] = set()
    rest: list[Any] = [model]
    while rest:
        one = rest.pop()
        if id(one) in seen:  # a small file may name one list very often
            continue
        seen.add(id(one))
        if isinstance(one, BaseEstimator):
            yield one
        rest += (part for part in _parts(one) if isinstance(part, _HOLDS))


_HOLDS = (BaseEstimator, dict, list, tuple, np.ndarray)


def _parts(one: Any) -> Iterable[Any]:
    match one:
        case BaseEstimator():
            return list(vars(one).values())
        case dict():
            return list(one.values())
        case np.ndarray():
            return list(one.flat) if one.dtype.hasobject else ()
        case _:
            return one if isinstance(one, (list, tuple)) else ()


def _read(path: Path, max_mib: int) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(max_mib * _MIB + 1)
    except OSError as error:
        raise BadSettings(f"path: {str(path)!r} cannot be read: {error.strerror}") from error
    if len(data) > max_mib * _MIB:
        raise BadSettings(f"path: {str(path)!r} is larger than {max_mib} MiB (PRELABEL_SKLEARN_MAX_MIB)")
    if data[:4] != b"PK\x03\x04":
        pickled = data[:1] == b"\x80" or data[:2] == b"\x78\x9c" or path.suffix in (".pkl", ".pickle", ".joblib")
        said = "it looks like a pickle, which can run anything and is never read" if pickled else "it is no archive"
        raise BadSettings(f"path: {str(path)!r} is no skops file: {said}. Write it by skops.io.dump(model, file)")
    return data


def _check_size(archive: zipfile.ZipFile, max_mib: int) -> None:
    """Sparse arrays are archives within the archive: what they unpack to counts too."""
    most = max_mib * _MIB
    size = 0
    for inner in archive.infolist():
        size += inner.file_size
        if size <= most and inner.filename.endswith(".npz"):
            with archive.open(inner) as file, zipfile.ZipFile(io.BytesIO(file.read())) as arrays:
                size += sum(array.file_size for array in arrays.infolist())
        if size > most:
            raise BadSettings(f"path: the file unpacks to more than {max_mib} MiB (PRELABEL_SKLEARN_MAX_MIB)")


def _check_protocol(archive: zipfile.ZipFile) -> None:
    described = json.loads(archive.read(_SCHEMA))
    protocol = described.get("protocol") if isinstance(described, dict) else None
    if type(protocol) is not int or protocol < OLDEST_PROTOCOL:
        raise BadSettings(
            f"path: the file is of skops' format {str(protocol)[:20]}, the oldest that is read is {OLDEST_PROTOCOL}: "
            f"load it where you trust it, and write it anew by skops.io.dump of skops {skops.__version__}"
        )


def _built(path: str, data: bytes, limits: SklearnLimits) -> Any:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", InconsistentVersionWarning)
        try:
            return skops.io.loads(data, trusted=list(limits.trusted))
        except MemoryError:
            raise
        except Exception as error:
            raise BadSettings(
                f"path: {path!r} cannot be loaded by scikit-learn {sklearn.__version__}{_writer(told)}: {_line(error)}"
            ) from error


def _writer(told: list[warnings.WarningMessage]) -> str:
    versions = {
        said.message.original_sklearn_version for said in told if isinstance(said.message, InconsistentVersionWarning)
    }
    return f" (it was saved by {', '.join(sorted(versions))})" if versions else ""


def _line(error: BaseException) -> str:
    if isinstance(error, (zipfile.BadZipFile, zlib.error, KeyError)):
        return f"the archive is damaged ({type(error).__name__})"
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0][:300]}"
