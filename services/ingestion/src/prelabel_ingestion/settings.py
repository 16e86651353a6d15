"""Ingestion's settings."""

from typing import Annotated

from prelabel_contract.base import Slug
from prelabel_contract.names import Lane
from prelabel_runtime.settings import Frozen
from pydantic import BaseModel, ConfigDict, Field
from pydantic_settings import SettingsConfigDict


class Source(BaseModel):
    """What an inbound source may do."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    projects: tuple[Slug, ...]
    """The projects it may write to."""
    lanes: tuple[Lane, ...] = (Lane.BULK, Lane.BACKFILL)
    """The lanes it may use."""


class IngestionSettings(Frozen):
    """What the doors accept."""

    model_config = SettingsConfigDict(env_prefix="PRELABEL_INGESTION_")

    inbound: dict[Slug, Source] = Field(default_factory=dict)
    """Inbound topics to read, as JSON: {"crm": {"projects": ["mails"]}} reads prelabel.inbound.crm."""
    wait_seconds: Annotated[float, Field(ge=0, le=60)] = 10.0
    """How long an interactive prediction is waited for unless "Prefer: wait=N" says otherwise."""
    sweep_days: Annotated[float, Field(ge=0, le=3650)] = 30.0
    """Blobs of tasks that were never submitted, or are deleted, go when they are so old; 0: they stay."""
    dispatch_records: Annotated[int, Field(ge=1, le=5000)] = 500
    """Tasks the dispatcher handles at once."""
