"""The registry's part of the training service: the gate, the pointer, what follows from a change of it, and routes."""

from collections.abc import Sequence
from dataclasses import dataclass

from fastapi import APIRouter
from prelabel_contract import names
from prelabel_contract.events import AnyEvent, Event, ModelLoaded, ModelServing, ProjectChanged
from prelabel_provider.models.settings import ModelsSettings
from prelabel_provider.models.workspace import Workspaces
from prelabel_provider.training.trainings import Trainings
from prelabel_runtime.run import Runtime
from prelabel_runtime.service import Batching, Part, Subscription, each
from prelabel_runtime.tables import Table

from .. import api_curve, api_models
from ..gate.gatekeeper import GROUP, Gatekeeper
from ..gate.overlooked import Overlooked
from ..gate.reevaluation import Reevaluations
from ..quality.verdicts import Verdicts
from ..settings import TrainingSettings
from .announcing import Announcer
from .curves import Curves
from .leftovers import Leftovers
from .loads import Loads
from .registry import Registry
from .repredict import Pace, Repredicting, Wanting
from .retention import Retention
from .versions import Versions


@dataclass(frozen=True, slots=True)
class Wired:
    """What a service runs."""

    subscriptions: tuple[Subscription, ...]
    routers: tuple[APIRouter, ...]
    parts: tuple[Part, ...]
    curves: Curves


def wired(
    runtime: Runtime,
    settings: TrainingSettings,
    kept: ModelsSettings,
    projects: Table[ProjectChanged],
    models: Table[ModelServing],
    workspaces: Workspaces,
) -> Wired:
    """All of it. `models`: what the topic says that serves."""
    documents, clock = runtime.store.documents, runtime.clock
    store = kept.store(runtime.random_bytes)
    registry, versions, loads = Registry.of(documents, runtime.bus, clock), Versions(documents), Loads(documents)
    trainings = Trainings(documents, clock)
    gate = Gatekeeper(
        trainings=trainings,
        workspaces=workspaces,
        store=runtime.store,
        versions=versions,
        registry=registry,
        reevaluations=Reevaluations(documents, trainings),
        projects=projects,
        clock=clock,
        metrics=runtime.metrics,
    )
    retention = Retention(
        runtime,
        store,
        projects,
        registry,
        versions,
        trainings,
        Leftovers(workspaces, trainings, versions),
        keep=kept.models_keep,
        every=settings.retention_seconds,
        grace=settings.grace_hours * 3600,
    )
    overlooked = Overlooked(documents, runtime.bus, projects, clock, patience=settings.overlooked_seconds)
    wanting = Wanting(documents, registry, projects)

    async def loaded(told: Event[ModelLoaded]) -> Sequence[AnyEvent]:
        await loads.loaded(told)
        return await wanting.loaded(told)

    pace = Pace(queue=settings.repredict_queue, seconds=settings.repredict_seconds)
    curves = Curves(versions)
    desk = api_models.Desk(projects, registry, versions, loads, store)
    return Wired(
        subscriptions=(
            Subscription(
                group=GROUP,
                topics=(names.LEARNING,),
                # One at a time: what takes seconds is committed when it is done, and who dies blames one record.
                batching=Batching(records=1, linger=0.0),
                on={**gate.on(), ModelLoaded: each(loaded)},
            ),
        ),
        routers=(
            api_models.routes(desk),
            api_curve.routes(desk, curves, Verdicts(documents), documents),
        ),
        curves=curves,
        parts=(
            Announcer(runtime, registry, models, overlooked, settings.announce_seconds),
            Repredicting(runtime, registry, projects, pace),
            retention,
        ),
    )
