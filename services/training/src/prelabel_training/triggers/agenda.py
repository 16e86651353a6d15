"""Which project is to be looked at when: the earliest wish of each, and no look sooner than it may be."""

import asyncio
from dataclasses import dataclass, field


@dataclass(slots=True)
class Agenda:
    """Moments are those of one monotonic clock, in seconds."""

    _wanted: dict[str, float] = field(default_factory=dict)
    _rests: dict[str, float] = field(default_factory=dict)
    """Until when a project that was looked at is left alone."""
    _hurried: set[str] = field(default_factory=set)
    _under_way: set[str] = field(default_factory=set)
    _added: asyncio.Event = field(default_factory=asyncio.Event)

    def want(self, project: str, at: float) -> None:
        """Look at a project at that moment, or before."""
        if at < self._wanted.get(project, float("inf")):
            self._wanted[project] = at
            self._added.set()

    def hurry(self, project: str, at: float) -> None:
        """Look at it at that moment, whether or not it rests; if it is being looked at, straight after that."""
        self._hurried.add(project)
        self.want(project, at)
        self._added.set()  # also where it was wanted sooner: that wish may be resting

    def due(self, now: float) -> list[str]:
        """The projects to look at now; from now on they are being looked at."""
        found = [project for project in self._wanted if project not in self._under_way and self._at(project) <= now]
        for project in found:
            del self._wanted[project]
            self._hurried.discard(project)
            self._under_way.add(project)
        return found

    def looked(self, project: str, rests_until: float, again: float | None) -> None:
        """A look has ended."""
        self._under_way.discard(project)
        self._rests[project] = rests_until
        if again is not None:
            self.want(project, again)
        self._added.set()

    def next(self) -> float | None:
        """When the next look is due; None: when somebody wants one."""
        waiting = [self._at(project) for project in self._wanted if project not in self._under_way]
        return min(waiting, default=None)

    async def added(self) -> None:
        """Wait until something has changed."""
        await self._added.wait()
        self._added.clear()

    def forget_rests(self, now: float) -> None:
        """Those that are over."""
        self._rests = {project: until for project, until in self._rests.items() if until > now}

    def _at(self, project: str) -> float:
        rests = 0.0 if project in self._hurried else self._rests.get(project, 0.0)
        return max(self._wanted[project], rests)
