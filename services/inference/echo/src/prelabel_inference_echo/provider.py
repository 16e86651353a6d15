"""A model that says what it is told: for trying a pipeline, and the template of a provider."""

from collections.abc import Sequence
from importlib.metadata import version
from typing import Self

from prelabel_contract.names import content_hash
from prelabel_contract.regions import KINDS, REGIONS
from prelabel_provider.base import Description, Failed, Input, Predicted, Prediction, Provider
from pydantic import ValidationError

from .settings import EchoSettings


class EchoProvider(Provider[EchoSettings]):
    """Answers with the regions of its settings and of its input."""

    name = "echo"
    kinds = KINDS
    Settings = EchoSettings

    def __init__(self, settings: EchoSettings) -> None:
        self._settings = settings

    @classmethod
    def load(cls, settings: EchoSettings) -> Self:
        """There is nothing to load."""
        return cls(settings)

    def describe(self) -> Description:
        """The package's version, and a hash of what it says."""
        content = content_hash(self._settings.model_dump(mode="json"))
        return Description(f"echo-{version('prelabel-inference-echo')}+{content[:16]}", self.kinds)

    def predict(self, batch: Sequence[Input]) -> list[Prediction]:
        """One answer per input."""
        return [self._answer(one) for one in batch]

    def _answer(self, one: Input) -> Prediction:
        try:
            told = REGIONS.validate_python(one.data.get(self._settings.key) or ())
        except ValidationError as error:
            return Failed("input", f"{self._settings.key!r} holds no regions: {error.error_count()} errors")
        return Predicted(self._settings.regions + told)
