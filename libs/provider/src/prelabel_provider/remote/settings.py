"""Settings of calling, the same for every remote provider."""

from typing import Annotated

from prelabel_runtime.settings import Frozen
from pydantic import Field
from pydantic_settings import SettingsConfigDict


class RemoteSettings(Frozen):
    """How many tasks are on their way to targets, and how long one may be gone."""

    model_config = SettingsConfigDict(env_prefix="PRELABEL_REMOTE_", allow_inf_nan=False)

    records: Annotated[int, Field(ge=1, le=5000)] = 16
    """Requests in one batch."""
    ahead: Annotated[int, Field(ge=1, le=1000)] = 16
    """Batches of a lane at once. `records` times this many tasks of a lane are under way or wait for their turn.

    They are what a crash may make to be asked again, and what must be answered before a partition can move."""
    patience_seconds: Annotated[float, Field(ge=0)] = 120.0
    """A target that answers nobody for so long fails its tasks; until then its lanes wait with it."""
    answer_bytes: Annotated[int, Field(ge=1024)] = 8 * 1024 * 1024
    """An answer of a target is at most so long."""
