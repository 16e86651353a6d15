"""Settings of inference, the same for every provider."""

from typing import Annotated, Literal

from prelabel_contract.base import Slug
from prelabel_contract.names import Lane
from prelabel_runtime.settings import Frozen
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_settings import SettingsConfigDict

from .lanes import WEIGHTS
from .worker.worker import WorkerLimits


def _once(lanes: tuple[Lane, ...]) -> tuple[Lane, ...]:
    """Raises ValueError."""
    if len(set(lanes)) < len(lanes):
        raise ValueError("a lane is named twice")
    return lanes


class Weights(BaseModel):
    """How bulk and backfill share a model where both have work."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    bulk: Annotated[float, Field(gt=0)] = WEIGHTS[Lane.BULK]
    backfill: Annotated[float, Field(gt=0)] = WEIGHTS[Lane.BACKFILL]


class InferenceSettings(Frozen):
    """How requests become batches, and what the model's process may use."""

    model_config = SettingsConfigDict(env_prefix="PRELABEL_INFERENCE_", allow_inf_nan=False)

    lanes: Annotated[tuple[Lane, ...], Field(min_length=1), AfterValidator(_once)] = (
        Lane.INTERACTIVE,
        Lane.BULK,
        Lane.BACKFILL,
    )
    """The lanes this process serves, as JSON: ["interactive"]. Urgent ones go first."""
    weights: Weights = Weights()
    """How lanes share a model where both have work, as JSON: {"bulk": 6, "backfill": 1} slows bulk by a sixth."""
    records: Annotated[int, Field(ge=1, le=5000)] = 1000
    """Requests in one batch of the bulk and backfill lanes, at most: a batch is what keeps the model busy for half a
    second, but 64 at least. How many of them the model gets at once its provider says."""
    batch_bytes: Annotated[int, Field(ge=1 << 16)] = 16 << 20
    """Bytes in one batch, with the data that lies in the blob store, unless it is one request: times `ahead` and the
    lanes, what waits for the model in memory. A request of more than 1 MB is a batch by itself."""
    linger: Annotated[float, Field(ge=0, le=10)] = 0.02
    """Seconds that a bulk batch waits to fill up."""
    interactive_records: Annotated[int, Field(ge=1, le=5000)] = 32
    """Requests in one batch of the interactive lane, which waits for nothing."""
    start_seconds: Annotated[float, Field(gt=0)] = 120.0
    """To start the model's process, and to load a model, each."""
    ahead: Annotated[int, Field(ge=1, le=64)] = 4
    """Batches of a lane under way at once: one that the model is at, one that is ready in its process, one that waits
    for its turn, one that is being published."""
    batch_seconds: Annotated[float, Field(gt=0)] = 300.0
    """For one call of the model; one that takes longer is killed, and its inputs tried in ever smaller company."""
    memory_mib: Annotated[int, Field(ge=64, le=1 << 30)] | None = None
    """Memory of the model's process, in MiB; unlimited unless set."""
    threads: Annotated[int, Field(ge=1, le=1024)] = 1
    """Threads of the model's numerical libraries."""
    models: Annotated[int, Field(ge=1)] = 4
    """Models kept loaded at once."""
    swap: Literal["beside", "in_place"] = "beside"
    """How a new version of a model comes in. beside: in a second process, which takes over once the version answers;
    requests go on meanwhile, and there are two processes in memory. in_place: where there is no room for two;
    requests to this provider wait while it loads."""
    canary_seconds: Annotated[float, Field(gt=0)] = 30.0
    """For the last few inputs that a model answered, when a new version of it is tried before it serves."""
    refused_seconds: Annotated[float, Field(ge=1)] = 60.0
    """Until a version that could not be had or loaded is tried again: then ever more seldom, up to 60 times as long."""
    heartbeat_seconds: Annotated[float, Field(ge=1, le=3600)] = 20.0
    """How often a provider says that it runs. One that is silent for three times as long counts as gone."""
    environments: dict[Slug, str] = Field(default_factory=dict)
    """Providers that run in an environment of their own, as JSON: {"huggingface": "/path/to/venv/bin/python"}."""

    def limits(self) -> WorkerLimits:
        """What a worker may use."""
        return WorkerLimits(
            start_seconds=self.start_seconds,
            batch_seconds=self.batch_seconds,
            memory_mib=self.memory_mib,
            threads=self.threads,
            models=self.models,
            weights={Lane.BULK: self.weights.bulk, Lane.BACKFILL: self.weights.backfill},
        )
