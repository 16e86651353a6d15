"""Where models are kept: the same for whoever trains, judges and serves them."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from prelabel_runtime.settings import Frozen
from pydantic import Field
from pydantic_settings import SettingsConfigDict

from .store import Models
from .workspace import Workspaces

_MIB = 1 << 20


class ModelsSettings(Frozen):
    """Where trained models are kept, and how many."""

    model_config = SettingsConfigDict(env_prefix="PRELABEL_")

    models: str = "data/models"
    """Where trained models are kept, the same for all services: a folder, or s3://, gs://, abfs://.

    Each of the three needs a driver package and finds its credentials itself."""
    models_cache: Path = Path("data/models-cache")
    """A folder of this machine, ours alone: the models that are used here."""
    models_quota_mib: Annotated[int, Field(ge=1)] | None = None
    """What is kept there may have so many MiB; then nothing more is published until something goes. Unlimited unless
    set."""
    models_keep: Annotated[int, Field(ge=1)] = 5
    """Versions kept of each model, the newest first, beside what serves."""

    def store(self, random_bytes: Callable[[int], bytes] = os.urandom) -> Models:
        """The model store. Opens nothing yet; raises `Refused` for a place that we cannot use."""
        quota = None if self.models_quota_mib is None else self.models_quota_mib * _MIB
        return Models(self.models, self.models_cache.absolute(), quota=quota, random_bytes=random_bytes)

    def workspaces(self, random_bytes: Callable[[int], bytes] = os.urandom) -> Workspaces:
        """Where trainings have their files. Opens nothing yet; raises `Refused` for a place that we cannot use."""
        return Workspaces(self.models, random_bytes=random_bytes)
