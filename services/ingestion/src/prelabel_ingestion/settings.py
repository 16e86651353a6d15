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


class Share(BaseModel):
    """What a project may send into the bulk lane; what is beyond it goes into backfill."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tasks: Annotated[int, Field(ge=0)] = 2_000
    """At once."""
    per_second: Annotated[float, Field(gt=0)] = 20.0
    """And so many more with every second."""


class IngestionSettings(Frozen):
    """What the doors accept."""

    model_config = SettingsConfigDict(env_prefix="PRELABEL_INGESTION_")

    inbound: dict[Slug, Source] = Field(default_factory=dict)
    """Inbound topics to read, as JSON: {"crm": {"projects": ["mails"]}} reads prelabel.inbound.crm."""
    wait_seconds: Annotated[float, Field(ge=0, le=60)] = 10.0
    """How long an interactive prediction is waited for unless "Prefer: wait=N" says otherwise."""
    sweep_days: Annotated[float, Field(ge=0, le=3650)] = 30.0
    """Blobs of tasks that were never submitted, or are deleted, go when they are so old; 0: they stay."""
    share: Share = Share()
    """What each project may send into the bulk lane, as JSON: {"tasks": 2000, "per_second": 20}. What is beyond it goes
    into backfill, which is served at full speed where nothing else waits."""
    shares: dict[Slug, Share] = Field(default_factory=dict)
    """Single projects' shares, as JSON: {"mails": {"tasks": 50000, "per_second": 500}}."""
    dispatch_records: Annotated[int, Field(ge=1, le=5000)] = 500
    """Tasks the dispatcher handles at once."""
