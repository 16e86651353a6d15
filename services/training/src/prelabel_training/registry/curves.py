"""The learning curve of a model: how good each of its versions was, against the examples that it learned from.

Each version was scored on the hold-out of the day it was judged: those of neighbouring versions are nearly the same
tasks, and of a version of last year they are fewer.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from prelabel_contract.limits import SCORED_TASKS
from prelabel_contract.projects import Project

from ..leases.stopping import Point
from .versions import Judgement, VersionRecord, Versions

MOST = 200
"""Versions of a curve: the newest."""


@dataclass(frozen=True, slots=True)
class Curves:
    """Curves from a store's versions."""

    versions: Versions

    async def newest(self, project: str, model: str, limit: int = MOST) -> Sequence[VersionRecord]:
        """The newest versions, in the order in which they were trained."""
        return list(reversed(await self.versions.page(project, model, limit=limit)))

    async def points(self, project: Project, model: str) -> Sequence[Point]:
        """Those that were scored, as a signal to stop looks at them; by the newest one's metric alone.

        What the newest was compared with has the score that it had then, on the same tasks.
        """
        found = await self.newest(project.id, model)
        metric = next((one.report.metric for one in reversed(found) if one.report is not None), "")
        alike = [one for one in found if one.report is not None and one.report.metric == metric]
        scored = [(one, at) for one in alike if (at := point(one)) is not None]
        return [*(_beside(*one, scored[-1][0].verdict) for one in scored[:-1]), *(at for _, at in scored[-1:])]


def point(record: VersionRecord) -> Point | None:
    """A version on the curve; None where too few tasks were there to score it on."""
    report = record.report
    if report is None or report.tasks < SCORED_TASKS:
        return None
    overall = report.overall
    if overall.value is None or overall.low is None or overall.high is None:
        return None
    low, high = min(overall.low, overall.value), max(overall.high, overall.value)  # a bootstrap may lie beside it
    return Point(record.examples, overall.value, low, high)


def _beside(record: VersionRecord, at: Point, newest: Judgement) -> Point:
    """An older point as it was scored on the newest one's hold-out, where the gate compared the two there."""
    pair = newest.compared
    if pair is None or (record.version, record.artifact) != (newest.against_version, newest.against_artifact):
        return replace(at, alike=False)
    return Point(at.examples, pair.serving, min(at.lower, pair.serving), max(at.upper, pair.serving))
