"""What all routes of ingestion stand on."""

from dataclasses import dataclass
from typing import Any

from prelabel_contract.errors import InvalidEvent
from prelabel_contract.events import AnyEvent, EventData, event
from prelabel_contract.projects import Project
from prelabel_runtime.http.problems import not_found
from prelabel_runtime.loop import messages
from prelabel_runtime.run import Runtime

from .annotations import known_task
from .handlers import Dispatcher
from .replies import Replies
from .settings import IngestionSettings
from .submission import Door
from .tables import Tables


@dataclass(frozen=True, slots=True)
class Doors:
    """The doors over HTTP."""

    runtime: Runtime
    tables: Tables
    dispatcher: Dispatcher
    replies: Replies
    settings: IngestionSettings

    async def current(self, project: str) -> Project:
        """A project as it is now. Raises a 404."""
        found = await self.tables.projects.find(project)
        if found is None or found.deleted:
            raise not_found("project", project)
        return found.project

    async def task(self, project: str, name: str) -> str:
        """The uid of a task, by its caller's id or by its uid. Raises a 404."""
        await self.current(project)
        try:
            return await known_task(name, project, self.dispatcher.submissions, self.tables.configs)
        except InvalidEvent:
            raise not_found("task", name) from None

    async def publish(self, *events: AnyEvent) -> None:
        """Returns when the bus has acknowledged them. Raises `Unavailable`, and `InvalidEvent` for one too large."""
        await self.runtime.bus.publish(messages(events))

    def door(self, project: str, **more: Any) -> Door:
        """Where tasks of a project come in."""
        clock = self.runtime.clock
        return Door(
            project=project,
            name="http",
            blobs=self.runtime.blobs,
            now_ms=clock.now_ms,
            new_id=self.runtime.new_id,
            shares=self.dispatcher.shares,
            **more,
        )

    def made(self, data: EventData, *, topic: str | None = None) -> AnyEvent:
        """An event of a door's own."""
        now = self.runtime.clock.now_ms()
        return event(data, id=self.runtime.new_id(), source="/ingestion/http", time_ms=now, topic=topic)
