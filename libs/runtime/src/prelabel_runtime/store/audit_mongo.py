"""`audit` on MongoDB."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Final

from .audit import Audit, StoredAudit
from .mongo_database import DESCENDING, Database, Document, Indexes, InsertOne
from .paging import PageKey

__all__ = ["INDEXES", "MongoAudit"]

INDEXES: Final[Indexes] = {
    "audit": {
        "listing": ("at_ms", "_id"),
        "of_project": ("project", "at_ms", "_id"),
        "of_actor": ("actor", "at_ms", "_id"),
        "of_action": ("action", "at_ms", "_id"),
    },
}


class MongoAudit(Audit):
    """The rows."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, rows: Sequence[StoredAudit]) -> None:
        await self._database.write("audit", [InsertOne(_document(row)) for row in rows])

    async def page(
        self,
        *,
        limit: int,
        after: PageKey | None = None,
        projects: Sequence[str] | None = None,
        actor: str | None = None,
        action: str | None = None,
        since_ms: int | None = None,
    ) -> Sequence[StoredAudit]:
        conditions: list[Document] = []
        if projects is not None:
            conditions.append({"project": {"$in": list(projects)}})
        if actor is not None:
            conditions.append({"actor": actor})
        if action is not None:
            conditions.append({"action": action})
        if since_ms is not None:
            conditions.append({"at_ms": {"$gte": since_ms}})
        if after is not None:
            behind = [{"at_ms": {"$lt": after.ms}}, {"at_ms": after.ms, "_id": {"$lt": after.id}}]
            conditions.append({"at_ms": {"$lte": after.ms}, "$or": behind})
        question = {"$and": conditions} if conditions else {}
        order = [("at_ms", DESCENDING), ("_id", DESCENDING)]
        found = await self._database.find("audit", question, sort=order, limit=limit)
        return [StoredAudit(id=one.pop("_id"), **one) for one in found]


def _document(row: StoredAudit) -> Document:
    values = asdict(row)
    return {"_id": values.pop("id"), **values}
