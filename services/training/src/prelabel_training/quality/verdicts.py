"""What people made of suggestions, as the projection tells it: who accepted, corrected or refused which prediction.

One record per annotation (or per refusal), at its newest verdict: told again, or late, it changes nothing. Names only,
nothing of a task's content; they go with the annotation and with the task all the same, and a mark stays, so that an
old event brings nothing back.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum

import orjson
from prelabel_contract import names
from prelabel_contract.events import (
    AnnotationDeleted,
    AnnotationSubmitted,
    Event,
    SuggestionAccepted,
    SuggestionCorrected,
    SuggestionRejected,
    TaskDeleted,
)
from prelabel_runtime.service import Reply
from prelabel_runtime.store.documents import Documents

KIND = "suggestion"
_PAGE = 1000
_DONE: Reply = ()
_Told = SuggestionAccepted | SuggestionCorrected | SuggestionRejected


class Became(StrEnum):
    """What became of a suggestion."""

    ACCEPTED = "accepted"
    CORRECTED = "corrected"
    REJECTED = "rejected"


_BECAME: dict[type[_Told], Became] = {
    SuggestionAccepted: Became.ACCEPTED,
    SuggestionCorrected: Became.CORRECTED,
    SuggestionRejected: Became.REJECTED,
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a person made of a prediction."""

    became: Became
    task: str
    request: str
    annotator: str
    annotation: str | None
    """None: refused, so there is none."""
    model: str | None
    provider: str | None
    version: str | None


@dataclass(frozen=True, slots=True)
class Verdicts:
    """Keeps them."""

    documents: Documents

    async def told(self, batch: Sequence[Event[_Told]]) -> Sequence[Reply]:
        """Suggestions that were accepted, corrected, refused."""
        for one in batch:
            data = one.data
            verdict = Verdict(
                became=_BECAME[type(data)],
                task=data.task,
                request=data.request,
                annotator=data.annotator,
                annotation=data.annotation,
                model=data.model,
                provider=data.provider,
                version=data.version,
            )
            await self._put(data.project, _name(verdict), verdict, (one.time_ms, one.offset))
        return [_DONE] * len(batch)

    async def annotations(self, batch: Sequence[Event[AnnotationSubmitted | AnnotationDeleted]]) -> None:
        """Annotations came or went: what was withdrawn says nothing any more."""
        for one in batch:
            if isinstance(one.data, AnnotationDeleted):
                name = f"{one.data.task}/{one.data.annotation}"
                await self._put(one.data.project, name, None, (one.time_ms, one.offset))

    async def tasks_deleted(self, batch: Sequence[Event[TaskDeleted]]) -> Sequence[Reply]:
        """Nothing is known of a task that was deleted."""
        for one in batch:
            project, task = one.data.project, one.data.task
            await self._put(project, f"{task}/", None, (one.time_ms, one.offset))  # the mark first: none comes after it
            after: str | None = None
            while page := await self.documents.page(KIND, prefix=f"{project}/{task}/", limit=_PAGE, after=after):
                for found in page:
                    await self._put(project, found.key.removeprefix(f"{project}/"), None, (one.time_ms, one.offset))
                after = page[-1].key
        return [_DONE] * len(batch)

    async def of(self, project: str) -> AsyncIterator[Verdict]:
        """All of a project, by task."""
        after: str | None = None
        while page := await self.documents.page(KIND, prefix=f"{project}/", limit=_PAGE, after=after):
            for found in page:
                if (body := orjson.loads(found.body)["verdict"]) is not None:
                    yield Verdict(**{**body, "became": Became(body["became"])})
            after = page[-1].key

    async def _put(self, project: str, name: str, verdict: Verdict | None, at: tuple[int, int]) -> None:
        """Write what is newer than what is there; what is gone stays gone."""
        key, of_task = f"{project}/{name}", f"{project}/{name.partition('/')[0]}/"
        body = orjson.dumps({"at": at, "verdict": None if verdict is None else asdict(verdict)}).decode()
        while True:
            known = await self.documents.get_many(KIND, [key, of_task])
            if verdict is not None and of_task in known:
                return
            there = known.get(key)
            if there is not None and not _newer(orjson.loads(there.body), verdict, at):
                return
            if await self.documents.put(KIND, key, body, expected=there.revision if there else 0) is None:
                continue
            # Whoever deletes the task marks it first and looks for verdicts afterwards; so this looks after it wrote.
            if verdict is None or await self.documents.get(KIND, of_task) is None:
                return
            verdict, body = None, orjson.dumps({"at": at, "verdict": None}).decode()


def _newer(there: dict[str, object], verdict: Verdict | None, at: tuple[int, int]) -> bool:
    if there["verdict"] is None:
        return False
    known = there["at"]
    return verdict is None or (isinstance(known, list) and at > tuple(known))


def _name(verdict: Verdict) -> str:
    refusal = names.derived(verdict.annotator, verdict.request)
    return f"{verdict.task}/{verdict.annotation or refusal}"
