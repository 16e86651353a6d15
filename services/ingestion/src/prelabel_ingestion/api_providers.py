"""The route of providers: what models projects may use."""

from fastapi import APIRouter, Response
from prelabel_runtime.http.access import READERS, Reach, allow
from prelabel_runtime.http.answers import answer
from prelabel_runtime.http.described import gives

from .answers import Providers
from .doors import Doors


def routes(doors: Doors) -> APIRouter:
    """Reading which providers run."""
    router = APIRouter()

    @router.get("/providers", dependencies=[allow("provider.list", READERS, Reach.LISTING)])
    @gives(Providers)
    async def list_providers() -> Response:
        """Providers that have announced themselves, with what they answer and the schema of their settings."""
        await doors.tables.providers.catch_up()
        rows = sorted(doors.tables.providers.rows().values(), key=lambda row: row.provider)
        return answer({"providers": [row.model_dump(mode="json") for row in rows], "next": None})

    return router
