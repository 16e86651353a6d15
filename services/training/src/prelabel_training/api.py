"""Training's routes: what there is to learn from."""

from fastapi import APIRouter
from prelabel_contract.events import ProjectChanged
from prelabel_runtime.http.access import READERS, allow
from prelabel_runtime.http.described import gives
from prelabel_runtime.http.problems import not_found
from prelabel_runtime.tables import Table

from .answers import ExampleCounts
from .examples.counting import Counting


def routes(counting: Counting, projects: Table[ProjectChanged]) -> APIRouter:
    """Reading examples, over HTTP."""
    router = APIRouter(prefix="/v1/projects/{project}", tags=["training"])

    @router.get("/examples", dependencies=[allow("example.count", READERS)])
    @gives(ExampleCounts)
    async def examples(project: str) -> ExampleCounts:
        """What the models of a project could learn from now, what is held out, and what is left out and why."""
        row = await projects.find(project)
        if row is None or row.deleted:
            raise not_found("project", project)
        return await counting.of(row.project)

    return router
