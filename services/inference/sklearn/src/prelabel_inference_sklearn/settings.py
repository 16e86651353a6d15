"""Settings of a scikit-learn model, and what its operator allows of all of them."""

from typing import Annotated, Literal, Self

from prelabel_contract.base import Name, Score
from prelabel_provider.base import ProviderSettings
from prelabel_provider.uncertainty import Measure
from prelabel_runtime.settings import Frozen
from pydantic import Field, StringConstraints, model_validator
from pydantic_settings import SettingsConfigDict

Encoding = Literal["uint8", "float32", "float64"]
InputKind = Literal["text", "vector"]
Emit = Literal["choice", "number", "rating"]


class SklearnSettings(ProviderSettings):
    """Which model, what it reads, and how what it says becomes regions."""

    path: Annotated[str, StringConstraints(min_length=1)] | None = None
    """A file that `skops.io.dump` wrote: a classifier or a regressor, usually the last step of a pipeline. Or the
    folder of a trained version, which says itself what it reads. Empty: none before one is trained."""
    input: InputKind = "text"
    """text: the field is a text. vector: it is a list of numbers, or lists of them (a picture's rows: row by row),
    or such numbers in Base64 (see `encoding`)."""
    columns: tuple[Name, ...] = ()
    """With vector: the fields that hold one number each, in the model's order, where no single field holds all."""
    encoding: Encoding = "float32"
    """With vector: what numbers in Base64 are, little endian; a grey picture's pixels are uint8."""
    labels: tuple[Name, ...] = ()
    """Names of the classes, in the model's order: what a model that learned numbers, or columns, cannot say itself."""
    emit: Emit | None = None
    """choice for classes; number for numbers; rating for whole numbers, of both. Empty: choice or number."""
    least: Score = 0.5
    """Where several labels may be true at once: the probability from which on one is said."""
    uncertainty: Measure = Measure.MARGIN
    """What makes an answer unsure, where the model has probabilities: margin: those of the two likeliest classes are
    close; least_confidence: the likeliest class's is low; entropy: they are spread over all classes. Where several
    labels may be true at once, the most doubtful label's counts."""
    max_length: Annotated[int, Field(ge=1)] = 1_000_000
    """Characters. A longer text fails as too_long."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        given = self.model_fields_set
        wants: dict[str, tuple[str, bool]] = {
            "columns": ("input = vector", self.input == "vector"),
            "encoding": ("input = vector and no columns", self.input == "vector" and not self.columns),
            "max_length": ("input = text", self.input == "text"),
            "labels": ("emit = choice", self.emit in (None, "choice")),
        }
        for name, (what, met) in wants.items():
            if name in given and getattr(self, name) != () and not met:
                raise ValueError(f"{name} has an effect with {what} only")
        for name in ("columns", "labels"):
            if len(set(getattr(self, name))) < len(getattr(self, name)):
                raise ValueError(f"{name} names something twice")
        return self


class SklearnLimits(Frozen):
    """What the operator lets model files do. Of the process's environment: a project must not widen it."""

    model_config = SettingsConfigDict(env_prefix="PRELABEL_SKLEARN_")

    trusted: tuple[str, ...] = ()
    """Types that model files may hold beside those that skops trusts, as JSON: ["sklearn.tree._tree.Tree"].
    Decision trees and forests need that one: it is trusted with memory, so trust it to files of your own only."""
    max_mib: Annotated[int, Field(ge=1)] = 1024
    """The size of a model file and of what is packed in it, each, in MiB."""
