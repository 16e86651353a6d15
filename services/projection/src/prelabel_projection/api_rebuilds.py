"""Routes of rebuilds: begin one, see how far it is."""

from typing import Literal

from fastapi import APIRouter, Request, Response
from prelabel_contract.errors import InvalidEvent
from prelabel_runtime.http.access import ADMINS, Reach, allow, caller_of, changes
from prelabel_runtime.http.answers import answer
from prelabel_runtime.http.bodies import inline, json_of
from prelabel_runtime.http.described import gives
from prelabel_runtime.http.problems import not_found
from prelabel_runtime.store.base import Store
from pydantic import BaseModel, ConfigDict, ValidationError

from .answers import ShownRebuild
from .rebuilds import KIND, Rebuilds, shown


class RebuildWanted(BaseModel):
    """What to do with what was rebuilt: `switch` makes it the live one, `compare` only says how they differ."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)
    mode: Literal["switch", "compare"] = "switch"


def routes(rebuilds: Rebuilds, store: Store) -> APIRouter:
    """Both."""
    router = APIRouter(prefix="/v1", tags=["rebuilds"])

    @router.post(
        "/rebuilds",
        status_code=202,
        dependencies=[changes("rebuild.begin", ADMINS, Reach.EVERYTHING)],
        openapi_extra=inline(RebuildWanted),
    )
    @gives(ShownRebuild, 202, headers=("Location",))
    async def begin_rebuild(request: Request) -> Response:
        """Rebuild the projection from the log beside the live one, compare the two, and switch to the new one.

        Events go on being written meanwhile. A 409 where the log does not hold everything: it names the first offset
        that is missing.
        """
        try:
            wanted = RebuildWanted.model_validate(await json_of(request))
        except ValidationError as error:
            raise InvalidEvent.from_validation(error, what="body") from None
        job = await rebuilds.begin(caller_of(request).id, wanted.mode)
        return answer(shown(job), status=202, headers={"Location": f"/v1/rebuilds/{job.job}"})

    @router.get("/rebuilds/{rebuild}", dependencies=[allow("rebuild.get", ADMINS, Reach.EVERYTHING)])
    @gives(ShownRebuild)
    async def get_rebuild(rebuild: str) -> Response:
        """How far a rebuild is, how fast, and how what it made differs from the live projection."""
        job = await store.jobs.get(KIND, rebuild)
        if job is None:
            raise not_found("rebuild", rebuild)
        return answer(shown(job))

    return router
