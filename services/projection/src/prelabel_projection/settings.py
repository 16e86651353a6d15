"""Projection's settings."""

from typing import Annotated

from prelabel_runtime.settings import Frozen
from pydantic import Field
from pydantic_settings import SettingsConfigDict


class ProjectionSettings(Frozen):
    """How results are written and runs are followed."""

    model_config = SettingsConfigDict(env_prefix="PRELABEL_PROJECTION_")

    records: Annotated[int, Field(ge=1, le=5000)] = 500
    """Events written at once."""
    watch_seconds: Annotated[float, Field(gt=0)] = 0.5
    """How often unfinished runs are looked at."""
    unsealed_hours: Annotated[float, Field(gt=0)] = 24.0
    """An upload that was never completed fails its run after this time; the same Idempotency-Key resumes it before."""
    look_seconds: Annotated[float, Field(gt=0)] = 10.0
    """How often dead letters of groups that are new are looked for."""
    replay_rate: Annotated[float, Field(ge=0.1, le=1000)] = 50.0
    """Dead letters that a replay gives back per second, unless it says otherwise."""
    replay_lease_seconds: Annotated[float, Field(ge=1)] = 15.0
    """A replay or a rebuild whose process is not heard of for so long is taken up by another one."""
    compare_seconds: Annotated[float, Field(gt=0)] = 60.0
    """How long a rebuild waits for the live projection to catch up before it looks at what differs once more."""
