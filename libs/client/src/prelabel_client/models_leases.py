"""Open tasks in annotators' hands."""

from typing import Any

from .models import Prediction, Result


class Suggestion(Prediction):
    """What a model says about a leased task. Name its `request` as the annotation's `parent_prediction`."""

    outcome: str = "created"


class LeasedTask(Result):
    """A task that nobody else is given until `until_ms`."""

    lease: str
    task: str
    """Its uid."""
    id: str | None = None
    data: dict[str, Any]
    meta: dict[str, Any] = {}
    revision: int
    annotator: str
    strategy: str
    """By which it was chosen."""
    until_ms: int
    blind: bool
    """It is to be answered without suggestions."""
    suggestions: tuple[Suggestion, ...] = ()


class PoolSeen(Result):
    """Where leased tasks were chosen from."""

    open: int
    held: int
    seen: int
    whole: bool
    """Everything was looked at: what was not found is not open."""


class Leased(Result):
    """Tasks that were leased; fewer than wanted, or none, where fewer are open and free."""

    leases: tuple[LeasedTask, ...]
    pool: PoolSeen


class Renewed(Result):
    """A lease as it is now."""

    lease: str
    task: str
    annotator: str
    until_ms: int


class Stopping(Result):
    """Whether it is worth going on annotating."""

    stop: bool
    reason: str
    """nothing_left, flat, certain; learning, unsure, too_early"""
    text: str
    """For people."""
    open: int
    whole: bool
