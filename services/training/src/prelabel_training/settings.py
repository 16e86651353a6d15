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
    look_seconds: Annotated[float, Field(gt=0, le=60)] = 1.0
    """A project whose examples change is looked at at most so often; a large one less, so that it takes a tenth of the
    time at most."""
    poll_seconds: Annotated[float, Field(gt=0, le=60)] = 1.0
    """How often it is looked whether a training has ended."""
    sweep_seconds: Annotated[float, Field(gt=0, le=3600)] = 15.0
    """How often every project is looked at, for what another process was told and did not live to do."""
    claim_seconds: Annotated[float, Field(ge=1, le=3600)] = 30.0
    """A training whose preparation is not heard of for so long is prepared by another process."""
    stop_seconds: Annotated[float, Field(gt=0, le=3600)] = 60.0
    """After which the trainer of a cancelled training has surely stopped, also if it is never heard of again."""
    ask_seconds: Annotated[float, Field(ge=0, le=60)] = 10.0
    """How long somebody who asks for a training waits for the decision before they are told to look later."""
    announce_seconds: Annotated[float, Field(gt=0, le=600)] = 5.0
    """How often it is looked whether everybody knows what serves."""
    retention_seconds: Annotated[float, Field(ge=1, le=86_400 * 7)] = 3600.0
    """How often artifacts that nobody needs are looked for."""
    grace_hours: Annotated[float, Field(ge=0, le=24 * 365)] = 24.0
    """An artifact that was written since stays, whatever else."""
    leases_held: Annotated[int, Field(ge=1, le=1000)] = 200
    """Tasks of a project that one annotator may hold at once; answered ones do not count."""
    repredict_queue: Annotated[int, Field(ge=1, le=100_000)] = 200
    """Requests that wait in a provider's bulk lane at most because open tasks are asked again after a promotion."""
    repredict_seconds: Annotated[float, Field(gt=0, le=60)] = 0.5
    """How often it is looked whether more can be asked."""
    overlooked_seconds: Annotated[float, Field(gt=0, le=86_400)] = 120.0
    """A version that nobody has judged so long after its training is told of again: three times, each after twice as
    long."""
