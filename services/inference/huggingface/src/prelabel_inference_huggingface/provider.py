"""Transformers models as a provider: spans, choices and texts."""

from collections.abc import Sequence
from typing import Self

from prelabel_contract.names import content_hash
from prelabel_provider.base import BatchShape, Description, Failed, Input, Prediction, Provider

from . import engines
from .choices import TextClassification, ZeroShot
from .engines import About
from .generation import TextGeneration
from .saved import Saved, find
from .settings import HuggingFaceSettings
from .spans import TokenClassification
from .tasks import Task
from .tokens import Tokens

_ANSWERS = {
    *("task", "aggregation", "choices", "least", "labels", "hypothesis", "prompt", "new_tokens"),
    *("max_tokens", "overlap", "long_texts"),
}
"""The settings that answers depend on."""


class HuggingFaceProvider(Provider[HuggingFaceSettings]):
    """Runs texts through a transformers model."""

    name = "huggingface"
    kinds = frozenset({"span", "choice", "text"})
    Settings = HuggingFaceSettings
    batch = BatchShape(records=64, size=16_384)  # characters: an encoder of the usual size takes a second for it

    def __init__(self, settings: HuggingFaceSettings, task: Task, version: str, runs_on: str) -> None:
        self._settings = settings
        self._task = task
        self._version = version
        self._runs_on = runs_on

    @classmethod
    def load(cls, settings: HuggingFaceSettings) -> Self:
        """Load a model. Raises `BadSettings` for what is none, is none for this task, or must not be loaded."""
        saved = find(settings)
        if settings.task is None:
            settings = settings.model_copy(update={"task": saved.task})
        task, about, content = _loaded(saved, Tokens.load(saved, settings), settings)
        version = f"{saved.name}+{content[:16]}/{about.engine}-{about.precision}"
        return cls(settings, task, version, f"{about.device}, {about.engine}, {about.precision}")

    def describe(self) -> Description:
        """The model's name, a hash of its files and of what the settings make of it, engine and precision."""
        kinds = frozenset({self._task.kind})
        return Description(self._version, kinds, self._task.described(), self._runs_on)

    def predict(self, batch: Sequence[Input]) -> Sequence[Prediction]:
        """Run the batch's texts through the model together."""
        unfit = [self._unfit(one) for one in batch]
        said = iter(self._task.predict([one.text for one, why in zip(batch, unfit, strict=True) if why is None]))
        return [next(said) if why is None else why for why in unfit]

    def _unfit(self, one: Input) -> Failed | None:
        try:
            text = one.text
            text.encode()
        except ValueError as error:
            return Failed("input", "the text is no Unicode" if isinstance(error, UnicodeError) else str(error))
        if len(text) > self._settings.max_length:
            return Failed("too_long", f"{len(text)} characters, the limit is {self._settings.max_length}")
        return None


def _loaded(saved: Saved, tokens: Tokens, settings: HuggingFaceSettings) -> tuple[Task, About, str]:
    runs: engines.Runs
    task: Task
    if settings.task == "text-generation":
        runs = writer = engines.writer(saved, settings)
        task = TextGeneration(saved, tokens, writer, settings)
    else:
        runs = engine = engines.load(saved, settings)
        task = _reader(settings.task or saved.task)(saved, tokens, engine, settings)
    answers = settings.model_dump(mode="json", include=_ANSWERS)
    usual = settings.uncertainty is type(settings).model_fields["uncertainty"].default  # versions keep their names
    said = content_hash(answers if usual else {**answers, "uncertainty": settings.uncertainty.value}).encode()
    return task, runs.about, saved.content(runs.files, said)


def _reader(task: str) -> type[TokenClassification | TextClassification | ZeroShot]:
    match task:
        case "token-classification":
            return TokenClassification
        case "text-classification":
            return TextClassification
        case _:
            return ZeroShot
