"""Inference, as a table: one provider, its lanes, its worker."""

from prelabel_contract import names
from prelabel_contract.events import ConfigPublished, PredictionRequested, ProviderAnnounced, event
from prelabel_contract.names import Lane
from prelabel_runtime.bus.base import Bus
from prelabel_runtime.clock import Clock
from prelabel_runtime.errors import Unavailable
from prelabel_runtime.loop import messages
from prelabel_runtime.run import Runtime
from prelabel_runtime.service import Batching, Part, Service, Subscription
from prelabel_runtime.tables import Table

from .catalog import Catalog
from .inference import Inference
from .predictor import CannotStart, Predictor
from .remote.build import caller
from .remote.settings import RemoteSettings
from .settings import InferenceSettings
from .worker import ModelWorker


class Announced(Part):
    """The models can be asked, and everybody knows what its provider can do."""

    def __init__(self, predictor: Predictor, bus: Bus, clock: Clock, new_id: str) -> None:
        self._predictor = predictor
        self._bus = bus
        self._clock = clock
        self._new_id = new_id

    async def start(self) -> None:
        """Get the models ready, and announce the provider."""
        try:
            info = await self._predictor.start()
        except CannotStart as error:
            raise Unavailable(f"the model worker: {error}") from error
        data = ProviderAnnounced(
            provider=info.name,
            package=info.package,
            kinds=tuple(sorted(info.kinds)),
            settings_schema=dict(info.settings_schema),
        )
        announced = event(data, id=self._new_id, source=f"/inference/{info.name}", time_ms=self._clock.now_ms())
        await self._bus.publish(messages([announced]))

    async def stop(self) -> None:
        """Let go of them."""
        await self._predictor.stop()


def build(runtime: Runtime, provider: str, settings: InferenceSettings) -> Service:
    """One provider's inference."""
    predictor, remote = _predictor(runtime, provider, settings)
    configs = Table(runtime.bus, names.CONFIGS, ConfigPublished, rng=runtime.rng)
    inference = Inference(provider, predictor, configs, runtime.blobs, runtime.clock, runtime.metrics)
    return Service(
        name=f"inference-{provider}",
        parts=(configs, Announced(predictor, runtime.bus, runtime.clock, runtime.new_id())),
        subscriptions=tuple(
            Subscription(
                group=names.inference_group(provider, lane),
                topics=(names.requests(provider, lane),),
                batching=_batching(lane, settings) if remote is None else _calling(lane, remote),
                on={PredictionRequested: inference.predict},
            )
            for lane in settings.lanes
        ),
    )


def _predictor(runtime: Runtime, provider: str, settings: InferenceSettings) -> tuple[Predictor, RemoteSettings | None]:
    """Where the provider's models live: with settings of calling where they are called."""
    catalog = Catalog(settings.environments)
    if (point := catalog.remote(provider)) is None:
        return ModelWorker(provider, python=catalog.python(provider), limits=settings.limits()), None
    remote = RemoteSettings()
    return caller(runtime, point.load(), remote), remote


def _calling(lane: Lane, remote: RemoteSettings) -> Batching:
    return Batching(remote.records, linger=0.0 if lane is Lane.INTERACTIVE else 0.01, ahead=remote.ahead)


def _batching(lane: Lane, settings: InferenceSettings) -> Batching:
    if lane is Lane.INTERACTIVE:
        return Batching(records=settings.interactive_records, linger=0.0, ahead=2)
    return Batching(records=settings.records, linger=settings.linger, ahead=settings.ahead)
