"""`dead_letters` and the claims on them on MongoDB."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Final

import orjson

from .dead_letters import (
    DeadLetters,
    Decision,
    KnownLetter,
    LetterClaims,
    LetterFilter,
    LetterState,
    ReplayResults,
    StoredLetter,
)
from .mongo_database import ASCENDING, DESCENDING, Database, Document, Indexes, InsertOne, UpdateOne, answering
from .paging import PageKey

__all__ = ["INDEXES", "MongoDeadLetters", "MongoLetterClaims"]

# A decision, an end or a successor may be written before the letter: such a document has no at_ms, and nobody finds it.
INDEXES: Final[Indexes] = {
    "dead_letters": {
        "listing": ("at_ms", "_id"),
        "of_group": ("group", "decision.state", "at_ms", "_id"),
        "of_task": ("task",),
        "of_replay": ("decision.replay",),
    },
}
_NAME: Final = "dead_letters"
_THERE: Final = {"$gt": -(2**53)}


class MongoDeadLetters(DeadLetters):
    """The index."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, letters: Sequence[StoredLetter]) -> None:
        of_tasks = [(one.task, _put(one)) for one in letters if one.task is not None]
        if of_tasks:
            await self._database.write_unless_forgotten(_NAME, "task", of_tasks)
        await self._database.write(_NAME, [_put(one) for one in letters if one.task is None])
        gone = await self._database.forgotten(_NAME, list({one.task for one in letters if one.task is not None}))
        again = [
            UpdateOne({"_id": one.follows}, {"$max": {"again": one.letter}}, upsert=True)
            for one in letters
            if one.follows is not None and one.task not in gone
        ]
        await self._database.write(_NAME, again)

    async def decide(self, decisions: Sequence[Decision]) -> None:
        await self._database.write(
            _NAME,
            [UpdateOne({"_id": one.letter}, {"$min": {"decision": _decided(one)}}, upsert=True) for one in decisions],
        )

    async def resolve(self, letters: Mapping[str, int]) -> None:
        await self._database.write(
            _NAME,
            [
                UpdateOne({"_id": letter}, {"$min": {"resolved_ms": at_ms}}, upsert=True)
                for letter, at_ms in letters.items()
            ],
        )

    async def delete_of_tasks(self, tasks: Sequence[str]) -> None:
        if tasks:
            await self._database.forget(_NAME, "task", tasks)

    async def get_many(self, letters: Sequence[str]) -> Mapping[str, KnownLetter]:
        found = [one async for one in self._database.find_in(_NAME, "_id", letters)]
        return {one["_id"]: _known(one) for one in found if "at_ms" in one}

    async def page(self, wanted: LetterFilter, *, limit: int, after: PageKey | None = None) -> Sequence[KnownLetter]:
        question = _question(wanted)
        if after is not None:
            question["at_ms"] = {**_THERE, "$lte": after.ms}
            question["$or"] = [{"at_ms": {"$lt": after.ms}}, {"at_ms": after.ms, "_id": {"$lt": after.id}}]
        found = await self._database.find(
            _NAME, question, sort=[("at_ms", DESCENDING), ("_id", DESCENDING)], limit=limit
        )
        return [_known(one) for one in found]

    async def backlog(
        self, wanted: LetterFilter, *, until_ms: int, limit: int, after: PageKey | None = None
    ) -> Sequence[KnownLetter]:
        question = _question(wanted)
        question["at_ms"] = {**_THERE, "$lte": until_ms}
        if after is not None:
            question["at_ms"] = {"$gte": after.ms, "$lte": until_ms}
            question["$or"] = [{"at_ms": {"$gt": after.ms}}, {"at_ms": after.ms, "_id": {"$gt": after.id}}]
        found = await self._database.find(_NAME, question, sort=[("at_ms", ASCENDING), ("_id", ASCENDING)], limit=limit)
        return [_known(one) for one in found]

    async def count(self, wanted: LetterFilter, *, until_ms: int | None = None) -> int:
        question = _question(wanted)
        if until_ms is not None:
            question["at_ms"] = {**_THERE, "$lte": until_ms}
        return await self._database.count(_NAME, question)

    async def counts(self) -> Mapping[str, Mapping[LetterState, int]]:
        found = await self._database.groups(
            _NAME,
            [
                {"$match": {"at_ms": _THERE}},
                {"$group": {"_id": {"group": "$group", "state": "$decision.state"}, "n": {"$sum": 1}}},
            ],
        )
        counts: dict[str, dict[LetterState, int]] = {}
        for one in found:
            state = LetterState(one["_id"].get("state") or LetterState.OPEN)
            counts.setdefault(one["_id"]["group"], {})[state] = one["n"]
        return counts

    async def results(self, replay: str) -> ReplayResults:
        # In one walk: what is resolved between two would be counted in both, or in none.
        succeeded = {"$ne": [{"$ifNull": ["$resolved_ms", ""]}, ""]}
        again = {"$ne": [{"$ifNull": ["$again", ""]}, ""]}
        found = await self._database.groups(
            _NAME,
            [
                {"$match": {"decision.replay": replay, "at_ms": _THERE}},
                {"$group": {"_id": {"succeeded": succeeded, "again": again}, "n": {"$sum": 1}}},
            ],
        )
        counts = {(one["_id"]["succeeded"], one["_id"]["again"]): int(one["n"]) for one in found}
        return ReplayResults(
            succeeded=counts.get((True, False), 0) + counts.get((True, True), 0),
            again=counts.get((False, True), 0),
            waiting=counts.get((False, False), 0),
        )

    async def of_task(self, task: str) -> Sequence[KnownLetter]:
        sort = [("at_ms", ASCENDING), ("_id", ASCENDING)]
        return [_known(one) for one in await self._database.find(_NAME, {"task": task, "at_ms": _THERE}, sort=sort)]


def _put(letter: StoredLetter) -> UpdateOne:
    fixed = {
        "group": letter.group, "reason": letter.reason, "at_ms": letter.at_ms, "project": letter.project,
        "task": letter.task, "body": orjson.dumps(asdict(letter)).decode(),
    }  # fmt: skip
    return UpdateOne({"_id": letter.letter}, {"$set": fixed}, upsert=True)


def _decided(one: Decision) -> Document:
    # The order of these fields decides which of two is kept.
    return {
        "at_ms": one.at_ms, "state": one.state.value, "actor": one.actor, "replay": one.replay or "", "why": one.why,
    }  # fmt: skip


def _question(wanted: LetterFilter) -> Document:
    question: Document = {"at_ms": _THERE}
    if wanted.group is not None:
        question["group"] = wanted.group
    if wanted.reason is not None:
        question["reason"] = wanted.reason
    if wanted.state is not None:
        question["decision.state"] = None if wanted.state is LetterState.OPEN else wanted.state.value
    if wanted.replay is not None:
        question["decision.replay"] = wanted.replay
    if wanted.projects is not None:
        question["project"] = {"$in": sorted(wanted.projects)}
    return question


def _known(one: Document) -> KnownLetter:
    decided = one.get("decision")
    decision = None
    if decided is not None:
        fields = {**decided, "state": LetterState(decided["state"]), "replay": decided["replay"] or None}
        decision = Decision(letter=one["_id"], **fields)
    return KnownLetter(StoredLetter(**orjson.loads(one["body"])), decision, one.get("resolved_ms"), one.get("again"))


class MongoLetterClaims(LetterClaims):
    """Claims."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self, letters: Sequence[str], by: str) -> Mapping[str, str]:
        await self._database.write("letter_claims", [InsertOne({"_id": letter, "holder": by}) for letter in letters])
        return {one["_id"]: one["holder"] async for one in self._database.find_in("letter_claims", "_id", letters)}

    async def release(self, letters: Sequence[str], by: str) -> None:
        with answering():
            await self._database.collection("letter_claims").delete_many({"_id": {"$in": list(letters)}, "holder": by})
