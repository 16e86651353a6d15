"""scikit-learn's classifiers and regressors, for texts and for numbers.

scikit-learn itself is imported with the first model: seconds, and a hundred megabytes, that an idle provider saves.
"""

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar, Self

from prelabel_contract.names import content_hash
from prelabel_provider.base import BatchShape, Description, Input, Prediction, Provider

from .settings import SklearnLimits, SklearnSettings

if TYPE_CHECKING:
    from .answers import Answers, Said
    from .features import Given, Reader
    from .files import Loaded

HELD = 8_000_000
"""Characters, or numbers, that a model is given at once: what it makes of them is many times that."""
_NOT_IN_THE_VERSION = frozenset({"path", "max_length"})


class SklearnProvider(Provider[SklearnSettings]):
    """Asks a model that skops saved."""

    name = "sklearn"
    kinds = frozenset({"choice", "number", "rating"})
    Settings = SklearnSettings
    batch: ClassVar[BatchShape] = BatchShape(records=1000)

    def __init__(self, settings: SklearnSettings, loaded: "Loaded", reader: "Reader", answers: "Answers") -> None:
        self._settings = settings
        self._loaded = loaded
        self._reader = reader
        self._answers = answers

    @classmethod
    def load(cls, settings: SklearnSettings) -> Self:
        """Load a model file. Raises `BadSettings` for one that is damaged, not trusted, or predicts something else."""
        from .answers import answers_of
        from .features import reader_of
        from .files import load, tame
        from .trained import found

        settings = found(settings)
        loaded = load(settings.path or "", SklearnLimits())
        tame(loaded.model)
        reader = reader_of(loaded.model, settings)
        return cls(settings, loaded, reader, answers_of(loaded.model, reader.sample(), settings))

    def describe(self) -> Description:
        """The file's name, and a hash of its content and of the settings that change answers."""
        said = self._settings.model_dump(mode="json", exclude_defaults=True, exclude=set(_NOT_IN_THE_VERSION))
        content = content_hash({"file": self._loaded.content, **said})
        labels = {self._answers.kind: self._answers.labels} if self._answers.labels else {}
        kinds = frozenset({self._answers.kind})
        return Description(f"{self._loaded.name}-{content[:16]}", kinds, labels, f"cpu, {_threads()}")

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


def _threads() -> str:
    """What the process that runs models is told (`worker`)."""
    threads = os.environ.get("OMP_NUM_THREADS", "any number of")
    return f"{threads} thread{'' if threads == '1' else 's'}"


def _portions(given: "Given", sizes: Sequence[int]) -> Iterator["Given"]:
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
