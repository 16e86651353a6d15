"""Training, as a table."""

from prelabel_contract import names
from prelabel_contract.events import (
    AnnotationDeleted,
    AnnotationSubmitted,
    AnnotationUpdated,
    ModelServing,
    ProjectChanged,
    SuggestionAccepted,
    SuggestionCorrected,
    SuggestionRejected,
    TaskDeleted,
)
from prelabel_provider.models.settings import ModelsSettings
from prelabel_runtime.run import Runtime
from prelabel_runtime.service import Batching, Service, Subscription
from prelabel_runtime.tables import Table

from . import api_leases, api_quality
from .handlers import Learner
from .leases.forgetting import Forgetting
from .leases.lending import Lending
from .quality.verdicts import Verdicts
from .registry import serving
from .settings import TrainingSettings
from .triggers import starting


def build(runtime: Runtime, settings: TrainingSettings, kept: ModelsSettings) -> Service:
    """What listens to annotators, and decides which model serves. `kept`: where models are."""
    verdicts = Verdicts(runtime.store.documents)
    projects = Table(runtime.bus, names.PROJECTS, ProjectChanged, rng=runtime.rng)
    models = Table(runtime.bus, names.MODELS, ModelServing, rng=runtime.rng)
    workspaces = kept.workspaces(runtime.random_bytes)
    gate = serving.wired(runtime, settings, kept, projects, models, workspaces)
    begins = starting.wired(runtime, settings, projects, workspaces)
    learner = Learner(runtime.store.examples, verdicts, begins.hearing, begins.triggering.wake)
    lending = Lending.of(runtime, most=settings.leases_held)
    forgetting = Forgetting(runtime.store.documents, lending.leases, runtime.clock)
    leases = api_leases.routes(lending, projects, gate.curves.points)
    return Service(
        name="training",
        routers=(*begins.routers, api_quality.wired(runtime, projects), leases, *gate.routers),
        parts=(projects, models, *begins.parts, *gate.parts, forgetting),
        subscriptions=(
            Subscription(
                group="training",
                topics=(names.ANNOTATIONS, names.TASKS),
                batching=Batching(records=settings.records, linger=0.05, pace=0.25),
                on={
                    AnnotationSubmitted: learner.annotations,
                    AnnotationUpdated: learner.annotations,
                    AnnotationDeleted: learner.annotations,
                    TaskDeleted: lending.leases.forgetting(learner.tasks_deleted),
                    **dict.fromkeys(
                        (SuggestionAccepted, SuggestionCorrected, SuggestionRejected), learner.verdicts.told
                    ),
                },
            ),
            *gate.subscriptions,
        ),
    )
