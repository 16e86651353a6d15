"""Ingestion, as a table."""

from collections.abc import Callable, Mapping

from prelabel_contract import names
from prelabel_contract.events import (
    PUBLIC,
    EventData,
    InboundAnnotation,
    InboundTask,
    RunOpened,
    RunSealed,
    TaskDeleted,
    TaskSubmitted,
)
from prelabel_contract.names import LANE_HEADERS, Lane
from prelabel_runtime.bus.base import Record
from prelabel_runtime.clock import Clock
from prelabel_runtime.run import Runtime
from prelabel_runtime.service import Batching, Handler, Service, Subscription, each

from . import api
from .doors import Doors
from .handlers import Dispatcher, InboundDoor
from .precedence import Apart, after_everybody, in_portions
from .replies import Replies
from .settings import IngestionSettings
from .shares import Shares
from .sweeping import Sweeper
from .tables import Tables

INTERACTIVE_RECORDS = 64
"""Interactive tasks that are dispatched together: none waits long for those before it."""
BACKFILL_RECORDS = 128
"""Tasks of the backfill lane: what is read and written of them at once has the event loop to itself."""
_INTERACTIVE, _BACKFILL = LANE_HEADERS[Lane.INTERACTIVE], LANE_HEADERS[Lane.BACKFILL]
_LANES = (Lane.BULK, Lane.INTERACTIVE, Lane.BACKFILL)
_DELETED = ("ce_type", TaskDeleted.TYPE.encode())


def build(runtime: Runtime, settings: IngestionSettings) -> Service:
    """The doors and the dispatcher."""
    tables = Tables.on(runtime.bus, runtime.rng)
    shares = Shares(settings.share, settings.shares, runtime.clock.monotonic, runtime.metrics)
    dispatcher = Dispatcher(
        tables.projects, tables.configs, runtime.store.submissions, runtime.blobs, runtime.clock, shares
    )
    apart = Apart(dispatcher.tasks)
    replies = Replies(runtime.bus, runtime.rng)
    doors = Doors(runtime, tables, dispatcher, replies, settings)
    sweeper = Sweeper(runtime.blobs, runtime.store.submissions, runtime.clock, days=settings.sweep_days)
    inbound = [InboundDoor(name, source, dispatcher) for name, source in settings.inbound.items()]
    return Service(
        name="ingestion",
        routers=(api.routes(doors),),
        parts=(tables.projects, tables.configs, tables.providers, tables.trainers, replies, sweeper),
        subscriptions=(
            *(
                _dispatching(dispatcher, apart, lane, settings, runtime.clock)
                for lane in (Lane.BULK, Lane.INTERACTIVE, Lane.BACKFILL)
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


def _dispatching(
    dispatcher: Dispatcher, apart: Apart, lane: Lane, settings: IngestionSettings, clock: Clock
) -> Subscription:
    """One lane's part of `submitted`: a group of its own, so that nobody waits for another lane to be dispatched."""
    many = Batching(records=settings.dispatch_records, linger=0.005)
    few = Batching(records=INTERACTIVE_RECORDS, linger=0.0)
    some = Batching(records=min(BACKFILL_RECORDS, settings.dispatch_records), linger=0.005)
    by_lane: Mapping[Lane, Handler] = {
        Lane.INTERACTIVE: apart,
        Lane.BULK: in_portions(apart),
        Lane.BACKFILL: after_everybody(apart, clock.monotonic),
    }
    tasks = by_lane[lane]
    on: Mapping[type[EventData], Handler] = {
        TaskSubmitted: tasks,
        RunOpened: each(dispatcher.run_opened),
        RunSealed: each(dispatcher.run_sealed),
        TaskDeleted: each(dispatcher.task_deleted),
    }
    return Subscription(
        group=names.dispatcher_group(lane),
        topics=(names.SUBMITTED,),
        batching={Lane.INTERACTIVE: few, Lane.BULK: many, Lane.BACKFILL: some}[lane],
        only=_of_no_other_lane if lane is Lane.BULK else _of(lane),
        on=on if lane is Lane.BULK else {TaskSubmitted: tasks, TaskDeleted: each(dispatcher.deletion_noted)},
    )


def _of_no_other_lane(record: Record) -> bool:
    headers = record.headers
    return _INTERACTIVE not in headers and _BACKFILL not in headers


def _of(lane: Lane) -> Callable[[Record], bool]:
    """A lane's tasks, and what ends a task of any lane."""
    header = LANE_HEADERS[lane]
    return lambda record: header in record.headers or _DELETED in record.headers
