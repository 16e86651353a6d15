"""Which generation is live on MongoDB, and the contents of one. A generation is a prefix of collections."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from .generations import Contents, Generations, Replica
from .mongo_database import ASCENDING, Database, Document, UpdateOne, answering

__all__ = ["PROJECTED", "MongoContents", "MongoGenerations", "drop_projected"]

PROJECTED: Final = ("tasks", "outcomes", "lines", "runs", "annotations", "dead_letters")
"""Collections of a generation, beside `forgotten`."""
_THERE: Final[Mapping[str, Document]] = {
    "outcomes": {"project": {"$exists": True}},
    "dead_letters": {"at_ms": {"$exists": True}},
}
"""What may be said about these before they are there, or after they were deleted: nobody finds such a document."""
_FORGOTTEN_OF: Final = ("tasks", "outcomes", "annotations", "dead_letters")


class MongoGenerations(Generations):
    """The live generation, and who uses which."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def current(self) -> int:
        found = await self._database.find("generation", {"_id": "current"})
        return int(found[0]["number"]) if found else 0

    async def switch(self, before: int, to: int) -> bool:
        first = UpdateOne({"_id": "current"}, {"$setOnInsert": {"number": 0}}, upsert=True)
        await self._database.write("generation", [first])
        with answering():
            answer = await self._database.collection("generation").update_one(
                {"_id": "current", "number": before}, {"$set": {"number": to}}
            )
        return answer.matched_count == 1

    async def seen(self, replica: Replica) -> None:
        change = {"$set": {"generation": replica.generation, "seen_ms": replica.seen_ms}}
        await self._database.write("replicas", [UpdateOne({"_id": replica.id}, change, upsert=True)])

    async def left(self, replicas: Sequence[str]) -> None:
        with answering():
            await self._database.collection("replicas").delete_many({"_id": {"$in": list(replicas)}})

    async def replicas(self) -> Sequence[Replica]:
        return [
            Replica(one["_id"], one["generation"], one["seen_ms"]) for one in await self._database.find("replicas", {})
        ]


async def drop_projected(database: Database, *, shared: bool) -> None:
    """Remove a generation's collections. The first one's marks of what was deleted lie among others' (`shared`)."""
    for name in PROJECTED:
        with answering():
            await database.collection(name).drop()
    if not shared:
        with answering():
            await database.collection("forgotten").drop()
        return
    for kind in _FORGOTTEN_OF:
        with answering():
            await database.collection("forgotten").delete_many({"_id": {"$gte": f"{kind}:", "$lt": f"{kind};"}})


class MongoContents(Contents):
    """All documents of a generation."""

    kinds = (*PROJECTED, *(f"forgotten_{kind}" for kind in _FORGOTTEN_OF))

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, kind: str, *, after: str | None, limit: int) -> Sequence[tuple[str, bytes]]:
        if kind in PROJECTED:
            wanted = {**_THERE.get(kind, {}), **({} if after is None else {"_id": {"$gt": after}})}
            found = await self._database.find(kind, wanted, sort=[("_id", ASCENDING)], limit=limit)
            return [(one["_id"], _digest(one)) for one in found]
        begin = f"{kind.removeprefix('forgotten_')}:"
        bounds = {"$gt": begin + (after or ""), "$lt": f"{begin[:-1]};"}
        found = await self._database.find("forgotten", {"_id": bounds}, sort=[("_id", ASCENDING)], limit=limit)
        return [(one["_id"].removeprefix(begin), b"") for one in found]

    async def of(self, kind: str, ids: Sequence[str]) -> Mapping[str, bytes]:
        if kind in PROJECTED:
            there = _THERE.get(kind, {})
            found = [one async for one in self._database.find_in(kind, "_id", ids)]
            return {one["_id"]: _digest(one) for one in found if all(name in one for name in there)}
        begin = f"{kind.removeprefix('forgotten_')}:"
        marks = [begin + one for one in ids]
        return {one["_id"].removeprefix(begin): b"" async for one in self._database.find_in("forgotten", "_id", marks)}


_END: Final = ("end", "announced")


def _digest(document: Mapping[str, Any]) -> bytes:
    settled = {name: sorted(value) if name == "runs" else value for name, value in document.items()}
    if not settled.get("announced", True):
        # An end is written before it is told: until then nothing in the log says so, and no rebuild can know of it.
        settled = {name: value for name, value in settled.items() if name not in _END}
    return hashlib.sha256(orjson.dumps(settled, option=orjson.OPT_SORT_KEYS)).digest()
