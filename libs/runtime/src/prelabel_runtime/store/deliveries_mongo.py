"""`deliveries` on MongoDB. What an endpoint's owner changes is a compare-and-set on one document by `_id`."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from .deliveries import (
    DELIVERY_RANK,
    Deliveries,
    DeliveryState,
    Endpoints,
    Owed,
    Recoveries,
    RecoveryState,
    StoredDelivery,
    StoredEndpoint,
    StoredRecovery,
)
from .mongo_database import ASCENDING, DESCENDING, Database, Document, InsertOne, UpdateOne, answering
from .paging import PageKey

__all__ = ["INDEXES", "MongoDeliveries", "MongoEndpoints", "MongoRecoveries"]

INDEXES: Final[Mapping[str, Mapping[str, Sequence[str]]]] = {
    "deliveries": {
        "due": ("subscription", "best.state", "best.next_ms"),
        "over": ("subscription", "best.state", "best.at_ms"),
        "listing": ("subscription", "-event_ms", "-_id"),
    },
    "recoveries": {"running": ("state", "created_ms")},
}


class MongoEndpoints(Endpoints):
    """Endpoints."""

    _NAME = "webhook_endpoints"

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, subscription: str, body: str) -> None:
        new = {"_id": subscription, "owner": "", "epoch": 0, "until_ms": 0, "body": body}
        await self._database.write(self._NAME, [InsertOne(new)])

    async def claim(self, subscription: str, owner: str, now_ms: int, until_ms: int) -> StoredEndpoint | None:
        free = [{"owner": {"$in": ["", owner]}}, {"until_ms": {"$lt": now_ms}}]
        with answering():
            found = await self._database.collection(self._NAME).find_one_and_update(
                {"_id": subscription, "$or": free},
                {"$set": {"owner": owner, "until_ms": until_ms}, "$inc": {"epoch": 1}},
                return_document=ReturnDocument.AFTER,
            )
        return None if found is None else _endpoint(found)

    async def renew(self, owner: str, epochs: Mapping[str, int], until_ms: int) -> frozenset[str]:
        if not epochs:
            return frozenset()
        await self._database.write(
            self._NAME,
            [
                UpdateOne({"_id": name, "epoch": epoch, "owner": owner}, {"$set": {"until_ms": until_ms}})
                for name, epoch in epochs.items()
            ],
        )
        held = self._database.find_in(self._NAME, "_id", list(epochs), fields=("owner", "epoch"))
        return frozenset(
            [one["_id"] async for one in held if one["owner"] == owner and one["epoch"] == epochs[one["_id"]]]
        )

    async def save(self, subscription: str, epoch: int, body: str) -> bool:
        return await self._set(subscription, epoch, {"body": body})

    async def release(self, subscription: str, epoch: int) -> None:
        await self._set(subscription, epoch, {"owner": "", "until_ms": 0})

    async def _set(self, subscription: str, epoch: int, fields: Document) -> bool:
        with answering():
            done = await self._database.collection(self._NAME).update_one(
                {"_id": subscription, "epoch": epoch}, {"$set": fields}
            )
        return bool(done.matched_count == 1)

    async def delete(self, subscription: str) -> None:
        with answering():
            await self._database.collection(self._NAME).delete_one({"_id": subscription})

    async def all(self) -> Mapping[str, StoredEndpoint]:
        return {one["_id"]: _endpoint(one) for one in await self._database.find(self._NAME, {})}


def _endpoint(one: Document) -> StoredEndpoint:
    return StoredEndpoint(one["_id"], one["owner"], one["epoch"], one["until_ms"], one["body"])


class MongoDeliveries(Deliveries):
    """Deliveries. `best` begins with what decides between two writes."""

    _NAME = "deliveries"

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, deliveries: Sequence[StoredDelivery]) -> None:
        await self._database.write(self._NAME, [_put(one) for one in deliveries])

    async def get(self, subscription: str, delivery: str) -> StoredDelivery | None:
        found = await self._database.find(self._NAME, {"_id": delivery, "subscription": subscription})
        return _delivery(found[0]) if found else None

    async def get_many(self, deliveries: Sequence[str]) -> Mapping[str, StoredDelivery]:
        return {one["_id"]: _delivery(one) async for one in self._database.find_in(self._NAME, "_id", deliveries)}

    async def due(self, subscription: str, before_ms: int, *, limit: int) -> Sequence[StoredDelivery]:
        found = await self._database.find(
            self._NAME,
            {"subscription": subscription, "best.state": "pending", "best.next_ms": {"$lte": before_ms}},
            sort=[("best.next_ms", ASCENDING)],
            limit=limit,
        )
        return [_delivery(one) for one in found]

    async def owed(self) -> Mapping[str, Owed]:
        found = await self._database.groups(
            self._NAME,
            [
                {"$match": {"best.state": "pending"}},
                {"$group": {"_id": "$subscription", "n": {"$sum": 1}, "oldest": {"$min": "$event_ms"}}},
            ],
        )
        return {one["_id"]: Owed(one["n"], one["oldest"]) for one in found}

    async def page(
        self,
        subscription: str,
        *,
        limit: int,
        after: PageKey | None = None,
        state: DeliveryState | None = None,
        since_ms: int = 0,
        type: str | None = None,  # noqa: A002
        task: str | None = None,
        projects: Sequence[str] | None = None,
    ) -> Sequence[StoredDelivery]:
        question: Document = {"subscription": subscription, "event_ms": {"$gte": since_ms}}
        for field, value in (("best.state", state), ("type", type), ("task", task)):
            if value is not None:
                question[field] = str(value)
        if projects is not None:
            question["project"] = {"$in": list(projects)}
        if after is not None:
            question["event_ms"]["$lte"] = after.ms
            question["$or"] = [{"event_ms": {"$lt": after.ms}}, {"event_ms": after.ms, "_id": {"$lt": after.id}}]
        found = await self._database.find(
            self._NAME, question, sort=[("event_ms", DESCENDING), ("_id", DESCENDING)], limit=limit
        )
        return [_delivery(one) for one in found]

    async def requeue(self, subscription: str, since_ms: int, until_ms: int, now_ms: int) -> int:
        with answering():
            done = await self._database.collection(self._NAME).update_many(
                {
                    "subscription": subscription,
                    "best.state": "exhausted",
                    "event_ms": {"$gte": since_ms, "$lt": until_ms},
                },
                {
                    "$set": {"best.state": "pending", "best.rank": 0, "best.attempts": 0, "best.next_ms": now_ms},
                    "$max": {"best.at_ms": now_ms},
                },
            )
        return int(done.modified_count)

    async def trim(self, subscription: str, state: DeliveryState, *, keep: int, since_ms: int) -> None:
        wanted: Document = {"subscription": subscription, "best.state": state.value}
        with answering():
            collection = self._database.collection(self._NAME)
            cursor = collection.find(wanted, ["best.at_ms"]).sort([("best.at_ms", DESCENDING)]).skip(keep).limit(1)
            newest = await cursor.to_list(None)
            # Of those with the same moment as the last to go, all go.
            until = max(since_ms, newest[0]["best"]["at_ms"] + 1) if newest else since_ms
            await collection.delete_many({**wanted, "best.at_ms": {"$lt": until}})

    async def delete_of(self, subscription: str) -> None:
        with answering():
            await self._database.collection(self._NAME).delete_many({"subscription": subscription})


def _put(one: StoredDelivery) -> UpdateOne:
    best = {
        "at_ms": one.at_ms,
        "rank": DELIVERY_RANK[one.state],
        "body": one.body,
        "state": one.state.value,
        "attempts": one.attempts,
        "next_ms": one.next_ms,
    }
    always = {
        "subscription": one.subscription,
        "event": one.event,
        "type": one.type,
        "project": one.project,
        "task": one.task,
        "topic": one.topic,
        "partition": one.partition,
        "offset": one.offset,
        "event_ms": one.event_ms,
    }
    return UpdateOne({"_id": one.id}, {"$setOnInsert": always, "$max": {"best": best}}, upsert=True)


def _delivery(one: Document) -> StoredDelivery:
    best = one["best"]
    return StoredDelivery(
        one["_id"],
        *(one["subscription"], one["event"], one["type"], one["project"], one["task"]),
        *(one["topic"], one["partition"], one["offset"], one["event_ms"]),
        DeliveryState(best["state"]),
        *(best["attempts"], best["at_ms"], best["next_ms"], best["body"]),
    )


class MongoRecoveries(Recoveries):
    """Recoveries."""

    _NAME = "recoveries"

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, recovery: StoredRecovery) -> None:
        changing: dict[str, Any] = {
            "state": recovery.state.value,
            "done": recovery.done,
            "body": recovery.body,
            "error": recovery.error,
        }
        always = {
            "subscription": recovery.subscription,
            "created_ms": recovery.created_ms,
            "since_ms": recovery.since_ms,
            "until_ms": recovery.until_ms,
        }
        with answering():
            try:
                await self._database.collection(self._NAME).update_one(
                    {"_id": recovery.id, "state": "running"},
                    {"$set": changing, "$setOnInsert": always},
                    upsert=True,
                )
            except DuplicateKeyError:
                return  # it is there, and over

    async def get(self, subscription: str, recovery: str) -> StoredRecovery | None:
        found = await self._database.find(self._NAME, {"_id": recovery, "subscription": subscription})
        return _recovery(found[0]) if found else None

    async def running(self) -> Sequence[StoredRecovery]:
        found = await self._database.find(
            self._NAME,
            {"state": "running"},
            sort=[("created_ms", ASCENDING), ("_id", ASCENDING)],
        )
        return [_recovery(one) for one in found]

    async def delete_of(self, subscription: str) -> None:
        with answering():
            await self._database.collection(self._NAME).delete_many({"subscription": subscription})


def _recovery(one: Document) -> StoredRecovery:
    return StoredRecovery(
        *(one["_id"], one["subscription"], one["since_ms"], one["until_ms"], one["created_ms"]),
        RecoveryState(one["state"]),
        *(one["done"], one["body"], one["error"]),
    )
