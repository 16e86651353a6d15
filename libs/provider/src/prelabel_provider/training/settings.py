"""Settings of the trainer role, the same for every provider."""

from typing import Annotated

from prelabel_runtime.settings import Frozen
from pydantic import Field
from pydantic_settings import SettingsConfigDict


class TrainerRoleSettings(Frozen):
    """How trainings are done, and what they may use. What a training may take its project says (`training`)."""

    model_config = SettingsConfigDict(env_prefix="PRELABEL_TRAINER_")

    at_once: Annotated[int, Field(ge=1, le=64)] = 1
    """Trainings that one process does at the same time."""
    threads: Annotated[int, Field(ge=1)] = 1
    """Threads of a training's numerical libraries."""
    memory_mib: Annotated[int, Field(ge=64)] | None = None
    """Memory of a training's process, in MiB, at most; a project may want less. Unlimited unless set."""
    nice: Annotated[int, Field(ge=0, le=19)] = 10
    """How far training stands back where processors are short: 0 not at all, 19 as far as can be."""
    attempts: Annotated[int, Field(ge=1, le=100)] = 3
    """How often a training is begun whose process, or whose trainer, dies; then it has failed."""
    lease_seconds: Annotated[float, Field(ge=1, le=3600)] = 30.0
    """A trainer that is not heard of for so long is dead, and another goes on with its training."""
    renew_seconds: Annotated[float, Field(ge=0.1, le=600)] = 3.0
    """How often a trainer says that it lives, and looks whether the training was cancelled: a tenth of the lease."""
    look_seconds: Annotated[float, Field(ge=0.1, le=3600)] = 10.0
    """How often it looks for trainings that a dead trainer left."""
    start_seconds: Annotated[float, Field(gt=0)] = 120.0
    """To start a training's process."""
    evaluate_seconds: Annotated[float, Field(gt=0)] = 21_600.0
    """For a version, or what serves, to answer the hold-out; a training that waits longer has failed."""
    heartbeat_seconds: Annotated[float, Field(ge=1, le=3600)] = 20.0
    """How often a trainer announces itself."""
