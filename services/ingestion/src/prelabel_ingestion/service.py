"""Ingestion, as a table."""

from prelabel_contract import names
from prelabel_contract.events import (
    PUBLIC,
    InboundAnnotation,
    InboundTask,
    RunOpened,
    RunSealed,
    TaskDeleted,
    TaskSubmitted,
)
from prelabel_runtime.run import Runtime
from prelabel_runtime.service import Batching, Service, Subscription, each

from . import api
from .doors import Doors
from .handlers import Dispatcher, InboundDoor
from .replies import Replies
from .settings import IngestionSettings
from .sweeping import Sweeper
from .tables import Tables


def build(runtime: Runtime, settings: IngestionSettings) -> Service:
    """The doors and the dispatcher."""
    tables = Tables.on(runtime.bus, runtime.rng)
    dispatcher = Dispatcher(tables.projects, tables.configs, runtime.store.submissions, runtime.blobs, runtime.clock)
    replies = Replies(runtime.bus, runtime.rng)
    doors = Doors(runtime, tables, dispatcher, replies, settings)
    sweeper = Sweeper(runtime.blobs, runtime.store.submissions, runtime.clock, days=settings.sweep_days)
    inbound = [InboundDoor(name, source, dispatcher) for name, source in settings.inbound.items()]
    return Service(
        name="ingestion",
        routers=(api.routes(doors),),
        parts=(tables.projects, tables.configs, tables.providers, replies, sweeper),
        subscriptions=(
            Subscription(
                group="dispatcher",
                topics=(names.SUBMITTED,),
                batching=Batching(records=settings.dispatch_records, linger=0.005),
                on={
                    TaskSubmitted: dispatcher.tasks,
                    RunOpened: each(dispatcher.run_opened),
                    RunSealed: each(dispatcher.run_sealed),
                    TaskDeleted: each(dispatcher.task_deleted),
                },
            ),
            *(
                Subscription(
                    group=f"inbound-{door.name}",
                    topics=(names.inbound(door.name),),
                    types=PUBLIC,
                    on={InboundTask: each(door.task), InboundAnnotation: each(door.annotation)},
                    dead_letters_in_a_row=None,
                )
                for door in inbound
            ),
        ),
    )
