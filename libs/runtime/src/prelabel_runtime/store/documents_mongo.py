"""`documents` on MongoDB. Every change is a compare-and-set on one document by `_id`, which is what pages walk too."""

from collections.abc import Mapping, Sequence
from typing import Any

from . import mongo_database
from .documents import Document, Documents, behind, place
from .mongo_database import ASCENDING, DESCENDING, Database, answering

__all__ = ["MongoDocuments"]


class MongoDocuments(Documents):
    """Documents."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, kind: str, key: str) -> Document | None:
        found = await self._database.find("documents", {"_id": place(kind, key)})
        return _document(found[0]) if found else None

    async def get_many(self, kind: str, keys: Sequence[str]) -> Mapping[str, Document]:
        places = [place(kind, key) for key in keys]
        found = [_document(one) async for one in self._database.find_in("documents", "_id", places)]
        return {one.key: one for one in found}

    async def put(self, kind: str, key: str, body: str, *, expected: int) -> Document | None:
        if expected < 0:
            raise ValueError("expected: 0 or more")
        written = Document(kind, key, body, expected + 1)
        if await (self._next(written) if expected else self._first(written)):
            return written
        return written if await self.get(kind, key) == written else None

    async def _first(self, one: Document) -> bool:
        fields = {"_id": place(one.kind, one.key), "revision": 1, "body": one.body}
        return not await self._database.insert("documents", [fields])

    async def _next(self, one: Document) -> bool:
        before = {"_id": place(one.kind, one.key), "revision": one.revision - 1}
        change = {"$set": {"revision": one.revision, "body": one.body}}
        with answering():
            return (await self._database.collection("documents").update_one(before, change)).matched_count == 1

    async def page(
        self, kind: str, *, prefix: str = "", limit: int, after: str | None = None, newest: bool = False
    ) -> Sequence[Document]:
        least = place(kind, prefix)
        question: list[dict[str, Any]] = [{"_id": {"$gte": least, "$lt": behind(least)}}]
        if after is not None:
            question.append({"_id": {"$lt" if newest else "$gt": place(kind, after)}})
        order = [("_id", DESCENDING if newest else ASCENDING)]
        found = await self._database.find("documents", {"$and": question}, sort=order, limit=limit)
        return [_document(one) for one in found]

    async def delete(self, kind: str, key: str, *, expected: int) -> bool:
        with answering():
            await self._database.collection("documents").delete_one({"_id": place(kind, key), "revision": expected})
        return await self.get(kind, key) is None


def _document(one: mongo_database.Document) -> Document:
    kind, _, key = one["_id"].partition(":")
    return Document(kind, key, one["body"], one["revision"])
