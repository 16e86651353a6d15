"""What becomes of a request: its one outcome, and the events that tell it."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from prelabel_contract import cloudevents, names
from prelabel_contract.blobs import blob_of
from prelabel_contract.errors import InvalidEvent
from prelabel_contract.events import (
    AnyEvent,
    Event,
    Outcome,
    PredictionCreated,
    PredictionFailed,
    PredictionRequested,
)
from prelabel_contract.limits import MAX_EVENT_BYTES
from prelabel_contract.regions import Choice, Span
from prelabel_runtime import log
from prelabel_runtime.blobs import Blobs
from prelabel_runtime.clock import Clock
from prelabel_runtime.metrics import Metrics

from .align import Aligned
from .uncertainty import Measure, of_score
from .unchecked import unchecked

MANY = 200
"""Regions from which on a prediction's size is looked at."""
LITTLE = 10_000
"""Characters of texts and labels in fewer regions that always fit."""
_LABEL = 200
"""Characters of a label at most."""
_log = log.get("prelabel.inference")


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Tells outcomes."""

    provider: str
    blobs: Blobs
    clock: Clock
    metrics: Metrics

    async def tell(self, ended: Iterable[tuple[Event[PredictionRequested], Outcome]]) -> list[Sequence[AnyEvent]]:
        """Each outcome on its topic, and a copy to whoever waits for it."""
        now, source = self.clock.now_ms(), f"/inference/{self.provider}"
        states: Counter[str] = Counter()
        replies: list[Sequence[AnyEvent]] = []
        for requested, outcome in ended:
            told = _event(outcome, source, now)
            if isinstance(outcome, PredictionCreated) and _perhaps_large(requested.data, outcome) and _too_large(told):
                told = _event(await self._shed(requested.data, outcome), source, now)
            if isinstance(told.data, PredictionFailed):
                states[told.data.outcome] += 1
                _tell_failure(told.data)
            else:
                states["created"] += 1
            waits = requested.data.correlation
            replies.append((told,) if waits is None else (told, told._replace(topic=names.REPLIES, key=waits)))
        for state, count in states.items():
            self.metrics.predicted.labels(self.provider, state).inc(count)
        return replies

    async def _shed(self, request: PredictionRequested, outcome: PredictionCreated) -> Outcome:
        """A prediction that fits into an event: its regions are stored, and named."""
        regions = blob_of(outcome.model_dump(mode="json", include={"regions"}, exclude_none=True)["regions"])
        try:
            await self.blobs.put(outcome.project, outcome.task, regions)
        except InvalidEvent:
            return failed(request, "output_too_large", "too many regions for one event", version=outcome.version)
        return outcome.model_copy(update={"regions": (), "regions_blob": regions.ref})


def _event(outcome: Outcome, source: str, now_ms: int) -> AnyEvent:
    event_id = names.derived(outcome.TYPE, outcome.request)
    return Event(outcome, event_id, source, now_ms, names.PREDICTIONS, outcome.task)


def _perhaps_large(request: PredictionRequested, outcome: PredictionCreated) -> bool:
    """Worth a look: a few spans and choices of little text always fit. One mask may be more than an event takes."""
    if len(outcome.regions) > MANY or request.blobs:
        return True
    held = 0
    for region in outcome.regions:
        if type(region) is Span:
            held += len(region.text or "")
        elif type(region) is not Choice:
            return True
        if len(region.labels) > 1:
            held += _LABEL * len(region.labels)
    return held > LITTLE


def _too_large(told: AnyEvent) -> bool:
    return len(cloudevents.encode(told)[1]) > MAX_EVENT_BYTES


def _tell_failure(outcome: PredictionFailed) -> None:
    _log.info(
        "prediction failed",
        task=outcome.task, request=outcome.request, run=outcome.run, model=outcome.model, reason=outcome.reason,
    )  # fmt: skip


# ------------------------------------------------------------------------------------------------ the outcomes

_REPEATED = tuple(name for name in PredictionCreated.model_fields if name in PredictionRequested.model_fields)
_repeated = itemgetter(*_REPEATED)
_CREATED = set(PredictionCreated.model_fields)


def created(
    request: PredictionRequested,
    aligned: Aligned,
    *,
    version: str,
    label_set: str,
    threshold: float | None,
    uncertainty: float | None = None,
) -> PredictionCreated:
    """A prediction. Its values are the request's, which were checked when it was read, or our own.

    `uncertainty`: the provider's figure, 0 to 1, which knows what was not said too; None: that of the scores.
    """
    values = _same(request)
    values["version"] = version
    values["regions"] = aligned.regions
    values["regions_blob"] = None
    values["score"] = aligned.min_score
    values["uncertainty"] = _doubt(aligned) if uncertainty is None else uncertainty
    values["label_set"] = label_set
    values["threshold"] = threshold
    values["dropped"] = dict(aligned.dropped) if aligned.dropped else {}
    return unchecked(PredictionCreated, values, _CREATED)


def _doubt(aligned: Aligned) -> float | None:
    """How unsure the model is of it: `uncertainty` of its regions, whose most unsure is the one of the lowest score."""
    return None if aligned.min_score is None else of_score(aligned.min_score, Measure.LEAST_CONFIDENCE)


def failed(
    request: PredictionRequested, reason: str, detail: str, *, outcome: str = "failed", version: str | None = None
) -> PredictionFailed:
    """There is no prediction, and why."""
    return PredictionFailed.model_validate(
        {**_same(request), "reason": reason, "detail": detail[:1000], "outcome": outcome, "version": version}
    )


def same_for(request: PredictionRequested, outcome: Outcome) -> Outcome:
    """An answer to the same request, as told to this asker: another correlation, perhaps another revision."""
    if (outcome.correlation, outcome.revision, outcome.run) == (request.correlation, request.revision, request.run):
        return outcome
    return outcome.model_copy(update=_same(request))


def _same(request: PredictionRequested) -> dict[str, Any]:
    """What an outcome repeats of its request, in the order of its fields."""
    return dict(zip(_REPEATED, _repeated(request.__dict__), strict=True))
