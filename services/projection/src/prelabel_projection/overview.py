"""Everything at a glance: what runs, projects with their counts, what happens now, and what was predicted last.

Counts and texts are read from the store, project by project, and only of those in which something has happened; what
all pages that look at it need is read once for all of them.
"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from prelabel_contract.events import ProjectChanged, ProviderAnnounced
from prelabel_runtime.clock import Clock
from prelabel_runtime.http.access import Caller
from prelabel_runtime.store.base import State, Store
from prelabel_runtime.store.dead_letters import LetterFilter, LetterState
from prelabel_runtime.tables import Table

from .activity import SLOT_SECONDS, Activity
from .cards import Card, card
from .learning import LearningSeen, ModelLearning

LATEST = 12
"""Cards."""
LATEST_OF_PROJECT = 8
MOST_PROJECTS = 200
"""Projects that are listed; the others are counted."""
FRESH_SECONDS = 1.0
"""What was read so lately is not read again."""
STALE_SECONDS = 10.0
"""What is older is read again, whatever has happened: another replica may have written."""


@dataclass(frozen=True, slots=True)
class ProjectSeen:
    """A project with its counts."""

    project: str
    title: str
    labels: tuple[str, ...]
    """Of its questions, in order: pages colour by them."""
    tasks: int
    models: dict[str, dict[str, int]]
    """Requests by model and state."""
    providers: dict[str, str]
    """The provider of each model."""

    def requests(self, *states: State) -> int:
        """Requests in some states."""
        return sum(counts.get(state, 0) for counts in self.models.values() for state in states)


@dataclass(frozen=True, slots=True)
class ProviderSeen:
    """A provider that runs."""

    provider: str
    package: str
    kinds: tuple[str, ...]
    models: int
    """Models of the listed projects that use it."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The overview as one caller may see it."""

    at_ms: int
    projects: tuple[ProjectSeen, ...]
    more_projects: int
    providers: tuple[ProviderSeen, ...]
    missing: tuple[str, ...]
    """Providers that a listed project uses and that do not run."""
    waiting_since_ms: int | None
    """When the oldest task that waits for an outcome was accepted; None: none waits, or the caller may not know."""
    dead_letters: int
    """Those that nobody has decided about."""
    slot_seconds: int
    tasks_by_slot: tuple[int, ...]
    """Tasks that this process has stored lately, the oldest slot first; empty for a caller of some projects only."""
    outcomes_by_slot: tuple[int, ...]
    latest: tuple[Card, ...]
    learning: tuple[ModelLearning, ...] = ()
    """Models that have learned something, or are about to."""

    @property
    def tasks(self) -> int:
        """Tasks of the listed projects."""
        return sum(one.tasks for one in self.projects)

    def requests(self, *states: State) -> int:
        """Requests of the listed projects in some states."""
        return sum(one.requests(*states) for one in self.projects)

    @property
    def per_second(self) -> float:
        """Outcomes per second over the slots that are over, as far back as something happened, at most a minute."""
        past = list(self.outcomes_by_slot[:-1])[-12:]
        while past and not past[0]:
            past = past[1:]
        past = past or list(self.outcomes_by_slot[-1:])  # it has just begun
        return sum(past) / (len(past) * self.slot_seconds) if past else 0.0

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        totals = {"tasks": self.tasks, **{str(state): self.requests(state) for state in State}}
        return {**asdict(self), "totals": totals, "outcomes_per_second": round(self.per_second, 2)}


@dataclass(slots=True)
class _Read:
    """What was read of one project, and when."""

    seen: ProjectSeen
    cards: list[Card]
    version: int
    config: str
    at: float


@dataclass(slots=True)
class Overview:
    """Reads the overview, for everybody who looks, as rarely as it can."""

    store: Store
    projects: Table[ProjectChanged]
    providers: Table[ProviderAnnounced]
    activity: Activity
    clock: Clock
    learning: LearningSeen
    _known: dict[str, _Read] = field(default_factory=dict)
    _reading: asyncio.Lock = field(default_factory=asyncio.Lock)
    _general: tuple[float, int | None] = (float("-inf"), None)

    async def read(self, caller: Caller) -> Seen:
        """What the caller may see. Raises `Unavailable`."""
        rows = sorted(
            (row for row in self.projects.rows().values() if not row.deleted and caller.reaches(row.project.id)),
            key=lambda row: row.project.id,
        )
        async with self._reading:
            read = [await self._project(row) for row in rows[:MOST_PROJECTS]]
            waiting_since = await self._waiting_since()
            learning = [await self.learning.of(one.seen.project, one.seen.providers) for one in read]
        everything = caller.projects is None
        projects = tuple(one.seen for one in read)
        cards = sorted((one for some in read for one in some.cards), key=lambda one: (-one.at_ms, one.task))
        slots = self.activity.throughput
        return Seen(
            at_ms=self.clock.now_ms(),
            projects=projects,
            more_projects=len(rows) - len(read),
            providers=tuple(self._providers(projects)),
            missing=self._missing(projects),
            waiting_since_ms=waiting_since if everything else None,
            dead_letters=await self._dead_letters(caller),
            slot_seconds=SLOT_SECONDS,
            tasks_by_slot=tuple(slots(lambda slot: slot.tasks)) if everything else (),
            outcomes_by_slot=tuple(slots(lambda slot: slot.outcomes)) if everything else (),
            latest=tuple(cards[:LATEST]),
            learning=tuple(one for some in learning for one in some),
        )

    async def _project(self, row: ProjectChanged) -> _Read:
        name = row.project.id
        known, now = self._known.get(name), self.clock.monotonic()
        version = self.activity.version_of(name)
        if known is not None and known.config == row.config:
            age = now - known.at
            if age < FRESH_SECONDS or (known.version == version and age < STALE_SECONDS):
                return known
        by_model = await self.store.outcomes.counts(name)
        seen = ProjectSeen(
            project=name,
            title=row.project.title,
            labels=tuple(label.value for question in row.project.label_set.questions for label in question.labels),
            tasks=await self.store.tasks.count(name),
            models={model: {str(state): n for state, n in states.items()} for model, states in by_model.items()},
            providers={model.name: model.provider for model in row.project.models},
        )
        cards = await self._cards(row, seen.tasks)
        self._known[name] = read = _Read(seen, cards, version, row.config, now)
        return read

    async def _cards(self, row: ProjectChanged, tasks: int) -> list[Card]:
        """The tasks that were predicted last: as this process has seen it, else those that were accepted last."""
        name = row.project.id
        uids = self.activity.latest(name)[:LATEST_OF_PROJECT]
        found = list((await self.store.tasks.get_many(uids)).values()) if uids else []
        if len(found) < LATEST_OF_PROJECT and tasks > len(found):
            newest = await self.store.tasks.newest(name, limit=LATEST_OF_PROJECT)
            found += [task for task in newest if task.uid not in uids]
        outcomes = await self.store.outcomes.of_tasks([task.uid for task in found])
        fields = list(dict.fromkeys(name for question in row.project.label_set.questions for name in question.fields))
        cards = [card(task, outcomes.get(task.uid, ()), fields) for task in found]
        return [one for one in cards if one.at_ms][:LATEST_OF_PROJECT]

    async def _waiting_since(self) -> int | None:
        now = self.clock.monotonic()
        if now - self._general[0] >= FRESH_SECONDS:
            self._general = now, await self.store.outcomes.oldest_pending_ms()
        return self._general[1]

    async def _dead_letters(self, caller: Caller) -> int:
        return await self.store.dead_letters.count(LetterFilter(state=LetterState.OPEN, projects=caller.projects))

    def _providers(self, projects: Sequence[ProjectSeen]) -> Iterator[ProviderSeen]:
        used = [provider for one in projects for provider in one.providers.values()]
        for row in sorted(self._running(), key=lambda row: row.provider):
            yield ProviderSeen(row.provider, row.package, row.kinds, used.count(row.provider))

    def _missing(self, projects: Sequence[ProjectSeen]) -> tuple[str, ...]:
        wanted = {provider for one in projects for provider in one.providers.values()}
        return tuple(sorted(wanted - {row.provider for row in self._running()}))

    def _running(self) -> Sequence[ProviderAnnounced]:
        now = self.clock.now_ms()
        return [row for row in self.providers.rows().values() if not row.gone(now)]
