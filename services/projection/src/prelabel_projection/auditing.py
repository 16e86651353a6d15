"""From the audit's events to its rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from prelabel_contract.events import AuditRecorded, DeadLetterDiscarded, DeadLetterReplayed, Event, SubscriptionDisabled
from prelabel_runtime.service import Reply
from prelabel_runtime.store.audit import StoredAudit
from prelabel_runtime.store.base import Store

DONE: Reply = ()


@dataclass(frozen=True, slots=True)
class Auditor:
    """Writes down who changed what."""

    store: Store

    async def recorded(self, batch: Sequence[Event[AuditRecorded]]) -> Sequence[Reply]:
        """What people and keys changed over HTTP."""
        return await self._put([(e, _row(e)) for e in batch])

    async def decided(self, batch: Sequence[Event[DeadLetterReplayed | DeadLetterDiscarded]]) -> Sequence[Reply]:
        """What became of dead letters, one by one."""
        return await self._put([(e, _decision(e.data)) for e in batch])

    async def disabled(self, batch: Sequence[Event[SubscriptionDisabled]]) -> Sequence[Reply]:
        """Endpoints that Prelabel itself gave up."""
        return await self._put([(e, _disabled(e.data)) for e in batch])

    async def _put(self, rows: Sequence[tuple[Event[Any], dict[str, Any]]]) -> Sequence[Reply]:
        await self.store.audit.put(
            [
                StoredAudit(
                    id=e.id,
                    at_ms=e.time_ms,
                    actor=row["actor"],
                    action=row["action"],
                    subject=row["subject"],
                    project=row.get("project"),
                    body=orjson.dumps(row["body"]).decode(),
                )
                for e, row in rows
            ]
        )
        return [DONE] * len(rows)


def _row(event: Event[AuditRecorded]) -> dict[str, Any]:
    data = event.data
    body = {"actor_name": data.actor_name, "role": data.role, "status": data.status, "detail": data.detail}
    return {
        "actor": data.actor,
        "action": data.action,
        "subject": data.subject,
        "project": data.project,
        "body": body,
    }


def _decision(data: DeadLetterReplayed | DeadLetterDiscarded) -> dict[str, Any]:
    if isinstance(data, DeadLetterDiscarded):
        action, more = "dead_letter.discarded", {"reason": data.reason}
    else:
        action, more = "dead_letter.replayed", {"replay": data.replay}
    subject = f"/v1/deadletters/{data.letter}"
    return {"actor": data.actor, "action": action, "subject": subject, "body": {"detail": {"group": data.group} | more}}


def _disabled(data: SubscriptionDisabled) -> dict[str, Any]:
    return {
        "actor": "webhooks",
        "action": "subscription.disabled",
        "subject": f"/v1/subscriptions/{data.subscription}",
        "body": {"detail": {"reason": data.reason, "since_ms": data.since_ms}},
    }
