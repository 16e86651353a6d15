"""What all routes stand on: finding what a caller may see, and how it looks as JSON."""

from dataclasses import dataclass
from typing import Any

import orjson
from fastapi import Request
from prelabel_contract.events import SubscriptionChanged
from prelabel_runtime.bus.base import Partition
from prelabel_runtime.egress import EgressPolicy
from prelabel_runtime.http.access import Caller, caller_of
from prelabel_runtime.http.problems import Problem, not_found
from prelabel_runtime.run import Runtime
from prelabel_runtime.store.deliveries import StoredDelivery, StoredRecovery

from .dispatcher import Dispatcher
from .endpoint import Tools
from .forgotten import still_told
from .handlers import Outgoing
from .sender import Attempt, Target
from .subscriptions import Subscriptions, active
from .vault import Unopenable


@dataclass(frozen=True, slots=True)
class Desk:
    """What the routes use."""

    runtime: Runtime
    tools: Tools
    dispatcher: Dispatcher
    policy: EgressPolicy

    @property
    def subscriptions(self) -> Subscriptions:
        """All of them."""
        return self.tools.subscriptions

    async def find(self, request: Request, subscription: str) -> SubscriptionChanged:
        """A subscription of the caller's. Raises a 404."""
        row = self.subscriptions.get(subscription)
        if row is None:  # another process may have written it a moment ago
            await self.subscriptions.rows.catch_up()
            row = self.subscriptions.get(subscription)
        if row is None or not visible(caller_of(request), row):
            raise not_found("subscription", subscription)
        return row

    async def delivery(self, row: SubscriptionChanged, delivery: str) -> StoredDelivery:
        """A delivery of a subscription. Raises a 404, also for one of a project that it does not ask for any more."""
        found = await self.runtime.store.deliveries.get(row.id, delivery)
        if found is None or not (not row.projects or found.project in row.projects):
            raise not_found("delivery", delivery)
        return found

    async def event(self, one: StoredDelivery) -> Outgoing | None:
        """What a delivery tells; None if the log has it no longer, or its task was deleted. Raises `Unavailable`."""
        event = await self.tools.feed.find(Partition(one.topic, one.partition), one.offset)
        told = await still_told([event], self.runtime.store.submissions) if event is not None else ()
        return event if told else None

    async def attempt(self, row: SubscriptionChanged, delivery: str, body: bytes) -> Attempt:
        """Try a delivery now. Raises a 503 where this process has not the key to the endpoint's secrets."""
        try:
            target = Target.of(row, self.subscriptions.vault)
        except Unopenable:
            raise Problem(503, "unavailable", "this process cannot open the endpoint's secrets; ask again") from None
        return await self.tools.sender.attempt(target, delivery, body)


def visible(caller: Caller, row: SubscriptionChanged) -> bool:
    """Whether a caller may see a subscription: one that reaches no further than the caller does."""
    return caller.projects is None or (bool(row.projects) and caller.projects.issuperset(row.projects))


def check_reach(caller: Caller, projects: tuple[str, ...]) -> None:
    """Raises a 403 for projects beyond the caller's: a subscription reaches no further than who makes it."""
    if caller.projects is None:
        return
    if not projects:
        mine = ", ".join(sorted(caller.projects))
        raise Problem(403, "forbidden_reach", f"name the projects: this key reaches {mine} only")
    for project in projects:
        if not caller.reaches(project):
            raise not_found("project", project)


def shown(row: SubscriptionChanged, now_ms: int) -> dict[str, Any]:
    """A subscription, without anything secret."""
    return {
        "id": row.id,
        "url": row.url,
        "types": row.types,
        "projects": row.projects,
        "headers": dict.fromkeys(row.headers, "…"),
        "payload": row.payload,
        "rate": row.rate,
        "signing": row.signing,
        "ordered": row.ordered,
        "description": row.description,
        "state": row.state,
        "reason": row.reason,
        "secrets": [{"expires_ms": secret.expires_ms} for secret in active(row.secrets, now_ms)],
        "created_ms": row.created_ms,
        "created_by": row.created_by,
        "version": row.version,
    }


def shown_delivery(one: StoredDelivery) -> dict[str, Any]:
    """A delivery, with how its latest attempt went."""
    attempts = orjson.loads(one.body)
    return {
        "delivery": one.id,
        "event": one.event,
        "type": one.type,
        "project": one.project or None,
        "task": one.task,
        "event_ms": one.event_ms,
        "state": one.state.value,
        "attempts": one.attempts,
        "at_ms": one.at_ms,
        "next_ms": one.next_ms or None,
        "latest": {name: value for name, value in attempts[-1].items() if name != "answer"} if attempts else None,
    }


def shown_recovery(one: StoredRecovery) -> dict[str, Any]:
    """A recovery and how far it is."""
    return {
        "recovery": one.id,
        "state": one.state.value,
        "since_ms": one.since_ms,
        "until_ms": one.until_ms,
        "done": one.done,
        "total": one.done if one.state.value == "completed" else None,
        "error": one.error or None,
    }
