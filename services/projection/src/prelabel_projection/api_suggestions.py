"""The route by which people refuse what a model suggested.

Whoever accepts or corrects a suggestion hands in an annotation that names it; who refuses one has nothing to hand in.
"""

from fastapi import APIRouter, Request, Response
from prelabel_contract.base import Name
from prelabel_runtime.bus.base import Bus
from prelabel_runtime.http.access import ANNOTATORS, allow, caller_of
from prelabel_runtime.http.answers import answer
from prelabel_runtime.http.described import Shown, gives
from prelabel_runtime.http.problems import not_found
from prelabel_runtime.http.speaking import annotator_of
from prelabel_runtime.loop import messages

from .reading import Reading
from .suggestions import created, rejected


class RejectedSuggestion(Shown):
    """A suggestion that was refused."""

    task: str
    """The task's uid."""
    request: str
    """The prediction."""
    annotator: str


def routes(reading: Reading, bus: Bus) -> APIRouter:
    """Refusing suggestions."""
    router = APIRouter(prefix="/v1/projects/{project}", tags=["projection"])

    @router.post(
        "/tasks/{task}/predictions/{request}/rejection",
        status_code=202,
        dependencies=[allow("suggestion.reject", ANNOTATORS)],
    )
    @gives(RejectedSuggestion, 202)
    async def reject_suggestion(
        project: str, task: str, request: str, http: Request, annotator: Name | None = None
    ) -> Response:
        """Refuse a prediction, by the id of its request: nothing of it was of use. Again by the same person: the same.

        What nobody has predicted yet cannot be refused: 404, `unknown_prediction`.
        """
        found = await reading.task(project, task)
        shown = created(request, (await reading.store.outcomes.of_tasks([found.uid])).get(found.uid, ()))
        if shown is None:
            raise not_found("prediction", request)
        who = annotator_of(caller_of(http), annotator, "/query/annotator")
        await bus.publish(messages([rejected(shown, who, reading.clock.now_ms())]))
        return answer({"task": found.uid, "request": request, "annotator": who}, status=202)

    return router
