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
from prelabel_contract.names import LANE_HEADERS, Lane
from prelabel_runtime.bus.base import Record
from prelabel_runtime.run import Runtime
from prelabel_runtime.service import Batching, Service, Subscription, each

from . import api
from .doors import Doors
from .handlers import Dispatcher, InboundDoor
from .replies import Replies
from .settings import IngestionSettings
from .shares import Shares
from .sweeping import Sweeper
from .tables import Tables

INTERACTIVE_RECORDS = 64
"""Interactive tasks that are dispatched together: none waits long for those before it."""
_INTERACTIVE, _BACKFILL = LANE_HEADERS[Lane.INTERACTIVE], LANE_HEADERS[Lane.BACKFILL]
_DELETED = ("ce_type", TaskDeleted.TYPE.encode())


def build(runtime: Runtime, settings: IngestionSettings) -> Service:
    """The doors and the dispatcher."""
    tables = Tables.on(runtime.bus, runtime.rng)
    shares = Shares(settings.share, settings.shares, runtime.clock.monotonic, runtime.metrics)
    dispatcher = Dispatcher(
        tables.projects, tables.configs, runtime.store.submissions, runtime.blobs, runtime.clock, shares
    )
    replies = Replies(runtime.bus, runtime.rng)
    doors = Doors(runtime, tables, dispatcher, replies, settings)
    sweeper = Sweeper(runtime.blobs, runtime.store.submissions, runtime.clock, days=settings.sweep_days)
    inbound = [InboundDoor(name, source, dispatcher) for name, source in settings.inbound.items()]
    return Service(
        name="ingestion",
        routers=(api.routes(doors),),
        parts=(tables.projects, tables.configs, tables.providers, replies, sweeper),
        subscriptions=(
            *(_dispatching(dispatcher, lane, settings) for lane in (Lane.BULK, Lane.INTERACTIVE, Lane.BACKFILL)),
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


def _dispatching(dispatcher: Dispatcher, lane: Lane, settings: IngestionSettings) -> Subscription:
    """One lane's share of `submitted`: a group of its own, so that nobody waits for another lane to be dispatched."""
    if lane is Lane.BULK:
        return Subscription(
            group=names.dispatcher_group(lane),
            topics=(names.SUBMITTED,),
            batching=Batching(records=settings.dispatch_records, linger=0.005),
            only=_is_of_no_other_lane,
            on={
                TaskSubmitted: dispatcher.tasks,
                RunOpened: each(dispatcher.run_opened),
                RunSealed: each(dispatcher.run_sealed),
                TaskDeleted: each(dispatcher.task_deleted),
            },
        )
    header = LANE_HEADERS[lane]
    urgent = lane is Lane.INTERACTIVE
    return Subscription(
        group=names.dispatcher_group(lane),
        topics=(names.SUBMITTED,),
        batching=Batching(records=INTERACTIVE_RECORDS, linger=0.0)
        if urgent
        else Batching(records=settings.dispatch_records, linger=0.005),
        only=lambda record: header in record.headers or _DELETED in record.headers,
        on={TaskSubmitted: dispatcher.tasks, TaskDeleted: each(dispatcher.deletion_noted)},
    )


def _is_of_no_other_lane(record: Record) -> bool:
    headers = record.headers
    return _INTERACTIVE not in headers and _BACKFILL not in headers
