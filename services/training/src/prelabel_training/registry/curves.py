"""The learning curve of a model: how good each of its versions was, against the examples that it learned from.

Each version was scored on the hold-out of the day it was judged: those of neighbouring versions are nearly the same
tasks, and of a version of last year they are fewer.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from prelabel_contract.projects import Project

from ..leases.stopping import Point
from .versions import VersionRecord, Versions

MOST = 200
"""Versions of a curve: the newest."""
SCORED = 10
"""Hold-out tasks below which a score is no point of a curve."""


@dataclass(frozen=True, slots=True)
class Curves:
    """Curves from a store's versions."""

    versions: Versions

    async def newest(self, project: str, model: str, limit: int = MOST) -> Sequence[VersionRecord]:
        """The newest versions, in the order in which they were trained."""
        return list(reversed(await self.versions.page(project, model, limit=limit)))

    async def points(self, project: Project, model: str) -> Sequence[Point]:
        """Those that were scored, as a signal to stop looks at them; by the newest one's metric alone."""
        found = await self.newest(project.id, model)
        metric = next((one.report.metric for one in reversed(found) if one.report is not None), "")
        points = [point(one) for one in found if one.report is not None and one.report.metric == metric]
        return [one for one in points if one is not None]


def point(record: VersionRecord) -> Point | None:
    """A version on the curve; None where too few tasks were there to score it on."""
    report = record.report
    if report is None or report.tasks < SCORED:
        return None
    overall = report.overall
    if overall.value is None or overall.low is None or overall.high is None:
        return None
    low, high = min(overall.low, overall.value), max(overall.high, overall.value)  # a bootstrap may lie beside it
    return Point(record.examples, overall.value, low, high)
