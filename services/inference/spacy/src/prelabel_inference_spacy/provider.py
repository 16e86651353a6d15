"""Any spaCy pipeline as a provider: entities, spans, categories, parts of speech and dependencies."""

from collections.abc import Iterator, Sequence
from typing import Any, Self

from prelabel_contract.regions import Choice, Region, Relation, Span
from prelabel_provider.base import BatchShape, Description, Failed, Input, Predicted, Prediction, Provider

from .pipeline import MAKES, Loaded, load
from .settings import SpacySettings

_KINDS = {
    **dict.fromkeys(("ner", "entity_ruler", "spancat", "pos"), frozenset({"span"})),
    "textcat": frozenset({"choice"}),
    "dep": frozenset({"span", "relation"}),
}


class SpacyProvider(Provider[SpacySettings]):
    """Runs texts through a pipeline."""

    name = "spacy"
    kinds = frozenset({"span", "choice", "relation"})
    Settings = SpacySettings
    batch = BatchShape(records=32)  # larger ones are no faster, and somebody who is in a hurry may wait for one

    def __init__(self, settings: SpacySettings, loaded: Loaded) -> None:
        self._settings = settings
        self._loaded = loaded

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
        docs = self._loaded.nlp.pipe(texts, batch_size=self._settings.batch_size)
        return [answer if answer is not None else Predicted(self._regions(next(docs))) for answer in answers]

    def _unfit(self, one: Input) -> Failed | None:
        try:
            length = len(one.text)
        except ValueError as error:
            return Failed("input", str(error))
        if length > self._settings.max_length:
            return Failed("too_long", f"{length} characters, the limit is {self._settings.max_length}")
        return None

    def _regions(self, doc: Any) -> tuple[Region, ...]:
        return tuple(region for part in _order(self._loaded.emit) for region in self._said(part, doc))

    def _said(self, part: str, doc: Any) -> Iterator[Region]:
        match part:
            case "entities":
                return (_span(entity) for entity in doc.ents)
            case "spancat":
                return _spans(doc.spans.get(self._loaded.spans_key, ()))
            case "textcat":
                return self._choices(doc)
            case _:
                return _tokens(doc, self._loaded.emit)

    def _choices(self, doc: Any) -> Iterator[Region]:
        for name, pipe in self._loaded.nlp.pipeline:
            factory = self._loaded.nlp.get_pipe_meta(name).factory
            if factory not in MAKES["textcat"] or not pipe.labels:
                continue
            scores = {label: float(doc.cats[label]) for label in pipe.labels}
            if factory == "textcat":
                best = max(scores, key=lambda label: scores[label])
                yield Choice(labels=(best,), score=_score(scores[best]))
            else:
                least = pipe.cfg.get("threshold") or 0.0  # its own: the project's only marks
                for label, score in scores.items():
                    if score >= least:
                        yield Choice(labels=(label,), score=_score(score))


def _order(emit: Sequence[str]) -> tuple[str, ...]:
    """What to read from a doc, once each: ruler and ner write to one place, pos and dep to another."""
    places = {"ner": "entities", "entity_ruler": "entities", "pos": "tokens", "dep": "tokens"}
    return tuple(dict.fromkeys(places.get(part, part) for part in emit))


def _span(span: Any, score: float | None = None) -> Span:
    return Span(start=span.start_char, end=span.end_char, labels=(span.label_,), score=score, text=span.text)


def _spans(group: Any) -> Iterator[Region]:
    scores = getattr(group, "attrs", {}).get("scores")
    for index, span in enumerate(group):
        if span.start_char < span.end_char:
            yield _span(span, None if scores is None else _score(float(scores[index])))


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


def _score(score: float) -> float:
    """A probability in single precision may be a hair above 1."""
    return min(1.0, max(0.0, score))
