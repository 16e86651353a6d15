"""Training, as a table."""

from prelabel_contract import names
from prelabel_contract.events import (
    AnnotationDeleted,
    AnnotationSubmitted,
    AnnotationUpdated,
    ProjectChanged,
    SuggestionAccepted,
    SuggestionCorrected,
    SuggestionRejected,
    TaskDeleted,
)
from prelabel_runtime.run import Runtime
from prelabel_runtime.service import Batching, Service, Subscription
from prelabel_runtime.tables import Table

from . import api
from .handlers import Learner
from .settings import TrainingSettings
from .verdicts import Verdicts


def build(runtime: Runtime, settings: TrainingSettings) -> Service:
    """What listens to annotators."""
    learner = Learner(runtime.store.examples, Verdicts(runtime.store.documents))
    projects = Table(runtime.bus, names.PROJECTS, ProjectChanged, rng=runtime.rng)
    return Service(
        name="training",
        routers=(api.routes(runtime, projects),),
        parts=(projects,),
        subscriptions=(
            Subscription(
                group="training",
                topics=(names.ANNOTATIONS, names.TASKS),
                batching=Batching(records=settings.records, linger=0.05, pace=0.25),
                on={
                    AnnotationSubmitted: learner.annotations,
                    AnnotationUpdated: learner.annotations,
                    AnnotationDeleted: learner.annotations,
                    TaskDeleted: learner.tasks_deleted,
                    **dict.fromkeys(
                        (SuggestionAccepted, SuggestionCorrected, SuggestionRejected), learner.verdicts.told
                    ),
                },
            ),
        ),
    )
