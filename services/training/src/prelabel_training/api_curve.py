"""Routes to look at how models learn: the curve, scores by label, what people make of suggestions, asking again."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from prelabel_contract import names
from prelabel_runtime.http.access import READERS, allow
from prelabel_runtime.http.answers import answer
from prelabel_runtime.http.described import Shown, gives
from prelabel_runtime.http.problems import not_found
from prelabel_runtime.store.documents import Documents

from .api_models import Desk
from .models_answers import state_of
from .quality.verdicts import Verdicts
from .registry.acceptance import Taken, taken
from .registry.curves import Curves, point
from .registry.repredict import KIND as REPREDICT
from .registry.repredict import read as read_work
from .registry.versions import Figure, VersionRecord

Last = Annotated[int, Query(ge=1, le=200)]


class CurvePoint(Shown):
    """A version: what it learned from, and how good it was."""

    version: str
    number: int
    examples: int
    score: float | None
    """On the hold-out of the day it was judged, by the curve's metric. Null: there was nothing to score it on."""
    low: float | None
    """The ends of the 95 % interval."""
    high: float | None
    metric: str
    """Other metrics than the curve's: before the questions changed."""
    tasks: int
    """Of the hold-out."""
    enough: bool
    """Enough tasks to be a point of a curve."""
    state: str
    """As of a version: serving, served, kept, rejected, refused."""
    provisional: bool
    outcome: str
    """What the gate decided."""
    reason: str
    judged_ms: int


class Curve(Shown):
    """The learning curve of a model."""

    project: str
    model: str
    metric: str | None
    """Of the newest version that was scored."""
    serving: str
    """The version that serves."""
    points: list[CurvePoint]
    """In the order in which they were trained."""


class LabelPoint(Shown):
    """A label in one version."""

    version: str
    examples: int
    precision: Figure
    recall: Figure
    f1: Figure
    tp: int
    fp: int
    fn: int


class LabelCurve(Shown):
    """A label over the versions."""

    question: str
    label: str
    points: list[LabelPoint]


class LabelCurves(Shown):
    """Scores of each label by version."""

    project: str
    model: str
    labels: list[LabelCurve]


class AcceptedShare(Shown):
    """What people made of a version's suggestions."""

    model: str | None
    provider: str | None
    version: str | None
    shown: int
    """Suggestions that somebody decided about."""
    accepted: int
    corrected: int
    rejected: int
    acceptance_rate: float | None
    """Accepted of those decided about, 0 to 1."""
    edit_rate: float | None
    """Corrected of those."""
    rejection_rate: float | None
    """Rejected of those."""


class Acceptance(Shown):
    """What people made of suggestions, by version."""

    project: str
    versions: list[AcceptedShare]
    providers: list[AcceptedShare]
    """The same by provider: without model and version."""


class Repredicting(Shown):
    """How far the open tasks have been asked again after a promotion."""

    project: str
    model: str
    epoch: int
    version: str
    state: str
    """listing, asking, done, overtaken (something else serves), off (the project does not want it any more), failed."""
    total: int
    """Open tasks when the present round began; there is another where processes loaded the version later."""
    place: int
    """So many of them were looked at."""
    asked: int
    """So many were asked, in all rounds; the others were annotated, deleted, or answered by the version."""
    began_ms: int
    ended_ms: int | None


def routes(desk: Desk, curves: Curves, verdicts: Verdicts, documents: Documents) -> APIRouter:
    """All of them."""
    router = APIRouter(prefix="/v1/projects/{project}", tags=["models"])
    _curve(router, desk, curves)

    @router.get("/acceptance", dependencies=[allow("model.acceptance", READERS)])
    @gives(Acceptance)
    async def get_acceptance(project: str) -> Response:
        """How often people took suggestions as they were, corrected or refused them: by version and by provider.

        Counted now, from what is known of each suggestion; one that was withdrawn with its annotation counts no more.
        """
        await desk.row(project)
        found = await taken(verdicts.of(project))
        by_provider: dict[str | None, Taken] = {}
        for one in found:
            before = by_provider.get(one.provider, Taken(None, one.provider, None, 0, 0, 0))
            by_provider[one.provider] = Taken(
                None,
                one.provider,
                None,
                before.accepted + one.accepted,
                before.corrected + one.corrected,
                before.rejected + one.rejected,
            )
        providers = [_shown(one) for one in by_provider.values()]
        return answer({"project": project, "versions": [_shown(one) for one in found], "providers": providers})

    @router.get("/models/{model}/repredicting", dependencies=[allow("model.repredicting", READERS)])
    @gives(Repredicting)
    async def get_repredicting(project: str, model: str) -> Response:
        """How far the open tasks have been asked again after the last promotion; a 404 where none has begun."""
        await desk.known(project, model)
        found = await documents.get(REPREDICT, names.model_key(project, model))
        if found is None:
            raise not_found("repredicting", model)
        return answer(read_work(found).model_dump(mode="json", include=set(Repredicting.model_fields)))

    return router


def _curve(router: APIRouter, desk: Desk, curves: Curves) -> None:
    @router.get("/models/{model}/curve", dependencies=[allow("model.curve", READERS)])
    @gives(Curve)
    async def get_curve(project: str, model: str, limit: Last = 100) -> Response:
        """The learning curve: examples against score with its interval, by version, and which of them serves."""
        await desk.known(project, model)
        pointer, newest = await desk.newest(project, model, limit)
        found = newest[::-1]
        refused = await desk.loads.refusals(project, model, [one.version for one in found], pointer)
        points = [_point(one, state_of(one, pointer, refused.get(one.version))) for one in found]
        return answer(
            {
                "project": project,
                "model": model,
                "metric": next((one["metric"] for one in reversed(points) if one["metric"]), None),
                "serving": "settings" if pointer is None else pointer.version,
                "points": points,
            }
        )

    @router.get("/models/{model}/labels", dependencies=[allow("model.labels", READERS)])
    @gives(LabelCurves)
    async def get_labels(project: str, model: str, limit: Last = 20) -> Response:
        """How well each label was found by the newest versions."""
        await desk.known(project, model)
        labels: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for one in await curves.newest(project, model, limit):
            for label in () if one.report is None else one.report.labels:
                told = label.model_dump(mode="json", exclude={"question", "label"})
                place = labels.setdefault((label.question, label.label), [])
                place.append({"version": one.version, "examples": one.examples, **told})
            await asyncio.sleep(0)  # labels may be many: others have their turn
        listed = [{"question": key[0], "label": key[1], "points": points} for key, points in sorted(labels.items())]
        return answer({"project": project, "model": model, "labels": listed})


def _point(record: VersionRecord, state: str) -> dict[str, Any]:
    report = record.report
    overall = Figure() if report is None else report.overall
    return {
        "version": record.version,
        "number": record.number,
        "examples": record.examples,
        "score": overall.value,
        "low": overall.low,
        "high": overall.high,
        "metric": "" if report is None else report.metric,
        "tasks": 0 if report is None else report.tasks,
        "enough": point(record) is not None,
        "state": state,
        "provisional": record.provisional,
        "outcome": record.verdict.outcome,
        "reason": record.verdict.reason,
        "judged_ms": record.judged_ms,
    }


def _shown(one: Taken) -> dict[str, Any]:
    return {
        "model": one.model,
        "provider": one.provider,
        "version": one.version,
        "shown": one.shown,
        "accepted": one.accepted,
        "corrected": one.corrected,
        "rejected": one.rejected,
        "acceptance_rate": one.share(one.accepted),
        "edit_rate": one.share(one.corrected),
        "rejection_rate": one.share(one.rejected),
    }
