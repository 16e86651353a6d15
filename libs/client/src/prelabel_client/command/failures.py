"""Why models have not answered: the reasons of a run that were given most often, with counts."""

from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from .output import Out, clean, counted
from .tasks import asked_for

if TYPE_CHECKING:
    from ..client import Client
    from ..models import Progress

LOOKED_AT = 1000
"""Tasks without a prediction that are looked at, of each state: what keeps many from being predicted is in them too."""
SHOWN = 5
"""Reasons that are told."""
STATES = ("failed", "expired", "cancelled")


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a model has not answered."""

    model: str
    state: str
    reason: str
    """A word for machines."""
    detail: str
    """For people: what was said most often."""
    tasks: int
    """How many it was given for."""

    def json_value(self) -> dict[str, Any]:
        """As --json prints it."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Failures:
    """What a run came to, as far as it is no prediction."""

    reasons: tuple[Reason, ...] = ()
    """The most frequent first."""
    whole: bool = True
    """All tasks were looked at."""


def failures(client: "Client", project: str, seen: "Progress") -> Failures:
    """Why requests of a run have ended without a prediction."""
    details: dict[tuple[str, str, str], Counter[str]] = {}
    whole = True
    for state in STATES:
        if not seen.outcomes.get(state):
            continue
        looked_at = 0
        for task in client.tasks(project, run=seen.run, state=state, predictions=True, limit=LOOKED_AT):
            looked_at += 1
            for said in asked_for(task, None, state):
                details.setdefault((said.model, state, said.reason or ""), Counter())[said.detail or ""] += 1
        whole = whole and looked_at < LOOKED_AT
    found = [Reason(*of, said.most_common(1)[0][0], said.total()) for of, said in details.items()]
    return Failures(tuple(sorted(found, key=lambda one: (-one.tasks, one.model, one.state, one.reason))), whole)


def tell(out: Out, project: str, run: str, found: Failures) -> None:
    """In words, with how to list the tasks."""
    for one in found.reasons[:SHOWN]:
        tasks = counted(one.tasks, "task") if found.whole else f"{one.tasks:,} of the first {LOOKED_AT:,} tasks"
        why = ": ".join(word for word in (one.reason, one.detail) if word)
        out.note(clean(f"  {one.model} {one.state} at {tasks}" + (f": {why}" if why else "")))
    if len(found.reasons) > SHOWN:
        out.note(f"  … and for {counted(len(found.reasons) - SHOWN, 'other reason')}")
    for state in dict.fromkeys(one.state for one in found.reasons):
        out.note(f"  list them: prelabel predictions --project {project} --run {run} --state {state}")
