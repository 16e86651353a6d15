"""The trigger's part of the training service: what there is to learn, when a training starts, and routes."""

from dataclasses import dataclass

from fastapi import APIRouter
from prelabel_contract import names
from prelabel_contract.events import ProjectChanged, TrainerAnnounced
from prelabel_provider.models.workspace import Workspaces
from prelabel_runtime.run import Runtime
from prelabel_runtime.service import Part
from prelabel_runtime.tables import Table

from .. import api, api_trainings
from ..examples.counting import Counting
from ..examples.heard import Hearing
from ..examples.shares import Shares
from ..examples.survey import Survey
from ..registry.registry import Registry
from ..settings import TrainingSettings
from .asking import Asking
from .preparing import Preparing
from .states import States
from .trainers import Trainers
from .trigger import Trigger
from .triggering import Triggering


@dataclass(frozen=True, slots=True)
class Starting:
    """What a service runs, and what its listener tells."""

    hearing: Hearing
    triggering: Triggering
    trigger: Trigger
    counting: Counting
    asking: Asking
    trainers: Table[TrainerAnnounced]
    routers: tuple[APIRouter, ...]
    parts: tuple[Part, ...]


def wired(
    runtime: Runtime, settings: TrainingSettings, projects: Table[ProjectChanged], workspaces: Workspaces
) -> Starting:
    """All of it."""
    documents, clock = runtime.store.documents, runtime.clock
    hearing, states, shares = Hearing(documents), States(documents), Shares(documents, clock)
    survey = Survey(runtime.store, shares)
    preparing = Preparing(
        runtime.store,
        runtime.blobs,
        workspaces,
        hearing,
        shares,
        Registry.of(documents, runtime.bus, clock),
        clock,
        runtime.metrics,
    )
    table = Table(runtime.bus, names.PROVIDERS, TrainerAnnounced, rng=runtime.rng)
    trainers = Trainers(table)
    trigger = Trigger(
        bus=runtime.bus,
        clock=clock,
        metrics=runtime.metrics,
        settings=settings,
        projects=projects,
        trainers=trainers,
        states=states,
        hearing=hearing,
        survey=survey,
        preparing=preparing,
        holder=runtime.new_id(),
    )
    triggering = Triggering(trigger, states, projects, settings, clock, runtime.metrics)
    asking = Asking(documents, preparing.trainings, states, trigger, triggering, trainers, settings, clock)
    counting = Counting(runtime.store, survey, shares, states, trainers, clock)
    return Starting(
        hearing=hearing,
        triggering=triggering,
        trigger=trigger,
        counting=counting,
        asking=asking,
        trainers=table,
        routers=(api.routes(counting, projects), api_trainings.routes(asking, projects)),
        parts=(table, triggering),
    )
