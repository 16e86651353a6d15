"""What is written down about a delivery after an attempt."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import orjson
from prelabel_runtime.store.deliveries import DeliveryState, StoredDelivery

from .handlers import Outgoing
from .sender import Attempt

_KEPT = 12
"""Attempts of a delivery that are kept to look at."""


def first(event: Outgoing, subscription: str) -> StoredDelivery:
    """A delivery before its first attempt."""
    return StoredDelivery(
        id=event.delivery_id(subscription),
        subscription=subscription,
        event=event.id,
        type=event.type,
        project=event.projects[0] if event.projects else "",
        task=event.task,
        topic=event.place.topic,
        partition=event.place.number,
        offset=event.offset,
        event_ms=event.time_ms,
        state=DeliveryState.PENDING,
        attempts=0,
        at_ms=0,
        next_ms=0,
    )


def attempted(before: StoredDelivery, attempt: Attempt, next_ms: int | None) -> StoredDelivery:
    """A delivery after an attempt. `next_ms`: when to try again, if it failed; None: not any more."""
    state = DeliveryState.PENDING if next_ms is not None else DeliveryState.EXHAUSTED
    return replace(
        before,
        state=DeliveryState.DELIVERED if attempt.delivered else state,
        attempts=before.attempts + 1,
        at_ms=max(attempt.at_ms, before.at_ms),
        next_ms=0 if attempt.delivered else next_ms or 0,
        body=_with(before, attempt.shown()),
    )


GONE = ("gone_from_log", "the event is no longer in the log, or its task was deleted")
NOT_WANTED = ("not_wanted", "the subscription does not ask for it any more")


def parked(before: StoredDelivery, now_ms: int, next_ms: int) -> StoredDelivery:
    """A delivery that waits for another one, or whose turn it is at last."""
    return replace(before, at_ms=max(before.at_ms + 1, now_ms), next_ms=next_ms)


def given_up(before: StoredDelivery, now_ms: int, why: tuple[str, str]) -> StoredDelivery:
    """A delivery that is not even tried, and why: in a word and in a sentence."""
    result, reason = why
    body = _with(before, {"at_ms": now_ms, "result": result, "error": reason})
    return replace(before, state=DeliveryState.EXHAUSTED, at_ms=now_ms, next_ms=0, body=body)


def _with(before: StoredDelivery, shown: dict[str, Any]) -> str:
    attempts: Sequence[Any] = [*orjson.loads(before.body), shown]
    return orjson.dumps(attempts[-_KEPT:]).decode()
