"""scikit-learn's classifiers and regressors, for texts and for numbers."""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Self

from prelabel_contract.names import content_hash
from prelabel_provider.base import BadSettings, BatchShape, Description, Input, Prediction, Provider

from .answers import Answers, Said, answers_of
from .features import Given, Reader, Texts, Vectors
from .files import Loaded, estimators, load
from .settings import SklearnLimits, SklearnSettings

HELD = 8_000_000
"""Characters, or numbers, that a model is given at once: what it makes of them is many times that."""
_NOT_IN_THE_VERSION = frozenset({"path", "max_length"})


class SklearnProvider(Provider[SklearnSettings]):
    """Asks a model that skops saved."""

    name = "sklearn"
    kinds = frozenset({"choice", "number", "rating"})
    Settings = SklearnSettings
    batch: ClassVar[BatchShape] = BatchShape(records=1000)

    def __init__(self, settings: SklearnSettings, loaded: Loaded, reader: Reader, answers: Answers) -> None:
        self._settings = settings
        self._loaded = loaded
        self._reader = reader
        self._answers = answers

    @classmethod
    def load(cls, settings: SklearnSettings) -> Self:
        """Load a model file. Raises `BadSettings` for one that is damaged, not trusted, or predicts something else."""
        loaded = load(settings.path, SklearnLimits())
        _tame(loaded.model)
        reader = _reader(loaded.model, settings)
        return cls(settings, loaded, reader, answers_of(loaded.model, reader.sample(), settings))

    def describe(self) -> Description:
        """The file's name, and a hash of its content and of the settings that change answers."""
        said = self._settings.model_dump(mode="json", exclude_defaults=True, exclude=set(_NOT_IN_THE_VERSION))
        content = content_hash({"file": self._loaded.content, **said})
        labels = {self._answers.kind: self._answers.labels} if self._answers.labels else {}
        return Description(f"{self._loaded.name}-{content[:16]}", frozenset({self._answers.kind}), labels)

    def predict(self, batch: Sequence[Input]) -> Sequence[Prediction]:
        """Ask about the whole batch at once, or in portions where it is large."""
        given, unfit = self._reader.read(batch)
        said: Said = []
        for portion in _portions(given, self._reader.sizes(given)):
            said += self._answers.say(portion)
        if not unfit:
            return said
        rest = iter(said)
        return [unfit[place] if place in unfit else next(rest) for place in range(len(batch))]


def _reader(model: Any, settings: SklearnSettings) -> Reader:
    if settings.input == "text":
        return Texts(settings.max_length)
    count = getattr(model, "n_features_in_", None)
    if count is None:
        raise BadSettings("input: the model does not say how many numbers it takes: it is one for texts, it seems")
    if settings.columns and len(settings.columns) != count:
        raise BadSettings(f"columns: the model takes {count} numbers, these are {len(settings.columns)} columns")
    return Vectors(int(count), settings.encoding, settings.columns)


def _tame(model: Any) -> None:
    """Let no part of a model start processes, or read files that a task names. Raises `BadSettings`."""
    for part in estimators(model):
        if getattr(part, "n_jobs", None) is not None:
            part.n_jobs = 1  # threads are those of the numerical libraries, as many as this process was given
        if getattr(part, "input", "content") != "content":
            raise BadSettings(
                f"path: its {type(part).__name__} takes texts for names of files: give it input='content'"
            )


def _portions(given: Given, sizes: Sequence[int]) -> Iterator[Given]:
    if not len(given):
        return
    if sum(sizes) <= HELD:
        yield given
        return
    start = held = 0
    for place, size in enumerate(sizes):
        if place > start and held + size > HELD:
            yield given[start:place]
            start, held = place, 0
        held += size
    yield given[start:]
