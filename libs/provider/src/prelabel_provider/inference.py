"""From requests to outcomes: the one handler of every provider.

A batch is grouped by model, predicted in the model's worker process, aligned with each project's label set, and
answered with exactly one outcome per request. What a single task does wrong ends that task's request; what keeps all
tasks from being predicted (no worker, no configuration to be read) pauses the lane.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from prelabel_contract import cloudevents, names
from prelabel_contract.blobs import blob_of
from prelabel_contract.errors import InvalidEvent
from prelabel_contract.events import (
    AnyEvent,
    ConfigPublished,
    Event,
    Outcome,
    PredictionCreated,
    PredictionFailed,
    PredictionRequested,
    event,
)
from prelabel_contract.limits import MAX_EVENT_BYTES
from prelabel_contract.names import Lane
from prelabel_contract.projects import ModelSpec, Project
from prelabel_runtime import log
from prelabel_runtime.blobs import BlobError, Blobs
from prelabel_runtime.clock import Clock
from prelabel_runtime.errors import TryAgain, Unavailable
from prelabel_runtime.metrics import Metrics
from prelabel_runtime.service import Reply
from prelabel_runtime.tables import Table

from .align import Aligner
from .base import BadSettings, Failed, Input
from .joined import Alike, Joined
from .lanes import Portions
from .predictor import CannotLoad, CannotStart, Predictor, Told, key_of

Requested = Event[PredictionRequested]
_LATE = Failed("deadline", "nobody waits for it any more")
_log = log.get("prelabel.inference")


MANY = 200
"""Regions from which on a prediction's size is looked at: fewer always fit beside the largest input."""
LOAD_ATTEMPTS = 3
"""Times that a model may kill its process by being loaded, before requests to it fail."""
MAX_PREPARED = 256
"""Models of configurations that are kept prepared."""
LARGE_BYTES = 32 * 1024 * 1024
"""Data from the blob store that is held, and given to a model, at once."""
BLOB_PATIENCE_MS = 6_000
"""So long after its task was accepted a blob may be missing: some stores show late what they took."""
BLOB_RETRY_SECONDS = 1.0
"""Then 2, then 4: the fourth attempt is beyond that patience, and the retry policy would allow a fifth."""


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A model of a configuration, ready to be asked."""

    project: Project
    model: ModelSpec
    settings_key: str
    label_set: str
    aligner: Aligner

    def field_for(self, kinds: frozenset[str]) -> str:
        """The field of the first question that a model which gives these kinds can answer."""
        asked = self.project.questions_of(self.model)
        return next((question.field for question in asked if question.kind in kinds), asked[0].field)


@dataclass(frozen=True, slots=True)
class _Job:
    """A request on its way."""

    request: PredictionRequested
    prepared: _Prepared


@dataclass(frozen=True, slots=True)
class Inference:
    """Everything that predicting looks at."""

    provider: str
    predictor: Predictor
    configs: Table[ConfigPublished]
    blobs: Blobs
    clock: Clock
    metrics: Metrics
    prepared: dict[tuple[str, str], _Prepared] = field(default_factory=dict)
    load_failures: dict[str, int] = field(default_factory=dict)
    joined: Joined = field(default_factory=Joined)
    portions: Portions = field(default_factory=Portions)
    alike: Alike[tuple[bool, str, str, str], bytes | Told | Failed] = field(default_factory=Alike)

    async def predict(self, batch: Sequence[Requested]) -> Sequence[Reply]:
        """One outcome per request. Those whose data must be fetched come after the others, as many as fit at once."""
        if not any(e.data.blobs for e in batch):
            return await self._predicted(batch)
        replies: dict[int, Reply] = {}
        for places in _portions(batch):
            found = {place: await self._whole(batch[place]) for place in places}
            whole = {place: e for place, e in found.items() if isinstance(e, Event)}
            replies.update(zip(whole, await self._predicted(list(whole.values())), strict=True))
            for place, error in found.items():
                if isinstance(error, PredictionFailed):
                    replies[place] = await self._told(batch[place], error)
                elif isinstance(error, TryAgain):
                    replies[place] = error
        return [replies[place] for place in range(len(batch))]

    async def _whole(self, requested: Requested) -> Requested | PredictionFailed | TryAgain:
        """A request with all of its data."""
        data = requested.data
        if not data.blobs:
            return requested
        try:
            fields = await self.blobs.whole(data.project, data.task, data.data, data.blobs)
        except BlobError as error:
            if self.clock.now_ms() - data.accepted_ms < BLOB_PATIENCE_MS:
                return TryAgain(error.detail, after=BLOB_RETRY_SECONDS)
            return _failed(data, "blob", error.detail)
        return requested._replace(data=data.model_copy(update={"data": fields}))

    async def _predicted(self, batch: Sequence[Requested]) -> Sequence[Reply]:
        """One outcome per request; one that is under way already waits for that answer."""
        asked = [(e, *self.joined.ask(e.data.request, urgent=e.data.lane == Lane.INTERACTIVE)) for e in batch]
        first = [e.data for e, _, is_first in asked if is_first]
        outcomes: dict[str, Outcome] = {}
        try:
            await self._end(first, outcomes)
        finally:  # what was answered is not asked again, if the rest cannot be had now
            self.joined.end(outcomes.items())
            self.joined.drop(data.request for data in first if data.request not in outcomes)
        try:
            return [await self._told(e, _for(e.data, await asyncio.shield(answer))) for e, answer, _ in asked]
        finally:
            self.joined.forget()

    async def _end(self, requests: Sequence[PredictionRequested], outcomes: dict[str, Outcome]) -> None:
        """Put the outcome of each request under its id. Models are asked at once; one may be slower than another."""
        jobs: dict[int, _Job] = {}
        for place, request in enumerate(requests):
            found = await self._job(request)
            if isinstance(found, _Job):
                jobs[place] = found
            else:
                outcomes[request.request] = found

        async def ask(same: Sequence[int]) -> None:
            said = await self._predict([jobs[place] for place in same])
            outcomes.update((requests[place].request, one) for place, one in zip(same, said, strict=True))

        groups = [portion for same in _by_model(jobs).values() for portion in self._portions(jobs, same)]
        if len(groups) == 1:
            await ask(groups[0])
            return
        for error in await asyncio.gather(*map(ask, groups), return_exceptions=True):
            if error is not None:
                raise error

    def _portions(self, jobs: Mapping[int, _Job], same: Sequence[int]) -> Sequence[Sequence[int]]:
        """Requests to one model as they are asked: backfill so that who comes meanwhile does not wait for long."""
        first = jobs[same[0]]
        return self.portions.of(first.prepared.settings_key, same) if first.request.lane == Lane.BACKFILL else [same]

    async def _job(self, data: PredictionRequested) -> _Job | PredictionFailed:
        if data.deadline_ms is not None and self.clock.now_ms() > data.deadline_ms:
            return _failed(data, "deadline", "nobody waits for it any more", outcome="expired")
        prepared = self.prepared.get((data.config, data.model)) or await self._prepare(data)
        return prepared if isinstance(prepared, PredictionFailed) else _Job(data, prepared)

    async def _prepare(self, data: PredictionRequested) -> _Prepared | PredictionFailed:
        config = await self.configs.find(data.config)
        if config is None:
            return _failed(data, "unknown_config", "the project's configuration of that hash is not known")
        model = config.project.model(data.model)
        if model is None:
            return _failed(data, "unknown_model", f"the project has no model {data.model!r}")
        while len(self.prepared) >= MAX_PREPARED:
            del self.prepared[next(iter(self.prepared))]
        prepared = self.prepared[data.config, data.model] = _Prepared(
            project=config.project,
            model=model,
            settings_key=key_of(model.settings),
            label_set=config.project.label_set_hash,
            aligner=Aligner(config.project, model),
        )
        return prepared

    async def _predict(self, jobs: Sequence[_Job]) -> Sequence[Outcome]:
        """Requests to one model: the same settings, perhaps of several projects."""
        first = jobs[0].prepared
        async with self.predictor.turn(Lane(jobs[0].request.lane), len(jobs)):
            started = self.clock.monotonic()
            restarts = dict(self.predictor.restarts)
            try:
                kinds = (await self.predictor.load(first.model.settings)).kinds
                inputs = [_input(job, kinds) for job in jobs]
                said = await self._said(jobs, inputs)
            except BadSettings as error:
                return [_failed(job.request, "settings", str(error)) for job in jobs]
            except CannotLoad as error:
                return self._unloadable(jobs, error)
            except CannotStart as error:
                raise Unavailable(f"worker of {self.provider}: {error}") from error
            finally:
                for reason, count in self.predictor.restarts.items():
                    self.metrics.worker_restarts.labels(self.provider, reason).inc(count - restarts.get(reason, 0))
            self.load_failures.pop(first.settings_key, None)
            version = self.predictor.description(first.settings_key).version
            took = self.clock.monotonic() - started
            self.metrics.predict_seconds.labels(self.provider).observe(took)
            self.portions.took(first.settings_key, len(jobs), took)
        await asyncio.sleep(0)  # the next batch goes to the model before this one's answers are aligned
        return [self._outcome(job, one, version) for job, one in zip(jobs, said, strict=True)]

    async def _said(self, jobs: Sequence[_Job], inputs: Sequence[Input]) -> Sequence[bytes | Told | Failed]:
        """What the model says, asked once about equal inputs; it is not asked what nobody waits for any more."""
        now, key = self.clock.now_ms(), jobs[0].prepared.settings_key
        lane = Lane(jobs[0].request.lane)
        wanted = [place for place, one in enumerate(inputs) if one.deadline_ms is None or now <= one.deadline_ms]
        urgent = lane is Lane.INTERACTIVE
        questions = [(urgent, key, inputs[place].field, jobs[place].request.input_hash) for place in wanted]

        asked: Sequence[int] = ()

        async def ask(places: Sequence[int]) -> Sequence[bytes | Told | Failed]:
            nonlocal asked
            asked = places
            return await self.predictor.predict_each(key, [inputs[wanted[place]] for place in places], lane)

        said = dict(zip(wanted, await self.alike.each(questions, ask), strict=True))
        self.metrics.joined.labels(self.provider).inc(len(questions) - len(asked))
        return [said.get(place, _LATE) for place in range(len(inputs))]

    def _unloadable(self, jobs: Sequence[_Job], error: CannotLoad) -> Sequence[Outcome]:
        """A model that takes its process with it is tried a few times; then it must not hold up the others."""
        key = jobs[0].prepared.settings_key
        self.load_failures[key] = self.load_failures.get(key, 0) + 1
        if self.load_failures[key] < LOAD_ATTEMPTS:
            raise Unavailable(f"worker of {self.provider}: {error}") from error
        return [_failed(job.request, "model_cannot_load", str(error)) for job in jobs]

    def _outcome(self, job: _Job, said: bytes | Told | Failed, version: str) -> Outcome:
        data = job.request
        if isinstance(said, Told):
            version = said.version
            said = said.regions
        if isinstance(said, Failed):
            outcome = "expired" if said.reason == "deadline" else "failed"
            return _failed(data, said.reason, said.detail, outcome=outcome, version=version)
        aligned = job.prepared.aligner.align(data.data, said)
        for reason, count in aligned.dropped.items():
            self.metrics.regions_dropped.labels(self.provider, reason).inc(count)
        return PredictionCreated(
            **_same(data),
            version=version,
            regions=aligned.regions,
            score=aligned.min_score,
            label_set=job.prepared.label_set,
            threshold=job.prepared.model.threshold,
            dropped=dict(aligned.dropped),
        )

    async def _told(self, request: Requested, outcome: Outcome) -> list[AnyEvent]:
        """The outcome on its topic, and a copy to whoever waits for it."""
        told = self._event(outcome)
        if isinstance(outcome, PredictionCreated) and _perhaps_large(request.data, outcome) and _too_large(told):
            outcome = await self._shed(request.data, outcome)
            told = self._event(outcome)
        state = "created"
        if isinstance(outcome, PredictionFailed):
            state = outcome.outcome
            _log.info(
                "prediction failed",
                task=outcome.task, request=outcome.request, run=outcome.run, model=outcome.model, reason=outcome.reason,
            )  # fmt: skip
        self.metrics.predicted.labels(self.provider, state).inc()
        if request.data.correlation is None:
            return [told]
        copy = self._event(told.data, topic=names.REPLIES, key=request.data.correlation)
        return [told, copy]

    async def _shed(self, request: PredictionRequested, outcome: PredictionCreated) -> Outcome:
        """A prediction that fits into an event: its regions are stored, and named."""
        regions = blob_of(outcome.model_dump(mode="json", include={"regions"}, exclude_none=True)["regions"])
        try:
            await self.blobs.put(outcome.project, outcome.task, regions)
        except InvalidEvent:
            return _failed(request, "output_too_large", "too many regions for one event", version=outcome.version)
        return outcome.model_copy(update={"regions": (), "regions_blob": regions.ref})

    def _event(self, data: Outcome, *, topic: str | None = None, key: str | None = None) -> AnyEvent:
        return event(
            data,
            id=names.derived(data.TYPE, data.request),
            source=f"/inference/{self.provider}",
            time_ms=self.clock.now_ms(),
            topic=topic,
            key=key,
        )


def _for(data: PredictionRequested, outcome: Outcome) -> Outcome:
    """An answer to the same request, as told to this asker: another correlation, perhaps another revision."""
    if (outcome.correlation, outcome.revision, outcome.run) == (data.correlation, data.revision, data.run):
        return outcome
    return outcome.model_copy(update=_same(data))


def _input(job: _Job, kinds: frozenset[str]) -> Input:
    return Input(job.request.task, job.request.data, job.prepared.field_for(kinds), job.request.deadline_ms)


def _portions(batch: Sequence[Requested]) -> Iterator[list[int]]:
    """Places in the batch: what is there already, then the rest in portions that are not too much to hold."""
    sizes = [sum(ref.bytes for ref in e.data.blobs.values()) for e in batch]
    yield [place for place, size in enumerate(sizes) if not size]
    some: list[int] = []
    held = 0
    for place, size in enumerate(sizes):
        if size and some and held + size > LARGE_BYTES:
            yield some
            some, held = [], 0
        if size:
            some.append(place)
            held += size
    yield some


def _perhaps_large(request: PredictionRequested, outcome: PredictionCreated) -> bool:
    """Worth a look: few regions about little data always fit."""
    return len(outcome.regions) > MANY or bool(request.blobs)


def _too_large(told: AnyEvent) -> bool:
    return len(cloudevents.encode(told)[1]) > MAX_EVENT_BYTES


def _by_model(jobs: Mapping[int, _Job]) -> Mapping[str, list[int]]:
    groups: dict[str, list[int]] = {}
    for place, job in jobs.items():
        groups.setdefault(job.prepared.settings_key, []).append(place)
    return groups


def _same(data: PredictionRequested) -> dict[str, Any]:
    """What an outcome repeats of its request."""
    return {name: getattr(data, name) for name in _REPEATED}


_REPEATED = tuple(PredictionCreated.model_fields.keys() & PredictionRequested.model_fields.keys())


def _failed(
    data: PredictionRequested, reason: str, detail: str, *, outcome: str = "failed", version: str | None = None
) -> PredictionFailed:
    return PredictionFailed.model_validate(
        {**_same(data), "reason": reason, "detail": detail[:1000], "outcome": outcome, "version": version}
    )
