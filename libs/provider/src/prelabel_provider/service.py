"""Inference, as a table: one provider, its lanes, its worker."""

import socket
from collections.abc import Mapping
from dataclasses import replace

from prelabel_contract import names
from prelabel_contract.events import ConfigPublished, PredictionRequested
from prelabel_contract.names import Lane
from prelabel_runtime.run import Runtime
from prelabel_runtime.service import Batching, Service, Subscription
from prelabel_runtime.tables import Table

from .announced import Announced
from .catalog import Catalog
from .inference import Inference
from .models.settings import ModelsSettings
from .predictor import Predictor
from .remote.settings import RemoteSettings
from .serving.served import Versions
from .serving.serving import Serving
from .serving.swap import Beside, InPlace, Swap
from .settings import InferenceSettings
from .weight import LARGE, weight
from .worker.worker import ModelWorker
from .worth import Worth

_SWAPS: Mapping[str, type[Swap]] = {"beside": Beside, "in_place": InPlace}


def build(runtime: Runtime, provider: str, settings: InferenceSettings, kept: ModelsSettings) -> Service:
    """One provider's inference. `kept`: where trained models are."""
    predictor, remote = _predictor(runtime, provider, settings)
    configs = Table(runtime.bus, names.CONFIGS, ConfigPublished, rng=runtime.rng)
    serving = _serving(runtime, provider, settings, kept, predictor, configs)
    inference = Inference(
        provider,
        predictor,
        configs,
        runtime.blobs,
        runtime.clock,
        runtime.metrics,
        versions=Versions() if serving is None else serving.versions,
    )
    return Service(
        name=f"inference-{provider}",
        parts=(
            configs,
            *(() if serving is None else (serving,)),
            Announced(
                predictor,
                runtime.bus,
                runtime.clock,
                runtime.new_id,
                every=settings.heartbeat_seconds,
                trains=Catalog(settings.environments).trains(provider),
            ),
        ),
        subscriptions=tuple(
            Subscription(
                group=names.inference_group(provider, lane),
                topics=(names.requests(provider, lane),),
                batching=_batching(lane, settings, inference.worth) if remote is None else _calling(lane, remote),
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
    from .remote.build import caller  # what calls over HTTP takes long to import, and most models are here

    remote = RemoteSettings()
    return caller(runtime, point.load(), remote), remote


def _serving(
    runtime: Runtime,
    provider: str,
    settings: InferenceSettings,
    kept: ModelsSettings,
    predictor: Predictor,
    configs: Table[ConfigPublished],
) -> Serving | None:
    """What follows the serving pointers, where models live here: none is trained for a service that is called."""
    if not isinstance(predictor, ModelWorker):
        return None
    return Serving(
        runtime,
        _SWAPS[settings.swap](predictor, settings.models, settings.canary_seconds),
        kept.store(runtime.random_bytes),
        configs,
        provider=provider,
        host=runtime.settings.instance or socket.gethostname(),
        again_seconds=settings.refused_seconds,
    )


def _calling(lane: Lane, remote: RemoteSettings) -> Batching:
    linger = 0.0 if lane is Lane.INTERACTIVE else 0.01
    return Batching(remote.records, linger=linger, ahead=remote.ahead, weigh=weight, alone=LARGE)


def _batching(lane: Lane, settings: InferenceSettings, worth: Worth) -> Batching:
    bounds = Batching(settings.records, bytes=settings.batch_bytes, weigh=weight, alone=LARGE)
    if lane is Lane.INTERACTIVE:
        return replace(bounds, records=settings.interactive_records, linger=0.0, ahead=2)
    return replace(bounds, linger=settings.linger, ahead=settings.ahead, worth=worth)
