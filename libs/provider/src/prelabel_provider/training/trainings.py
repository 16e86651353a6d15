"""Trainings as the store has them: what was asked for, who is at it, what came of it.

One record per training, changed by compare-and-set alone. The training service writes it before it asks for the
training; from then on it is its holder's, who took it under a lease:

- `take` gives a training to one holder: nobody else gets it before the lease has ended. Each take has a number, the
  fence. `save` and `renew` write nothing for a holder whose fence is no longer the record's.
- `cancel` is anybody's. Where nobody is at the training it ends at once; a holder finds it with the next `renew`.
- What has ended stays as it ended: its state, version and artifact.
- `owed` finds what a provider was asked and has not answered: what has not ended, so that what a dead trainer left goes
  on, and what has ended and may not have been told. `settle` takes it off.

Leases are measured by the clocks of those who hold them: these must agree to within a few seconds, or two may be at one
training for as long as they differ. The fence holds all the same: only one of them ends it.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Final

from prelabel_contract.base import READING, Count, Json, Milliseconds, Model, Score, Slug
from prelabel_runtime import log
from prelabel_runtime.clock import Clock
from prelabel_runtime.errors import Unavailable
from prelabel_runtime.store.documents import Document, Documents
from pydantic import Field, ValidationError

_log = log.get("prelabel.training")

KIND: Final = "training"
"""The kind of a training's document; its key is `key_of`."""
UNENDED: Final = "training_unended"
"""The kind of the list of what has not ended, or whose end was not told: <provider>/<key of the training>."""
LOG_LINES: Final = 200
"""Kept of a training: the last ones."""
LOG_CHARACTERS: Final = 500
"""Of a line."""
_ATTEMPTS: Final = 100
"""Of one compare-and-set: so many others were faster."""
_PAGE: Final = 200


class TrainingState(StrEnum):
    """How far a training is. The last four are final."""

    REQUESTED = "requested"
    TRAINING = "training"
    EVALUATING = "evaluating"
    """Its model is published, and answers the hold-out."""
    TRAINED = "trained"
    """There is a version, which a gate judges."""
    FAILED = "failed"
    REFUSED = "refused"
    """Nothing was computed: there is no model in what it was given."""
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """Whether nothing more will be done."""
        return self not in _OPEN


_OPEN = frozenset({TrainingState.REQUESTED, TrainingState.TRAINING, TrainingState.EVALUATING})


class TrainingProgress(Model):
    """How far the training is, as its trainer said last."""

    step: Count = 0
    steps: Count = 0
    """In all, as far as is known; 0: not known."""
    loss: float | None = None
    score: Score | None = None
    """On the trainer's own part of the examples."""
    seconds_left: float | None = None


class TrainingRecord(Model):
    """One training of one model."""

    training: str
    """<project>/<model>/<number>."""
    project: Slug
    model: Slug
    provider: Slug
    number: Annotated[int, Field(ge=1, le=99_999_999)]
    """From 1, per model."""
    config: str
    """Hash of the project's configuration that says what is learned."""
    cut: Count = 0
    """Offset, on the annotations, of the last one that it learns from."""
    fingerprint: str = ""
    """Of the examples."""
    examples: Count = 0
    """How many there are."""
    holdout: Count = 0
    """Tasks that are kept for judging."""
    seed: Annotated[int, Field(ge=0, lt=1 << 32)] = 0
    start: str = "blank"
    """What it begins with, as `ModelTraining.start` says: blank, settings, serving."""
    base: str | None = None
    """The artifact that is trained further."""
    serving_version: str | None = None
    """What served when the training was asked for: the candidate is compared with it."""
    serving_artifact: str = ""
    """Empty: the model as its settings say."""
    serving_epoch: Count = 0
    settings: dict[str, Json] = Field(default_factory=dict)
    """The trainer's."""
    threads: Annotated[int, Field(ge=1)] = 1
    time_seconds: Annotated[float, Field(gt=0)] = 3600.0
    """Of one attempt's training; more, and it is killed."""
    memory_mib: Annotated[int, Field(ge=64)] | None = None
    """Of the training's process; None: what the trainer role is set to."""

    state: TrainingState = TrainingState.REQUESTED
    cancel: bool = False
    """It is to end; who holds it sees to that."""
    holder: str = ""
    """Empty: nobody."""
    lease_until_ms: Milliseconds = 0
    fence: Count = 0
    """Grows by one each time that it is taken."""
    attempt: Count = 0
    """How often it was begun."""
    tries: Count = 0
    """How often since it was asked for, or came further: so many crashes end it."""
    progress: TrainingProgress = TrainingProgress()
    log: tuple[tuple[Milliseconds, str], ...] = ()
    """(when, line), oldest first."""

    version: str | None = None
    artifact: str | None = None
    metrics: dict[str, float] = Field(default_factory=dict)
    """What the trainer measured, on its own part of the examples."""
    libraries: dict[str, str] = Field(default_factory=dict)
    """Versions of what the artifact depends on."""
    package: str = ""
    """Version of the provider's package that trained."""
    reason: str = ""
    """A word for machines: why there is no version."""
    detail: str = ""
    """A sentence for people."""
    requested_ms: Milliseconds
    started_ms: Milliseconds | None = None
    """When it was first taken."""
    ended_ms: Milliseconds | None = None

    def but(self, **changes: Any) -> "TrainingRecord":
        """The same with other values, checked by whoever gives them."""
        return self.model_copy(update=changes)

    def told(self, at_ms: int, *lines: str) -> "TrainingRecord":
        """With more lines in its log."""
        added = tuple((at_ms, line[:LOG_CHARACTERS]) for line in lines)
        return self.but(log=(*self.log, *added)[-LOG_LINES:])


def training_id(project: str, model: str, number: int) -> str:
    """The name of a training."""
    return f"{project}/{model}/{number}"


def parse_training_id(training: str) -> tuple[str, str, int]:
    """(project, model, number). Raises ValueError for anything else."""
    parts = training.split("/")
    if len(parts) != 3 or not (parts[2].isascii() and parts[2].isdecimal()):
        raise ValueError(f"{training[:200]!r} is not project/model/number")
    return parts[0], parts[1], int(parts[2])


def version_name(number: int, artifact: str) -> str:
    """What a training's version is called."""
    return f"{number}-{artifact[:12]}"


def key_of(project: str, model: str, number: int) -> str:
    """The key of a training's document: they sort as their numbers do."""
    return f"{project}/{model}/{number:08d}"


@dataclass(frozen=True, slots=True)
class Trainings:
    """The trainings of a store. Raises `Unavailable` where it does not answer."""

    documents: Documents
    clock: Clock

    # -------------------------------------------------------------------------------------------------------- looking

    async def get(self, project: str, model: str, number: int) -> TrainingRecord | None:
        """One training."""
        found = await self.documents.get(KIND, key_of(project, model, number))
        return None if found is None else _record(found)

    async def of(
        self, project: str, model: str, limit: int = _PAGE, after: int | None = None
    ) -> Sequence[TrainingRecord]:
        """A model's trainings, newest first; `after`: those before that number."""
        found = await self.documents.page(
            KIND,
            prefix=f"{project}/{model}/",
            limit=limit,
            after=None if after is None else key_of(project, model, after),
            newest=True,
        )
        return [_record(one) for one in found]

    async def owed(self, provider: str) -> Sequence[TrainingRecord]:
        """What a provider was asked and has not answered, the oldest first."""
        there: list[TrainingRecord] = []
        after: str | None = None
        while listed := await self.documents.page(UNENDED, prefix=f"{provider}/", limit=_PAGE, after=after):
            found = await self.documents.get_many(KIND, [entry.key.partition("/")[2] for entry in listed])
            there += _readable(found.values())  # what is not there is being asked for just now
            after = listed[-1].key
        return sorted(there, key=lambda record: (record.requested_ms, record.training))

    # ------------------------------------------------------------------------------------------------------- changing

    async def request(self, record: TrainingRecord) -> TrainingRecord:
        """Write down a training that is asked for. Where there is one of that number it stays, and is answered."""
        key = key_of(record.project, record.model, record.number)
        await self.owe(record)  # first: nothing is forgotten
        written = await self.documents.put(KIND, key, record.model_dump_json(), expected=0)
        if written is not None:
            return record
        found = await self.documents.get(KIND, key)
        if found is None:
            raise Unavailable("the training's record")  # it came and went meanwhile
        return _record(found)

    async def take(self, training: str, holder: str, lease_seconds: float) -> TrainingRecord | None:
        """Hold a training for so many seconds. None: somebody is at it, it has ended, or there is none.

        Who holds it already does not get it again before its lease has ended.
        """

        def taken(record: TrainingRecord) -> TrainingRecord | None:
            now = self.clock.now_ms()
            if record.state.final or record.cancel or (record.holder and record.lease_until_ms > now):
                return None
            return record.but(
                state=TrainingState.TRAINING if record.state is TrainingState.REQUESTED else record.state,
                holder=holder,
                lease_until_ms=_after(now, lease_seconds),
                fence=record.fence + 1,
                attempt=record.attempt + 1,
                tries=record.tries + 1,
                started_ms=now if record.started_ms is None else record.started_ms,
            )

        return await self._change(training, taken)

    async def renew(self, record: TrainingRecord, lease_seconds: float) -> TrainingRecord | None:
        """Save it and hold it for so many seconds from now. None: it is somebody else's by now, or has ended."""
        return await self.save(record.but(lease_until_ms=_after(self.clock.now_ms(), lease_seconds)))

    async def release(self, record: TrainingRecord) -> None:
        """Let go of it before its end: whoever comes first takes it, and nothing has failed."""
        await self.save(record.but(holder="", lease_until_ms=0, tries=max(0, record.tries - 1)))

    async def save(self, record: TrainingRecord) -> TrainingRecord | None:
        """Write what its holder knows, and answer what stands there: it may have been cancelled meanwhile.

        A state that is final lets go of it. None: nothing was written, for it is somebody else's by now, or has ended.
        """

        def saved(stored: TrainingRecord) -> TrainingRecord | None:
            if stored.fence != record.fence or stored.state.final:
                return None
            kept = record.but(cancel=stored.cancel or record.cancel)
            return self._ended(kept) if kept.state.final else kept

        return await self._change(record.training, saved)

    async def cancel(self, training: str) -> TrainingRecord | None:
        """Ask for a training's end: at once where nobody is at it. One that has ended stays so. None: there is none."""

        def cancelled(record: TrainingRecord) -> TrainingRecord | None:
            if record.state.final:
                return None
            if record.holder and record.lease_until_ms > self.clock.now_ms():
                return record.but(cancel=True)
            end = record.but(
                cancel=True,
                state=TrainingState.CANCELLED,
                fence=record.fence + 1,
                reason="cancelled",
                detail="it was cancelled",
            )
            return self._ended(end)

        written = await self._change(training, cancelled)
        return written if written is not None else await self.get(*parse_training_id(training))

    async def owe(self, record: TrainingRecord) -> None:
        """Put a training that has not ended among what is owed, where it should be already."""
        key = key_of(record.project, record.model, record.number)
        await self.documents.put(UNENDED, f"{record.provider}/{key}", "{}", expected=0)

    async def settle(self, record: TrainingRecord) -> None:
        """Everybody has been told of a training's end: nothing is owed any more, unless it was opened again."""
        key = key_of(record.project, record.model, record.number)
        await self.documents.delete(UNENDED, f"{record.provider}/{key}", expected=1)
        now = await self.get(record.project, record.model, record.number)
        if now is not None and not now.state.final:
            await self.owe(now)

    def _ended(self, record: TrainingRecord) -> TrainingRecord:
        ended = self.clock.now_ms() if record.ended_ms is None else record.ended_ms
        return record.but(holder="", lease_until_ms=0, tries=0, ended_ms=ended)

    async def _change(
        self, training: str, change: Callable[[TrainingRecord], TrainingRecord | None]
    ) -> TrainingRecord | None:
        key = key_of(*parse_training_id(training))
        for _ in range(_ATTEMPTS):
            found = await self.documents.get(KIND, key)
            if found is None or (wanted := change(_record(found))) is None:
                return None
            body = wanted.model_dump_json()
            if body == found.body or await self.documents.put(KIND, key, body, expected=found.revision) is not None:
                return wanted
        raise Unavailable("the training's record")


def _readable(documents: Iterable[Document]) -> Iterator[TrainingRecord]:
    """Those that can be read: one that cannot must not keep the others waiting."""
    for document in documents:
        try:
            yield _record(document)
        except ValidationError as error:
            _log.error("a training's record cannot be read", key=document.key, errors=error.error_count())


def _record(document: Document) -> TrainingRecord:
    return TrainingRecord.model_validate_json(document.body, context=dict(READING))


def _after(now_ms: int, seconds: float) -> int:
    return now_ms + int(seconds * 1000)
