"""Labels on a text, cut so that they can be drawn: what every page of ours that highlights stands on."""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Protocol

COLOURS = 8
LOOK = Path(__file__).parent / "look.css"
"""Colours, marks, cards and tables, light and dark: the classes k0 to k7 colour what belongs to a label."""


class Spanning(Protocol):
    """What lies on a text from `start` up to `end` (code points)."""

    @property
    def start(self) -> int:
        """Where it begins."""

    @property
    def end(self) -> int:
        """Where it has ended."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of text under the same spans (indexes into the spans given), so that overlaps can be drawn."""

    text: str
    spans: tuple[int, ...]


def pieces(text: str, spans: Sequence[Spanning]) -> Iterator[Piece]:
    """Cut `text` wherever a span starts or ends; the pieces joined are the text again."""
    cuts = sorted({0, len(text), *(span.start for span in spans), *(span.end for span in spans)})
    for start, end in pairwise(cuts):
        covering = tuple(index for index, span in enumerate(spans) if span.start <= start and end <= span.end)
        yield Piece(text[start:end], covering)


def colour_of(label: str, labels: Sequence[str]) -> str:
    """The class that colours a label: by its place in the label set; an unknown one by its name, always the same."""
    place = labels.index(label) if label in labels else zlib.crc32(label.encode("utf-8", "surrogatepass"))
    return f"k{place % COLOURS}"
