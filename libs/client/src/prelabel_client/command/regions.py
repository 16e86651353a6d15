"""A region in one line, for people."""

from collections.abc import Mapping
from typing import Any

from .output import clean

_VALUES = ("number", "rating", "datetime", "selected")
"""What regions without labels say, by the name of the field that holds it."""


def line_of(region: Mapping[str, Any], text: str) -> str:
    """Labels or value, then the words it lies on, then its score; `text` is that of the task."""
    labels = ", ".join(region.get("labels") or ())
    said = labels or next((f"{region[name]}" for name in _VALUES if region.get(name) is not None), "")
    score = "" if region.get("score") is None else f"  {region['score']:.2f}"
    return f"  {clean(said):<12} {clean(_words(region, text))}{score}".rstrip()


def _words(region: Mapping[str, Any], text: str) -> str:
    words = region.get("text")
    if words is None:
        return text[region["start"] : region["end"]] if region.get("kind") == "span" else ""
    return words if isinstance(words, str) else " ".join(words)
