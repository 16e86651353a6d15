"""Any spaCy pipeline as a provider: entities, spans, categories, parts of speech and dependencies."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Self

from prelabel_contract.regions import Region, Relation, Span
from prelabel_provider.base import BatchShape, Description, Failed, Input, Predicted, Prediction, Provider
from prelabel_provider.uncertainty import Gathering, gathered, of_score

from .beams import Beams
from .categories import categories
from .pipeline import Loaded, load
from .scores import NotFinite, scores_of
from .settings import SpacySettings

_KINDS = {
    **dict.fromkeys(("ner", "entity_ruler", "spancat", "pos"), frozenset({"span"})),
    "textcat": frozenset({"choice"}),
    "dep": frozenset({"span", "relation"}),
}


class SpacyProvider(Provider[SpacySettings]):
    """Runs texts through a pipeline, and tells how unsure it is as far as it knows."""

    name = "spacy"
    kinds = frozenset({"span", "choice", "relation"})
    Settings = SpacySettings
    batch = BatchShape(records=32)  # larger ones are no faster, and somebody who is in a hurry may wait for one

    def __init__(self, settings: SpacySettings, loaded: Loaded) -> None:
        self._settings = settings
        self._loaded = loaded
        self._categories = categories(loaded.nlp) if "textcat" in loaded.emit else ()
        self._beams = None if settings.beam is None else Beams(loaded.nlp, settings.beam, settings.uncertainty)

    @classmethod
    def load(cls, settings: SpacySettings) -> Self:
        """Load the pipeline. Raises `BadSettings` for what is none, or lacks what is to be emitted."""
        return cls(settings, load(settings))

    def describe(self) -> Description:
        """Language, name and version of the pipeline, and a hash of its files."""
        labels: dict[str, tuple[str, ...]] = {}
        for part, said in self._loaded.labels.items():
            kind = {"textcat": "choice", "dep": "relation"}.get(part, "span")
            if part not in (
                "pos",
                "dep",
            ):  # what these components list is not what ends up in the text's tokens
                labels[kind] = tuple(dict.fromkeys((*labels.get(kind, ()), *said)))
        if "pos" in self._loaded.emit:
            labels.pop("span", None)
        kinds = frozenset().union(*(_KINDS[part] for part in self._loaded.emit))
        return Description(self._loaded.version, kinds, labels)

    def predict(self, batch: Sequence[Input]) -> list[Prediction]:
        """Run the batch's texts through the pipeline together."""
        answers: list[Prediction | None] = []
        texts: list[str] = []
        for one in batch:
            unfit = self._unfit(one)
            answers.append(unfit)
            if unfit is None:
                texts.append(one.text)
        said = self._said(texts)
        return [answer if answer is not None else next(said) for answer in answers]

    def _unfit(self, one: Input) -> Failed | None:
        try:
            length = len(one.text)
        except ValueError as error:
            return Failed("input", str(error))
        if length > self._settings.max_length:
            return Failed("too_long", f"{length} characters, the limit is {self._settings.max_length}")
        return None

    def _said(self, texts: Sequence[str]) -> Iterator[Prediction]:
        size = self._settings.batch_size
        if self._beams is not None:
            for doc, entities in self._beams.run(texts, size):
                yield self._predicted(doc, entities)
        else:
            for doc in self._loaded.nlp.pipe(texts, batch_size=size):
                yield self._predicted(doc)

    def _predicted(self, doc: Any, entities: Iterable[float | None] = ()) -> Prediction:
        try:
            return Predicted(self._regions(doc), self._doubt(doc, entities))
        except NotFinite as error:
            return Failed("output", str(error))

    def _regions(self, doc: Any) -> tuple[Region, ...]:
        return tuple(region for part in _order(self._loaded.emit) for region in self._part(part, doc))

    def _part(self, part: str, doc: Any) -> Iterable[Region]:
        match part:
            case "entities":
                return (_span(entity) for entity in doc.ents)
            case "spancat":
                return _spans(self._group(doc))
            case "textcat":
                return (choice for one in self._categories for choice in one.said(doc.cats))
            case _:
                return _tokens(doc, self._loaded.emit)

    def _group(self, doc: Any) -> Any:
        return doc.spans.get(self._loaded.spans_key, ())

    def _doubt(self, doc: Any, entities: Iterable[float | None] = ()) -> float | None:
        """The most doubtful decision's, entities' included; None where nothing is known of any."""
        if len(doc) == 0:
            return None  # nothing was decided, though categories have numbers
        measure = self._settings.uncertainty
        found = [*entities, *(one.doubt(doc.cats, measure) for one in self._categories)]
        if "spancat" in self._loaded.emit and (scores := scores_of(self._group(doc))):
            found.append(of_score(min(scores), measure))
        known = [doubt for doubt in found if doubt is not None]
        return gathered(known, Gathering.HIGHEST) if known else None


def _order(emit: Sequence[str]) -> tuple[str, ...]:
    """What to read from a doc, once each: ruler and ner write to one place, pos and dep to another."""
    places = {"ner": "entities", "entity_ruler": "entities", "pos": "tokens", "dep": "tokens"}
    return tuple(dict.fromkeys(places.get(part, part) for part in emit))


def _span(span: Any, score: float | None = None) -> Span:
    return Span(start=span.start_char, end=span.end_char, labels=(span.label_,), score=score, text=span.text)


def _spans(group: Any) -> Iterator[Region]:
    scores = scores_of(group)
    for index, span in enumerate(group):
        if span.start_char < span.end_char:
            yield _span(span, None if scores is None else scores[index])


def _tokens(doc: Any, emit: Sequence[str]) -> Iterator[Region]:
    pos = "pos" in emit
    for token in doc:
        if not token.is_space:
            yield Span(
                id=f"t{token.i}",
                start=token.idx,
                end=token.idx + len(token),
                labels=(word,) if pos and (word := token.pos_ or token.tag_) else (),
                text=token.text,
            )
    if "dep" in emit:
        for token in doc:
            if token.head.i != token.i and not token.is_space and not token.head.is_space:
                yield Relation(from_id=f"t{token.head.i}", to_id=f"t{token.i}", labels=(token.dep_,))
