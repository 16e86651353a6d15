"""Saves a model so that equal models are equal files.

skops names parts by where they lay in memory, and an archive holds the moment it was written: both change with every
run, and an artifact's name is the hash of its files. So parts are numbered in the order of the tree, and the moment is
always the same. Nothing is compressed: the model store wants to see what it keeps.
"""

import io
import json
import zipfile
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import Any

import skops.io

_SCHEMA = "schema.json"
_MOMENT = (1980, 1, 1, 0, 0, 0)
"""The first that archives can say."""


def save(model: Any, path: Path) -> None:
    """Write a model."""
    with zipfile.ZipFile(io.BytesIO(skops.io.dumps(model))) as found, zipfile.ZipFile(path, "w") as kept:
        numbered = _Numbered()
        described = numbered.of(json.loads(found.read(_SCHEMA)))
        for old, new in sorted(numbered.files.items(), key=lambda pair: pair[1]):
            kept.writestr(zipfile.ZipInfo(new, _MOMENT), found.read(old))
        kept.writestr(zipfile.ZipInfo(_SCHEMA, _MOMENT), json.dumps(described, separators=(",", ":")))


def libraries() -> dict[str, str]:
    """What a saved model depends on."""
    return {name: version(name) for name in ("numpy", "scikit-learn", "scipy", "skops")}


class _Numbered:
    """A description with numbers of its own in place of addresses."""

    def __init__(self) -> None:
        self.files: dict[str, str] = {}
        """Of the archive: by the old names, the new."""
        self._next = count(1)
        self._numbers: dict[int, int] = {}

    def of(self, node: Any) -> Any:
        """The same node, numbered: a dictionary of the model's own holds nodes only, whatever its keys are."""
        if isinstance(node, list):
            return [self.of(one) for one in node]
        if not isinstance(node, dict):
            return node
        return {key: self._entry(key, value) for key, value in node.items()}

    def _entry(self, key: str, value: Any) -> Any:
        if key == "__id__" and isinstance(value, int):
            return self._number(value)
        if key == "file" and isinstance(value, str):
            stem, _, suffix = value.partition(".")
            return self.files.setdefault(value, f"{self._number(int(stem))}.{suffix}")
        return self.of(value)

    def _number(self, address: int) -> int:
        if address not in self._numbers:
            self._numbers[address] = next(self._next)
        return self._numbers[address]
