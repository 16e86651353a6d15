"""Settings of the one-process form."""

from pathlib import Path
from typing import Annotated, ClassVar, Self

from prelabel_contract.base import Slug
from prelabel_provider.models.settings import ModelsSettings
from prelabel_runtime.settings import RuntimeSettings
from pydantic import Field, model_validator
from pydantic_settings import SettingsConfigDict

SAMPLE = "sample"
"""The id of the sample project."""
WEBHOOK_KEYS = "webhook-keys"
"""In the data folder: what encrypts the secrets of webhook endpoints."""


class AllInOneSettings(RuntimeSettings):
    """As every service's, with everything kept in one folder."""

    model_config = SettingsConfigDict(env_prefix="PRELABEL_")
    one_process: ClassVar[bool] = True

    data: Path = Path("data")
    """The folder that holds the log, the results, the key and the sample model."""
    bus: str = ""
    """The bus; empty: log.db in the data folder."""
    store: str = ""
    """The store; empty: results.db in the data folder."""
    blobs: str = ""
    """Where what is too large for an event is kept; empty: blobs in the data folder."""
    providers: tuple[Slug, ...] = ()
    """The providers to run, as JSON: ["rules", "spacy"]. Empty: all that are installed."""
    sample: bool = True
    """Set up a small sample project at the first start."""
    sample_seconds: Annotated[float, Field(ge=5, le=120)] = 15.0
    """How long the sample model is trained."""

    @model_validator(mode="after")
    def _in_folder(self) -> Self:
        folder = self.data.absolute()
        # Frozen for everybody else; here the defaults that depend on another setting are filled in.
        object.__setattr__(self, "data", folder)
        object.__setattr__(self, "bus", self.bus or f"sqlite:///{folder / 'log.db'}")
        object.__setattr__(self, "store", self.store or f"sqlite:///{folder / 'results.db'}")
        object.__setattr__(self, "blobs", self.blobs or str(folder / "blobs"))
        if self.api_key is None and self.api_key_file is None:
            object.__setattr__(self, "api_key_file", folder / "api-key")
        return self

    def models_kept(self) -> ModelsSettings:
        """Where trained models are: in the data folder, unless it is said elsewhere."""
        said = ModelsSettings()
        folders = {"models": str(self.data / "models"), "models_cache": self.data / "models-cache"}
        return said.model_copy(update={name: one for name, one in folders.items() if name not in said.model_fields_set})
