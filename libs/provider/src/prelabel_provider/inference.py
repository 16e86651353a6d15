"""From requests to outcomes: the one handler of every provider.

A batch is grouped by model, predicted in the model's worker process, aligned with each project's label set, and
answered with exactly one outcome per request. What a single task does wrong ends that task's request; what keeps all
tasks from being predicted (no worker, no configuration to be read) pauses the lane.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from prelabel_contract.events import (
    ConfigPublished,
    Event,
    Outcome,
    PredictionFailed,
    PredictionRequested,
)
from prelabel_contract.names import Lane
from prelabel_contract.projects import ModelSpec, Question
from prelabel_runtime.blobs import BlobError, Blobs
from prelabel_runtime.clock import Clock
from prelabel_runtime.errors import TryAgain, Unavailable
from prelabel_runtime.metrics import Metrics
from prelabel_runtime.service import Reply
from prelabel_runtime.tables import Table

from .align import Aligner, Unreadable, as_trained
from .base import BadSettings, Failed, Input
from .joined import Alike, Joined, has_expired
from .lanes import Portions
from .outcomes import Outcomes, created, failed, same_for
from .predictor import LATE, CannotLoad, CannotStart, Predictor, Told
from .serving.served import CANARY, Line, Release, Served, Versions, served
from .worth import Worth

Requested = Event[PredictionRequested]

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


@dataclass(slots=True)
class _Prepared:
    """A model of a configuration, ready to be asked."""

    model: ModelSpec
    line: Line
    release: Release | None
    """Of the line, when `served` was made."""
    served: Served
    asked: Sequence[Question]
    label_set: str
    aligner: Aligner
    trained: Aligner
    """That of its trained versions."""
    fields: dict[frozenset[str], str] = field(default_factory=dict)
    """By what the model gives."""

    def field_for(self, kinds: frozenset[str]) -> str:
        """The field of the first question that a model which gives these kinds can answer."""
        if (known := self.fields.get(kinds)) is None:
            fitting = (question.field for question in self.asked if question.kind in kinds)
            known = self.fields[kinds] = next(fitting, self.asked[0].field)
        return known

    def now(self) -> Served:
        """How the model is asked by what its line serves now."""
        if self.release is not self.line.release:
            self.release = self.line.release
            self.served = served(self.model.settings, self.release)
        return self.served


class _Job(NamedTuple):
    """A request on its way."""

    request: PredictionRequested
    prepared: _Prepared
    served: Served
    """The version that it began with, and ends with."""


@dataclass(frozen=True, slots=True)
class Inference:
    """Everything that predicting looks at."""

    provider: str
    predictor: Predictor
    configs: Table[ConfigPublished]
    blobs: Blobs
    clock: Clock
    metrics: Metrics
    versions: Versions = field(default_factory=Versions)
    prepared: dict[tuple[str, str], _Prepared] = field(default_factory=dict)
    load_failures: dict[str, int] = field(default_factory=dict)
    counted: dict[str, float] = field(default_factory=dict)
    """Of what the predictor counts, what the metrics have been told."""
    joined: Joined = field(default_factory=Joined)
    portions: Portions = field(default_factory=Portions)
    worth: Worth = field(default_factory=Worth)
    alike: Alike[tuple[bool, str, str, str], bytes | Told | Failed] = field(default_factory=Alike)

    @property
    def outcomes(self) -> Outcomes:
        """What tells them."""
        return Outcomes(self.provider, self.blobs, self.clock, self.metrics)

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
                    [replies[place]] = await self.outcomes.tell([(batch[place], error)])
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
            return failed(data, "blob", error.detail)
        return requested._replace(data=data.model_copy(update={"data": fields}))

    async def _predicted(self, batch: Sequence[Requested]) -> Sequence[Reply]:
        """One outcome per request, as it is told."""
        try:
            outcomes = await self._answers(batch)
            told = [(e, same_for(e.data, outcome)) for e, outcome in zip(batch, outcomes, strict=True)]
            return await self.outcomes.tell(told)
        finally:
            self.joined.forget()

    async def _answers(self, batch: Sequence[Requested]) -> list[Outcome]:
        """One outcome per request; one that is under way already waits for that answer.

        It is asked anew where that came to nothing, since whoever asked first did not wait for as long.
        """
        asked = [(e, *self.joined.ask(e.data.request, urgent=e.data.lane == Lane.INTERACTIVE)) for e in batch]
        mine = [(e.data, answer) for e, answer, is_first in asked if is_first]
        outcomes: dict[str, Outcome] = {}
        try:
            await self._end([data for data, _ in mine], outcomes)
        finally:  # what was answered is not asked again, if the rest cannot be had now
            self.joined.end(outcomes.items())
            self.joined.drop((data.request, answer) for data, answer in mine if data.request not in outcomes)
        said = [_longest(await _had(answer), outcomes.get(e.data.request)) for e, answer, _ in asked]
        cut = [
            place
            for place, (e, _, is_first) in enumerate(asked)
            if not is_first and has_expired(said[place]) and self._waits(e.data.deadline_ms)
        ]
        if cut:
            for place, one in zip(cut, await self._answers([batch[place] for place in cut]), strict=True):
                said[place] = one
        return said

    async def _end(self, requests: Sequence[PredictionRequested], outcomes: dict[str, Outcome]) -> None:
        """Put the outcome of each request under its id. Models are asked at once; one may be slower than another."""
        jobs: dict[int, _Job] = {}
        for place, request in enumerate(requests):
            found = self._known(request) or await self._job(request)
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
        return self.portions.of(first.served.key, same) if first.request.lane == Lane.BACKFILL else [same]

    async def _job(self, data: PredictionRequested) -> _Job | PredictionFailed:
        if data.deadline_ms is not None and self.clock.now_ms() > data.deadline_ms:
            return failed(data, LATE.reason, LATE.detail, outcome="expired")
        prepared = await self._prepare(data)
        if isinstance(prepared, PredictionFailed):
            return prepared
        while (settle := prepared.line.cold) is not None:
            await settle()
        return _Job(data, prepared, prepared.now())

    def _known(self, data: PredictionRequested) -> _Job | None:
        """A request that is in time, to a model that is known."""
        prepared = self.prepared.get((data.config, data.model))
        if prepared is None or data.deadline_ms is not None or prepared.line.cold is not None:
            return None
        return _Job(data, prepared, prepared.now())

    async def _prepare(self, data: PredictionRequested) -> _Prepared | PredictionFailed:
        if (known := self.prepared.get((data.config, data.model))) is not None:
            return known
        config = await self.configs.find(data.config)
        if config is None:
            return failed(data, "unknown_config", "the project's configuration of that hash is not known")
        model = config.project.model(data.model)
        if model is None:
            return failed(data, "unknown_model", f"the project has no model {data.model!r}")
        while len(self.prepared) >= MAX_PREPARED:
            del self.prepared[next(iter(self.prepared))]
        line = self.versions.line(config.project.id, model.name)
        line.asked_with(model.settings)
        prepared = self.prepared[data.config, data.model] = _Prepared(
            model=model,
            line=line,
            release=line.release,
            served=served(model.settings, line.release),
            asked=config.project.questions_of(model),
            label_set=config.project.label_set_hash,
            aligner=Aligner(config.project, model),
            trained=Aligner(config.project, as_trained(model)),
        )
        return prepared

    async def _predict(self, jobs: Sequence[_Job]) -> Sequence[Outcome]:
        """Requests to one version of a model: the same settings, perhaps of several projects."""
        asked = jobs[0].served
        async with self.predictor.turn(Lane(jobs[0].request.lane), len(jobs)):
            started = self.clock.monotonic()
            try:
                kinds = (await self.predictor.load(asked.settings)).kinds
                inputs = [_input(job, kinds) for job in jobs]
                said = await self._said(jobs, inputs)
            except BadSettings as error:
                return self._refused(jobs, error)
            except CannotLoad as error:
                return self._unloadable(jobs, error)
            except CannotStart as error:
                raise Unavailable(f"worker of {self.provider}: {error}") from error
            finally:
                self._count(len(jobs))
            self.load_failures.pop(asked.key, None)
            version = asked.version or self.predictor.description(asked.key).version
            took = self.clock.monotonic() - started
            self.metrics.predict_seconds.labels(self.provider).observe(took)
            # Where it is known, without the wait for those that were asked before: else a portion shrinks by its place.
            own = self.predictor.seconds_each(asked.key)
            self.portions.took(asked.key, len(jobs), took if own is None else own * len(jobs))
            last = jobs[-CANARY:]
            if not any(job.request.blobs for job in last):  # large ones are not kept in memory
                self.versions.remember([job.prepared.line for job in last], inputs, said)
        await asyncio.sleep(0)  # the next batch goes to the model before this one's answers are aligned
        return [self._outcome(job, one, version) for job, one in zip(jobs, said, strict=True)]

    def _count(self, requests: int) -> None:
        """Tell the metrics what the predictor has counted since somebody did: at the end of the last batch."""
        for reason, count in self.predictor.restarts.items():
            self.metrics.worker_restarts.labels(self.provider, reason).inc(self._more(reason, count))
        for state, seconds in self.predictor.seconds.items():
            more = self._more(state, seconds)
            self.metrics.worker_seconds.labels(self.provider, state).inc(more)
            if state == "busy":
                self.worth.took(requests, more)

    def _more(self, name: str, now: float) -> float:
        before, self.counted[name] = self.counted.get(name, 0.0), now
        return now - before

    async def _said(self, jobs: Sequence[_Job], inputs: Sequence[Input]) -> Sequence[bytes | Told | Failed]:
        """What the model says, asked once about equal inputs; it is not asked what nobody waits for any more."""
        key, lane = jobs[0].served.key, Lane(jobs[0].request.lane)
        wanted = [place for place, one in enumerate(inputs) if self._waits(one.deadline_ms)]
        urgent = lane is Lane.INTERACTIVE
        questions = [(urgent, key, inputs[place].field, jobs[place].request.input_hash) for place in wanted]

        asked: Sequence[int] = ()

        async def ask(places: Sequence[int]) -> Sequence[bytes | Told | Failed]:
            nonlocal asked
            asked = places
            return await self.predictor.predict_each(key, [inputs[wanted[place]] for place in places], lane)

        said = dict(zip(wanted, await self.alike.each(questions, ask), strict=True))
        self.metrics.joined.labels(self.provider).inc(len(questions) - len(asked))
        # Whoever asked the same, and was joined, may not have waited for as long.
        if late := [place for place in wanted if said[place] == LATE and self._waits(inputs[place].deadline_ms)]:
            again = await self.predictor.predict_each(key, [inputs[place] for place in late], lane)
            said |= dict(zip(late, again, strict=True))
        return [said.get(place, LATE) for place in range(len(inputs))]

    def _waits(self, deadline_ms: int | None) -> bool:
        """Somebody still waits for the answer."""
        return deadline_ms is None or self.clock.now_ms() <= deadline_ms

    def _refused(self, jobs: Sequence[_Job], error: BadSettings) -> Sequence[Outcome]:
        """Settings that make no sense fail what asks with them."""
        self._doubt(jobs, error)
        return [failed(job.request, "settings", str(error)) for job in jobs]

    def _doubt(self, jobs: Sequence[_Job], error: Exception) -> None:
        """A version that was loaded before, and cannot be loaded any more, is settled anew. Raises `Unavailable`."""
        asked = jobs[0].served
        if asked.version is None or not self._was_loaded(asked.key):
            return
        for line in {job.prepared.line for job in jobs}:
            if line.release is not None and line.release.version == asked.version:
                line.doubt()
        raise Unavailable(f"version {asked.version}: {error}") from error

    def _was_loaded(self, key: str) -> bool:
        try:
            return bool(self.predictor.description(key).version)
        except KeyError:
            return False

    def _unloadable(self, jobs: Sequence[_Job], error: CannotLoad) -> Sequence[Outcome]:
        """A model that takes its process with it is tried a few times; then it must not hold up the others."""
        key = jobs[0].served.key
        self.load_failures[key] = self.load_failures.get(key, 0) + 1
        if self.load_failures[key] < LOAD_ATTEMPTS:
            raise Unavailable(f"worker of {self.provider}: {error}") from error
        self._doubt(jobs, error)
        return [failed(job.request, "model_cannot_load", str(error)) for job in jobs]

    def _outcome(self, job: _Job, said: bytes | Told | Failed, version: str) -> Outcome:
        data, prepared, asked = job
        uncertainty: float | None = None
        if isinstance(said, Told):
            version = said.version or version
            uncertainty = said.uncertainty
            said = said.regions
        if isinstance(said, Failed):
            outcome = "expired" if said == LATE else "failed"
            return failed(data, said.reason, said.detail, outcome=outcome, version=version)
        aligner = prepared.aligner if asked.version is None else prepared.trained
        try:
            aligned = aligner.align(data.data, said)
        except Unreadable as error:
            return failed(data, "output", str(error), version=version)
        for reason, count in aligned.dropped.items():
            self.metrics.regions_dropped.labels(self.provider, reason).inc(count)
        label_set, threshold = prepared.label_set, prepared.model.threshold
        return created(
            data, aligned, version=version, label_set=label_set, threshold=threshold, uncertainty=uncertainty
        )


async def _had(answer: "asyncio.Future[Outcome]") -> Outcome:
    return answer.result() if answer.done() else await asyncio.shield(answer)


def _longest(answer: Outcome, own: Outcome | None) -> Outcome:
    """The answer to the same request, but for one that came to nothing since its asker waited for a shorter time."""
    return own if own is not None and has_expired(answer) else answer


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


def _by_model(jobs: Mapping[int, _Job]) -> Mapping[str, list[int]]:
    groups: dict[str, list[int]] = {}
    for place, job in jobs.items():
        groups.setdefault(job.served.group, []).append(place)
    return groups
