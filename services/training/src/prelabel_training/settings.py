"""Training's settings."""

from typing import Annotated

from prelabel_runtime.settings import Frozen
from pydantic import Field
from pydantic_settings import SettingsConfigDict


class TrainingSettings(Frozen):
    """How annotations become examples."""

    model_config = SettingsConfigDict(env_prefix="PRELABEL_TRAINING_")

    records: Annotated[int, Field(ge=1, le=5000)] = 256
    """Annotations taken at once."""
