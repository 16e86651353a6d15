"""Projection, as a table."""

from prelabel_contract import names
from prelabel_contract.events import (
    AuditRecorded,
    DeadLetterDiscarded,
    DeadLetterReplayed,
    ProjectChanged,
    ProviderAnnounced,
    SubscriptionDisabled,
)
from prelabel_runtime.following import Following
from prelabel_runtime.run import Runtime
from prelabel_runtime.service import Batching, Service, Subscription
from prelabel_runtime.tables import Table

from . import api, api_audit, api_dead_letters, api_overview, api_rebuilds, api_suggestions, api_trace
from .activity import Activity
from .api_dead_letters import Letters
from .auditing import Auditor
from .handlers import TOPICS, Projection
from .learning import LearningSeen
from .letters import is_dead_letters
from .live import LiveGeneration
from .log_replay import GROUP
from .overview import Overview
from .reading import Reading
from .rebuilds import LETTERS, Rebuilds
from .replays import Replays
from .runs import Looks, RunWatcher
from .settings import ProjectionSettings
from .streams import Streams
from .suggestions import Suggestions
from .superseding import Superseding
from .trace import Tracing


def build(runtime: Runtime, settings: ProjectionSettings) -> Service:
    """What writes the store and reads it out."""
    projection = Projection(runtime.store)
    superseding = Superseding(runtime.store)
    auditor = Auditor(runtime.store)
    projects = Table(runtime.bus, names.PROJECTS, ProjectChanged, rng=runtime.rng)
    providers = Table(runtime.bus, names.PROVIDERS, ProviderAnnounced, rng=runtime.rng)
    suggestions = Suggestions(runtime.store, runtime.blobs, projects, providers)
    activity = Activity(runtime.clock)
    streams = Streams()
    looks = Looks(runtime.store)
    watcher = RunWatcher(runtime.store, looks, runtime.bus, settings, runtime.clock, runtime.metrics, runtime.rng)
    live = LiveGeneration(runtime.store, runtime.clock, runtime.new_id())
    replays = Replays(runtime, settings)
    rebuilds = Rebuilds(runtime, settings)
    letters = Following(
        runtime.bus,
        group=LETTERS,
        wanted=is_dead_letters,
        handle=projection.letters,
        clock=runtime.clock,
        metrics=runtime.metrics,
        rng=runtime.rng,
        look_seconds=settings.look_seconds,
    )
    reading = Reading(runtime.store, runtime.blobs, projects, runtime.clock, looks)
    return Service(
        name="projection",
        routers=(
            api.routes(reading, streams),
            api_suggestions.routes(reading, runtime.bus),
            api_trace.routes(Tracing(reading, runtime.bus)),
            api_dead_letters.routes(Letters(runtime.store, runtime.bus), replays, settings, runtime.new_id),
            api_rebuilds.routes(rebuilds, runtime.store),
            api_audit.routes(runtime.store),
            api_overview.routes(
                Overview(
                    runtime.store,
                    projects,
                    providers,
                    activity,
                    runtime.clock,
                    LearningSeen(runtime.store.documents, runtime.clock),
                ),
                streams,
            ),
        ),
        # The live generation first: what starts after it uses the right one.
        parts=(live, projects, providers, watcher, letters, replays, rebuilds, streams),
        subscriptions=(
            Subscription(
                group=GROUP,
                topics=TOPICS,
                # A write costs the store about the same for one record as for two hundred.
                batching=Batching(records=settings.records, linger=0.02, pace=0.25),
                on={
                    **activity.watching(superseding.telling(suggestions.telling(projection.on()))),
                    **projection.decisions(),
                },
            ),
            Subscription(
                group="audit",
                topics=(names.AUDIT,),
                on={
                    AuditRecorded: auditor.recorded,
                    DeadLetterReplayed: auditor.decided,
                    DeadLetterDiscarded: auditor.decided,
                    SubscriptionDisabled: auditor.disabled,
                },
            ),
        ),
    )
