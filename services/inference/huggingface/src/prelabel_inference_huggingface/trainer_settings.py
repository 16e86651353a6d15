"""Settings of one training of a transformers model."""

from typing import Annotated

from prelabel_provider.trainer import TrainerSettings
from pydantic import Field


class HuggingFaceTrainerSettings(TrainerSettings):
    """How a model is trained further. What is set by default suits an encoder of the usual size."""

    epochs: Annotated[int, Field(ge=1, le=1000)] = 10
    """How often every example is shown, at most."""
    batch: Annotated[int, Field(ge=1, le=1024)] = 16
    """Texts, or windows of long ones, per step."""
    learn_rate: Annotated[float, Field(gt=0, le=0.1)] = 5e-5
    """The highest: it rises to it over a tenth of the steps, and falls to nothing."""
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.01
    max_tokens: Annotated[int, Field(ge=16, le=131_072)] = 256
    """That the trained model reads at once, if the base can read so many. A longer text is shown in windows where spans
    are learned; where a choice is learned, its beginning is."""
    development: Annotated[float, Field(gt=0, le=0.5)] = 0.2
    """The share of the examples that is scored instead of shown, from 20 examples on."""
    patience: Annotated[int, Field(ge=0, le=1000)] = 3
    """Epochs without a better score after which it ends, the best kept; 0: all examples are shown, in all epochs."""
    minimum: Annotated[int, Field(ge=2)] = 10
    """Examples that can be used, at least."""
    max_length: Annotated[int, Field(ge=1, le=1_000_000)] = 100_000
    """Characters. A longer text is left out."""
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d{1,2})?)$")] = "auto"
    """auto: the first GPU that torch finds, else the CPU."""
    checkpoint_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 60.0
    """Between two checkpoints, at least: a training that was killed goes on from the last."""
