"""The route of providers: what models projects may use."""

from fastapi import APIRouter, Response
from prelabel_contract.events import ProviderAnnounced
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
        """Providers that have announced themselves, with what they answer and the schema of their settings.

        One that says no more that it runs is `gone`: what it is asked waits until it is back.
        """
        await doors.tables.providers.catch_up()
        rows = sorted(doors.tables.providers.rows().values(), key=lambda row: row.provider)
        now = doors.runtime.clock.now_ms()
        return answer({"providers": [_shown(row, now) for row in rows], "next": None})

    return router


def _shown(row: ProviderAnnounced, now_ms: int) -> dict[str, object]:
    state = "gone" if row.gone(now_ms) else "running"
    return row.model_dump(mode="json", exclude={"every_ms"}) | {"state": state}
