"""How unsure ner is, which has no scores: by a beam.

A parser goes through a text token by token, takes what is best at each, and forgets what else there was. A beam follows
several ways at once, and knows how likely each is beside the others; an entity has the share of the ways that find it.
So what was nearly found is in it too, and a text without entities may be a doubtful one.

What is suggested stays the parser's own, with a beam as without: the beam goes beside it, and before it, since it would
find nothing but the entities that a text has already.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prelabel_provider.uncertainty import Measure

from .entities import Entity, Tags
from .pipeline import MAKES

LONGEST = 5_000
"""Tokens. What following ways costs grows with the square of a text: of a longer one nothing is told."""
_DENSITY = 1e-8
"""How likely a way must be to be followed further, beside the likeliest: sure texts are done sooner. At 1e-4, which
costs as much, many a doubtful text has no second way."""
_TOGETHER = 32
"""Texts of like length whose ways are followed at once."""

Shared = Mapping[Entity, float]


class Beam:
    """That of one parser."""

    def __init__(self, parser: Any, width: int, measure: Measure) -> None:
        self._parser = parser
        self._width = width
        self._measure = measure
        self._tags = Tags(parser.labels)

    def shares(self, docs: Sequence[Any]) -> list[Shared | None]:
        """Of entities in docs as the parser is about to get them. None: the doc has no tokens, or too many."""
        found: list[Shared | None] = [None] * len(docs)
        fitting = [place for place, doc in enumerate(docs) if 0 < len(doc) <= LONGEST]
        fitting.sort(key=lambda place: (len(docs[place]), docs[place].text))  # the same whatever came first
        for start in range(0, len(fitting), _TOGETHER):
            places = fitting[start : start + _TOGETHER]
            some = [docs[place] for place in places]
            beams = self._parser.beam_parse(some, beam_width=self._width, beam_density=_DENSITY)
            for place, shares in zip(places, self._parser.scored_ents(beams), strict=True):
                found[place] = shares
        return found

    def doubt(self, shares: Shared | None, doc: Any) -> float | None:
        """Of a doc that the parser has been through since."""
        if shares is None:
            return None
        said = [(entity.start, entity.end, entity.label_) for entity in doc.ents]
        return self._tags.doubt(len(doc), shares, said, self._measure)


@dataclass(frozen=True, slots=True)
class _Stage:
    """A parser, and the components between the one before it and it."""

    before: Sequence[str]
    parser: str
    beam: Beam


class Beams:
    """A pipeline that is run with a beam beside each of its parsers for entities."""

    def __init__(self, nlp: Any, width: int, measure: Measure) -> None:
        self._nlp = nlp
        self._stages: list[_Stage] = []
        self._rest: list[str] = []
        """The components behind the last parser."""
        for name in nlp.pipe_names:
            if nlp.get_pipe_meta(name).factory in MAKES["ner"]:
                self._stages.append(_Stage(self._rest, name, Beam(nlp.get_pipe(name), width, measure)))
                self._rest = []
            else:
                self._rest.append(name)

    def run(self, texts: Sequence[str], batch_size: int) -> Iterator[tuple[Any, Sequence[float | None]]]:
        """Each text's doc, and how unsure each parser is of it."""
        docs: Sequence[Any] = texts
        doubts: list[list[float | None]] = [[] for _ in texts]
        for stage in self._stages:
            docs = self._through(docs, stage.before, batch_size)
            shares = stage.beam.shares(docs)
            docs = self._through(docs, [stage.parser], batch_size)
            for found, shared, doc in zip(doubts, shares, docs, strict=True):
                found.append(stage.beam.doubt(shared, doc))
        return zip(self._through(docs, self._rest, batch_size), doubts, strict=True)

    def _through(self, docs: Iterable[Any], names: Sequence[str], batch_size: int) -> list[Any]:
        """What comes of texts, or of docs, in some of the components."""
        others = [name for name in self._nlp.pipe_names if name not in names]
        return list(self._nlp.pipe(docs, batch_size=batch_size, disable=others))
