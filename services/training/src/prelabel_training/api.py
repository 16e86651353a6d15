"""Training's routes: what there is to learn from."""

from fastapi import APIRouter
from prelabel_contract.events import ProjectChanged
from prelabel_runtime.http.access import READERS, allow
from prelabel_runtime.http.described import Shown, gives
from prelabel_runtime.http.problems import not_found
from prelabel_runtime.run import Runtime
from prelabel_runtime.tables import Table


class ExampleCounts(Shown):
    """Examples of a project."""

    project: str
    examples: int
    """Tasks with a usable annotation."""


def routes(runtime: Runtime, projects: Table[ProjectChanged]) -> APIRouter:
    """Reading examples, over HTTP."""
    router = APIRouter(prefix="/v1/projects/{project}", tags=["training"])

    @router.get("/examples", dependencies=[allow("example.count", READERS)])
    @gives(ExampleCounts)
    async def examples(project: str) -> ExampleCounts:
        """How many tasks of a project a model could learn from now."""
        if await projects.find(project) is None:
            raise not_found("project", project)
        return ExampleCounts(project=project, examples=await runtime.store.examples.count(project))

    return router
