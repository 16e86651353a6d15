"""Routes of dead letters: look, replay, discard. What people need at night is in docs/dead-letters.md."""

import base64
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Header, Query, Request, Response
from prelabel_contract import names
from prelabel_contract.errors import InvalidEvent
from prelabel_runtime.bus.base import Bus, Partition, Record
from prelabel_runtime.dead_letters import DEAD_LETTER_HEADER, read_aside
from prelabel_runtime.errors import Unavailable
from prelabel_runtime.http.access import REVIEWERS, Caller, Reach, allow, caller_of
from prelabel_runtime.http.answers import answer
from prelabel_runtime.http.bodies import inline, json_of
from prelabel_runtime.http.cursors import cursor_of, key_of
from prelabel_runtime.http.described import gives
from prelabel_runtime.http.problems import Problem, not_found
from prelabel_runtime.store.base import Store
from prelabel_runtime.store.dead_letters import KnownLetter, LetterFilter, LetterState, StoredLetter
from prelabel_runtime.store.jobs import StoredJob
from prelabel_runtime.store.paging import PageKey
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from .answers import LetterPage, ShownLetter, ShownReplay, WholeLetter
from .letters import Original
from .limits import Limit
from .replays import KIND, Progress, Replays, Wanted
from .settings import ProjectionSettings

_TEXT_BYTES = 256 << 10
"""Of a value that is shown as text beside its base64."""

Name = Annotated[str | None, Query(min_length=1, max_length=200)]


class DiscardWanted(BaseModel):
    """Why a dead letter is not needed."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)
    reason: Annotated[str, Field(min_length=1, max_length=500)]
    """For whoever reads the audit."""


class FilterWanted(BaseModel):
    """Open dead letters of a group, of a reason, or all of them."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)
    group: Annotated[str | None, Field(min_length=1, max_length=120)] = None
    reason: Annotated[str | None, Field(min_length=1, max_length=200)] = None


class ReplayWanted(BaseModel):
    """Which dead letters to replay: `ids` or `filter`, and how many per second at most."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)
    ids: Annotated[list[str] | None, Field(min_length=1, max_length=10_000)] = None
    filter: FilterWanted | None = None
    rate: Annotated[float | None, Field(ge=0.1, le=1000)] = None

    @model_validator(mode="after")
    def _one_of_them(self) -> "ReplayWanted":
        if (self.ids is None) == (self.filter is None):
            raise ValueError("name either ids or a filter")
        return self


class Letters:
    """Dead letters, for callers: what is not there, or not theirs, raises a 404."""

    def __init__(self, store: Store, bus: Bus) -> None:
        self.store = store
        self._bus = bus

    async def find(self, letter: str, caller: Caller) -> KnownLetter:
        """One letter."""
        known = await self.store.dead_letters.get(letter)
        if known is None or not _reaches(caller, known.letter):
            raise not_found("dead_letter", letter)
        return known

    async def original(self, letter: StoredLetter) -> Original:
        """The record as its sender wrote it, from the log where the index has only its beginning."""
        kept = Original.read(letter)
        if letter.whole:
            return kept
        places = (
            (Partition(names.dead_letters(letter.group), letter.partition), letter.offset),
            (Partition(letter.topic, letter.origin_partition), letter.origin_offset),
        )
        for place, offset in places:
            record = await self._record(place, offset)
            if record is not None:
                found = Original.of(record, read_aside(record, DEAD_LETTER_HEADER))
                if found.whole and len(found.value or b"") == letter.size:
                    return found
        return kept

    async def _record(self, place: Partition, offset: int) -> Record | None:
        try:
            found = await self._bus.fetch(place, offset, 1)
        except (Unavailable, ValueError):
            return None
        return found[0] if found and found[0].offset == offset else None


def _reaches(caller: Caller, letter: StoredLetter) -> bool:
    """Letters of which nobody can say whose they are are for those who reach everything."""
    return caller.projects is None or (letter.project is not None and caller.reaches(letter.project))


def routes(letters: Letters, replays: Replays, settings: ProjectionSettings, new_id: Any) -> APIRouter:
    """All of them."""
    router = APIRouter(prefix="/v1", tags=["dead letters"])
    may_read = allow("deadletter.list", REVIEWERS, Reach.LISTING)

    @router.get("/deadletters", dependencies=[may_read])
    @gives(LetterPage)
    async def list_dead_letters(
        request: Request,
        group: Name = None,
        reason: Name = None,
        state: LetterState | None = None,
        limit: Limit = 100,
        cursor: str | None = None,
    ) -> Response:
        """Dead letters, newest first."""
        wanted = LetterFilter(group=group, reason=reason, state=state, projects=caller_of(request).projects)
        found = await letters.store.dead_letters.page(wanted, limit=limit + 1, after=key_of(cursor))
        last = found[limit - 1].letter if len(found) > limit else None
        return answer(
            {
                "deadletters": [shown(one) for one in found[:limit]],
                "next": cursor_of(PageKey(last.at_ms, last.letter) if last is not None else None),
            }
        )

    @router.get("/deadletters/{letter}", dependencies=[allow("deadletter.get", REVIEWERS, Reach.LISTING)])
    @gives(WholeLetter)
    async def get_dead_letter(letter: str, request: Request) -> Response:
        """One dead letter, with the record as its sender wrote it: bytes in base64, and as text or JSON where it is."""
        known = await letters.find(letter, caller_of(request))
        return answer({**shown(known), "record": _shown_record(await letters.original(known.letter))})

    @router.post("/deadletters/{letter}/replay", dependencies=[allow("deadletter.replay", REVIEWERS, Reach.LISTING)])
    @gives(ShownLetter)
    async def replay_dead_letter(letter: str, request: Request) -> Response:
        """Give the record to the group that gave it up, and to no other, once. A 409 if that was decided already."""
        caller = caller_of(request)
        return answer(shown(await replays.replay(await letters.find(letter, caller), caller.id)))

    @router.post(
        "/deadletters/{letter}/discard",
        dependencies=[allow("deadletter.discard", REVIEWERS, Reach.LISTING)],
        openapi_extra=inline(DiscardWanted),
    )
    @gives(ShownLetter)
    async def discard_dead_letter(letter: str, request: Request) -> Response:
        """Decide that the record is not needed, and say why."""
        wanted = await _body(request, DiscardWanted)
        caller = caller_of(request)
        known = await letters.find(letter, caller)
        return answer(shown(await replays.discard(known, caller.id, wanted.reason)))

    @router.post(
        "/replays",
        status_code=202,
        dependencies=[allow("replay.begin", REVIEWERS, Reach.LISTING)],
        openapi_extra=inline(ReplayWanted),
    )
    @gives(ShownReplay, 202, headers=("Location",))
    async def begin_replay(
        request: Request, idempotency_key: Annotated[str | None, Header(max_length=255)] = None
    ) -> Response:
        """Replay many dead letters: those named, or all open ones that a filter finds now, at a rate."""
        asked = await _body(request, ReplayWanted)
        caller = caller_of(request)
        wanted = Wanted(
            actor=caller.id,
            rate=asked.rate or settings.replay_rate,
            ids=tuple(dict.fromkeys(asked.ids)) if asked.ids is not None else None,
            group=asked.filter.group if asked.filter is not None else None,
            reason=asked.filter.reason if asked.filter is not None else None,
            projects=tuple(sorted(caller.projects)) if caller.projects is not None else None,
        )
        name = names.derived("replay", caller.id, idempotency_key.strip('"')) if idempotency_key else new_id()
        job = await replays.begin(wanted, name)
        if job.spec != wanted.json():
            raise Problem(409, "key_reused", "that Idempotency-Key began another replay")
        return answer(await _shown_job(letters.store, job), status=202, headers={"Location": f"/v1/replays/{job.job}"})

    @router.get("/replays/{replay}", dependencies=[allow("replay.get", REVIEWERS, Reach.LISTING)])
    @gives(ShownReplay)
    async def get_replay(replay: str, request: Request) -> Response:
        """How far a replay is, and what became of its letters."""
        job = await letters.store.jobs.get(KIND, replay)
        caller = caller_of(request)
        if job is None or not (caller.projects is None or Wanted.read(job.spec).actor == caller.id):
            raise not_found("replay", replay)
        return answer(await _shown_job(letters.store, job))

    return router


async def _body(request: Request, model: type[BaseModel]) -> Any:
    try:
        return model.model_validate(await json_of(request))
    except ValidationError as error:
        raise InvalidEvent.from_validation(error, what="body") from None


# ---------------------------------------------------------------------------------------------------------- as JSON


def shown(known: KnownLetter) -> dict[str, Any]:
    """A dead letter, without its record."""
    letter, decision = known.letter, known.decision
    result = None
    if known.resolved_ms is not None:
        result = "succeeded"
    elif known.again is not None:
        result = "dead_lettered_again"
    return {
        "id": letter.letter,
        "group": letter.group,
        "reason": letter.reason,
        "detail": letter.detail,
        "at_ms": letter.at_ms,
        "attempts": letter.attempts,
        "position": {"partition": letter.partition, "offset": letter.offset},
        "original": {
            "topic": letter.topic,
            "partition": letter.origin_partition,
            "offset": letter.origin_offset,
            "timestamp_ms": letter.origin_ms,
            "size": letter.size,
        },
        "project": letter.project,
        "task": letter.task,
        "type": letter.type,
        "state": str(known.state),
        "decided_by": decision.actor if decision is not None else None,
        "decided_ms": decision.at_ms if decision is not None else None,
        "discard_reason": (decision.why or None) if decision is not None else None,
        "replay": decision.replay if decision is not None else None,
        "result": result,
        "resolved_ms": known.resolved_ms,
        "again": known.again,
        "replay_of": letter.follows,
    }


def _shown_record(original: Original) -> dict[str, Any]:
    value = original.value
    document: Any = None
    text: str | None = None
    if value is not None and len(value) <= _TEXT_BYTES:
        try:
            text = value.decode()
            document = orjson.loads(value)
        except ValueError:
            pass  # no text, or no JSON: then the bytes alone tell
    return {
        "whole": original.whole,
        "key": _readable(original.key),
        "headers": [{"name": name, **_readable(content)} for name, content in original.headers],
        "value": None if value is None else base64.b64encode(value).decode(),
        "text": text,
        "json": document,
    }


def _readable(content: bytes | None) -> dict[str, Any]:
    if content is None:
        return {"base64": None, "text": None}
    try:
        text: str | None = content.decode()
    except UnicodeDecodeError:
        text = None
    return {"base64": base64.b64encode(content).decode(), "text": text}


async def _shown_job(store: Store, job: StoredJob) -> dict[str, Any]:
    progress, wanted = Progress.read(job.progress), Wanted.read(job.spec)
    results = await store.dead_letters.results(job.job)
    return {
        "replay": job.job,
        "state": str(job.state),
        "done": job.done,
        "total": job.total,
        "error": orjson.loads(job.error) if job.error else None,
        "created_ms": job.created_ms,
        "by": wanted.actor,
        "rate": wanted.rate,
        "replayed": progress.replayed,
        "skipped": progress.skipped,
        "failed": progress.failed,
        "failures": list(progress.failures),
        "succeeded": results.succeeded,
        "dead_lettered_again": results.again,
        "waiting": results.waiting,
    }
