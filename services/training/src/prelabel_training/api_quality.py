"""The route that says whether what people submit is good to learn from."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields
from itertools import groupby

from fastapi import APIRouter
from prelabel_contract.events import ProjectChanged
from prelabel_contract.projects import Project
from prelabel_runtime.http.access import READERS, allow
from prelabel_runtime.http.described import Shown, gives
from prelabel_runtime.http.problems import not_found
from prelabel_runtime.run import Runtime
from prelabel_runtime.store.base import Examples
from prelabel_runtime.tables import Table

from .examples.blind import is_blind
from .examples.holdout import in_holdout
from .examples.shares import Shares
from .quality.quality import Blind, Census, Quality, QuestionQuality, Sources, Warned
from .quality.recounting import Recounting
from .quality.verdicts import Became, Verdicts

PAGE = 500
"""Annotations read at once: between pages others have their turn."""


class ShownQuality(Shown):
    """Whether what people submit is good to learn from."""

    project: str
    tasks: int
    """Annotated ones."""
    examples: int
    """Tasks with a usable answer, by the project's policy."""
    held_out: int
    """Of the examples: models are judged by them and never learn from them."""
    annotations: int
    annotators: int
    skipped: int
    """Annotations in which somebody declined to answer."""
    questions: tuple[QuestionQuality, ...]
    sources: Sources
    accepted_share: float | None
    """Of the examples to learn from, how many are merely accepted suggestions, 0 to 1. Null: there are none."""
    suggestions: Mapping[str, int]
    """Verdicts on suggestions: accepted, corrected, rejected."""
    blind: Blind
    warnings: tuple[Warned, ...]
    counted_ms: int
    """When that was: of a large project it is not counted for everybody who asks, and may be a minute old."""


@dataclass(frozen=True, slots=True)
class QualityReading:
    """What quality is read from."""

    examples: Examples
    verdicts: Verdicts
    shares: Shares

    async def quality(self, project: Project) -> Quality:
        """All of a project's annotations, counted now. Raises `Unavailable`."""
        became: dict[str, Became] = {}
        verdicts: Counter[str] = Counter()
        async for verdict in self.verdicts.of(project.id):
            verdicts[verdict.became] += 1
            if verdict.annotation is not None:
                became[verdict.annotation] = verdict.became
        census = Census(project.label_set.questions, project.learning, became, verdicts)
        share = await self.shares.of(project)
        after: str | None = None
        while page := await self.examples.annotations(project.id, limit=PAGE, after=after):
            for task, said in groupby(page, key=lambda one: one.task):
                held_out = in_holdout(project.id, task, share)
                census.add(list(said), held_out=held_out, blind=is_blind(project, task, share))
            after = page[-1].task
        return census.quality(blind_share=share + (1 - share) * project.learning.blind)


def wired(runtime: Runtime, projects: Table[ProjectChanged]) -> APIRouter:
    """The route, on a service's store."""
    documents, clock = runtime.store.documents, runtime.clock
    reading = QualityReading(runtime.store.examples, Verdicts(documents), Shares(documents, clock))
    return routes(Recounting(reading.quality, clock), projects)


def routes(counting: Recounting, projects: Table[ProjectChanged]) -> APIRouter:
    """Reading quality, over HTTP."""
    router = APIRouter(prefix="/v1/projects/{project}", tags=["training"])

    @router.get("/quality", dependencies=[allow("quality.get", READERS)])
    @gives(ShownQuality)
    async def get_quality(project: str) -> ShownQuality:
        """How far annotators agree, how labels are spread, and how much of it models said themselves; with warnings."""
        found = await projects.find(project)
        if found is None or found.deleted:
            raise not_found("project", project)
        counted = await counting.of(found.project)
        quality = counted.quality
        told = {one.name: getattr(quality, one.name) for one in fields(quality)}
        share = quality.sources.accepted_share
        return ShownQuality(project=project, accepted_share=share, counted_ms=counted.at_ms, **told)

    return router
