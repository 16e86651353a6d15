"""What models are for. A task turns texts into what the model reads, and what it says into regions."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from prelabel_contract.base import Name
from prelabel_provider.base import BadSettings, Failed, Prediction
from pydantic import TypeAdapter, ValidationError

_NAME: TypeAdapter[str] = TypeAdapter(Name)
NO_NUMBER = Failed("output", "the model said a number that is not finite")
"""Whatever label is the likeliest of such numbers was not said."""


class Task(ABC):
    """A loaded model with what it is for."""

    kind: str
    """Of the regions it gives."""
    labels: tuple[str, ...] | None
    """What it may say; None: anything."""

    @abstractmethod
    def predict(self, texts: Sequence[str]) -> Sequence[Prediction]:
        """One prediction per text, in order."""

    def described(self) -> Mapping[str, tuple[str, ...]]:
        """The labels by kind."""
        return {} if self.labels is None else {self.kind: self.labels}


def checked(labels: Sequence[str]) -> tuple[str, ...]:
    """Labels as regions can carry them, once each. Raises `BadSettings`."""
    for label in labels:
        try:
            _NAME.validate_python(label)
        except ValidationError as error:
            raise BadSettings(f"the model's label {label[:50]!r} is none: {error.errors()[0]['msg']}") from error
    return tuple(dict.fromkeys(labels))
