"""`quotas` on MongoDB. A change is a compare-and-set on one document by `_id`."""

from .mongo_database import Database, answering
from .quotas import Quotas, StoredQuota

__all__ = ["MongoQuotas"]


class MongoQuotas(Quotas):
    """Quotas."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, quota: str) -> StoredQuota | None:
        found = await self._database.find("quotas", {"_id": quota})
        return StoredQuota(found[0]["_id"], found[0]["version"], found[0]["shares"]) if found else None

    async def put(self, quota: StoredQuota) -> bool:
        fields = {"version": quota.version, "shares": quota.shares}
        collection = self._database.collection("quotas")
        with answering():
            if quota.version == 1:
                first = await collection.update_one({"_id": quota.quota}, {"$setOnInsert": fields}, upsert=True)
                return first.upserted_id is not None
            before = {"_id": quota.quota, "version": quota.version - 1}
            return (await collection.update_one(before, {"$set": fields})).matched_count == 1
