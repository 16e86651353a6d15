"""Projection, as a table."""

from prelabel_contract import names
from prelabel_contract.events import (
    AnnotationDeleted,
    AnnotationSubmitted,
    AnnotationUpdated,
    PredictionCreated,
    PredictionFailed,
    PredictionSuperseded,
    ProjectChanged,
    RunCancelled,
    RunCompleted,
    RunCreated,
    RunFailed,
    RunSealed,
    TaskAccepted,
    TaskDeleted,
    TaskRejected,
)
from prelabel_runtime.run import Runtime
from prelabel_runtime.service import Batching, Service, Subscription
from prelabel_runtime.tables import Table

from . import api
from .handlers import Projection
from .reading import Reading
from .runs import RunWatcher
from .settings import ProjectionSettings


def build(runtime: Runtime, settings: ProjectionSettings) -> Service:
    """What writes the store and reads it out."""
    projection = Projection(runtime.store)
    projects = Table(runtime.bus, names.PROJECTS, ProjectChanged, rng=runtime.rng)
    watcher = RunWatcher(runtime.store, runtime.bus, settings, runtime.clock, runtime.metrics, runtime.rng)
    return Service(
        name="projection",
        routers=(api.routes(Reading(runtime.store, runtime.blobs, projects, runtime.clock)),),
        parts=(projects, watcher),
        subscriptions=(
            Subscription(
                group="projection",
                topics=(names.TASKS, names.PREDICTIONS, names.ANNOTATIONS, names.RUNS),
                batching=Batching(records=settings.records, linger=0.02),
                on={
                    TaskAccepted: projection.tasks_accepted,
                    TaskRejected: projection.tasks_rejected,
                    TaskDeleted: projection.tasks_deleted,
                    PredictionCreated: projection.outcomes,
                    PredictionFailed: projection.outcomes,
                    PredictionSuperseded: projection.superseded,
                    AnnotationSubmitted: projection.annotations,
                    AnnotationUpdated: projection.annotations,
                    AnnotationDeleted: projection.annotations,
                    RunCreated: projection.run_created,
                    RunSealed: projection.run_sealed,
                    RunCompleted: projection.run_ended,
                    RunFailed: projection.run_ended,
                    RunCancelled: projection.run_ended,
                },
            ),
        ),
    )
