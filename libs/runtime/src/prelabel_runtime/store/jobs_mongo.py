"""`jobs` on MongoDB. Every change is a compare-and-set on one document by `_id`."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Final

from .jobs import Jobs, JobState, StoredJob
from .mongo_database import ASCENDING, Database, Document, Indexes, answering

__all__ = ["INDEXES", "MongoJobs"]

INDEXES: Final[Indexes] = {"jobs": {"running": ("kind", "state", "created_ms", "_id")}}
_ORDER: Final = [("created_ms", ASCENDING), ("_id", ASCENDING)]


class MongoJobs(Jobs):
    """Jobs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, job: StoredJob) -> bool:
        fields = {name: value for name, value in asdict(job).items() if name != "job"} | {"state": job.state.value}
        with answering():
            answer = await self._database.collection("jobs").update_one(
                {"_id": job.job}, {"$setOnInsert": fields}, upsert=True
            )
        return answer.upserted_id is not None

    async def get(self, kind: str, job: str) -> StoredJob | None:
        found = await self._database.find("jobs", {"_id": job, "kind": kind})
        return _job(found[0]) if found else None

    async def take(self, kind: str, holder: str, *, now_ms: int, until_ms: int) -> StoredJob | None:
        oldest = await self._database.find("jobs", {"kind": kind, "state": "running"}, sort=_ORDER, limit=1)
        if not oldest:
            return None
        free = [{"holder": {"$in": ["", holder]}}, {"until_ms": {"$lt": now_ms}}]
        with answering():
            answer = await self._database.collection("jobs").update_one(
                {"_id": oldest[0]["_id"], "state": "running", "$or": free},
                {"$set": {"holder": holder, "until_ms": until_ms}},
            )
        if not answer.matched_count:
            return None
        # As it is now: whoever held it before may have saved once more before the lease was over.
        taken = await self.get(kind, oldest[0]["_id"])
        return taken if taken is not None and taken.holder == holder else None

    async def save(self, job: StoredJob) -> bool:
        change = {
            "state": job.state.value, "done": job.done, "total": job.total, "progress": job.progress,
            "error": job.error, "until_ms": job.until_ms,
        }  # fmt: skip
        with answering():
            answer = await self._database.collection("jobs").update_one(
                {"_id": job.job, "holder": job.holder, "state": "running"}, {"$set": change}
            )
        return answer.matched_count == 1

    async def running(self, kind: str) -> Sequence[StoredJob]:
        return [_job(one) for one in await self._database.find("jobs", {"kind": kind, "state": "running"}, sort=_ORDER)]


def _job(one: Document) -> StoredJob:
    fields = {name: value for name, value in one.items() if name != "_id"}
    return StoredJob(job=one["_id"], **{**fields, "state": JobState(fields["state"])})
