"""What every repository on MongoDB stands on: the driver, the collections, and which errors mean what.

See mongo.py for why it is done so.
"""

import asyncio
import contextlib
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from pymongo import ASCENDING, DESCENDING, IndexModel, InsertOne, UpdateOne
from pymongo.errors import (
    BulkWriteError,
    ConnectionFailure,
    ExecutionTimeout,
    InvalidOperation,
    OperationFailure,
    WriteConcernError,
)

from prelabel_runtime.errors import Refused, Unavailable
from prelabel_runtime.store.mongo_refusals import refusal
from prelabel_runtime.store.paging import PageKey

if TYPE_CHECKING:
    from pymongo import AsyncMongoClient
    from pymongo.asynchronous.collection import AsyncCollection
    from pymongo.asynchronous.database import AsyncDatabase

__all__ = [
    "ASCENDING", "DESCENDING", "Database", "Document", "Driver", "Indexes", "InsertOne", "UpdateOne", "Write",
    "answering", "close_client", "first_line", "later", "with_motor", "with_pymongo",
]  # fmt: skip

T = TypeVar("T")
Document = dict[str, Any]
Write = InsertOne[Document] | UpdateOne
Indexes = Mapping[str, Mapping[str, Sequence[str]]]
"""Every index but those of _id: collection, name, fields; a minus means descending."""

PARTIAL: Final = {("outcomes", "waiting"): {"best.rank": 0}}
"""Indexes that hold only some documents."""

_BULK: Final = 1000
"""Statements, or ids in a question, per command."""
_DUPLICATE: Final = 11000
_TRANSIENT: Final = frozenset(
    {
        6, 7, 43, 50, 64, 89, 91, 112, 133, 134, 189, 262,
        9001, 10107, 11600, 11601, 11602, 13388, 13435, 13436, 14031,
    }
)  # fmt: skip
"""A server that cannot now: no host, interrupted, no primary, out of time or disk, a conflicting write."""


# ------------------------------------------------------------------------------------------------- driver

Driver = Callable[..., "AsyncMongoClient[Document]"]
"""Makes a client from an address and options. Called inside the event loop that will use the client."""


def with_motor(url: str, **options: Any) -> "AsyncMongoClient[Document]":
    """Motor: a thread per operation in flight; the quicker one where the server answers at once."""
    # Imported late: who uses the other form need not have it.
    from motor.motor_asyncio import AsyncIOMotorClient

    # Its methods are those of AsyncMongoClient, but for the two awaits that `_aggregate` and `close_client` see to.
    return cast("AsyncMongoClient[Document]", AsyncIOMotorClient(url, **options))


def with_pymongo(url: str, **options: Any) -> "AsyncMongoClient[Document]":
    """PyMongo's AsyncMongoClient: no threads; what Motor's users are told to move to."""
    from pymongo import AsyncMongoClient

    return AsyncMongoClient(url, **options)


async def _aggregate(collection: "AsyncCollection[Document]", pipeline: Sequence[Document]) -> list[Document]:
    cursor: Any = collection.aggregate(pipeline)
    if inspect.isawaitable(cursor):
        cursor = await cursor
    found: list[Document] = await cursor.to_list(None)
    return found


async def close_client(client: "AsyncMongoClient[Document]") -> None:
    if inspect.iscoroutinefunction(client.close):
        await client.close()
    else:
        await asyncio.to_thread(cast("Callable[[], None]", client.close))


@contextlib.contextmanager
def answering() -> Iterator[None]:
    """A server that is away, or cannot now, is `Unavailable`; one that lets us in no more, `Refused`.

    What it refuses for another reason stays what it is.
    """
    try:
        yield
    except (ConnectionFailure, ExecutionTimeout, WriteConcernError) as error:
        if (reason := refusal(error)) is not None:
            raise Refused(reason) from None
        raise Unavailable(f"MongoDB does not answer: {first_line(error)}") from error
    except OperationFailure as error:
        if error.code in _TRANSIENT or error.has_error_label("RetryableWriteError"):
            raise Unavailable(f"MongoDB cannot answer now: {first_line(error)}") from error
        if (reason := refusal(error)) is not None:
            raise Refused(reason) from None
        raise
    except InvalidOperation as error:
        if "after close" in str(error):
            raise Unavailable("the store is stopped") from error
        raise


def first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:200]


# -------------------------------------------------------------------------------------------- collections


class Database:
    """The collections of one store, and what all repositories do with them."""

    def __init__(self, prefix: str, indexes: Indexes) -> None:
        self._prefix = prefix
        self._indexes = indexes
        self._database: AsyncDatabase[Document] | None = None

    def use(self, database: "AsyncDatabase[Document] | None") -> None:
        self._database = database

    def collection(self, name: str) -> "AsyncCollection[Document]":
        if self._database is None:
            raise Unavailable("the store is stopped")
        return self._database[self._prefix + name]

    async def declare(self) -> None:
        """Make the indexes that are missing."""
        for name, indexes in self._indexes.items():
            models = []
            for index, fields in indexes.items():
                options: Document = {"name": index}
                if (name, index) in PARTIAL:
                    options["partialFilterExpression"] = PARTIAL[name, index]
                keys = [
                    (field.removeprefix("-"), DESCENDING if field.startswith("-") else ASCENDING) for field in fields
                ]
                models.append(IndexModel(keys, **options))
            await self.collection(name).create_indexes(models)

    async def write(self, name: str, writes: Sequence[Write]) -> None:
        """Do all, in any order. Raises `Unavailable`, or the error of a document that cannot be stored."""
        collection = self.collection(name)
        for at in range(0, len(writes), _BULK):
            left = writes[at : at + _BULK]
            while left:
                with answering():
                    try:
                        await collection.bulk_write(left, ordered=False)
                    except BulkWriteError as error:
                        left = _again(error, left)
                    else:
                        break

    async def insert(self, name: str, documents: Sequence[Document]) -> list[int]:
        """Write what is not there yet; returns the places of those whose `_id` is taken. Raises as `write`.

        Half the price of writes that may be either.
        """
        collection = self.collection(name)
        met: list[int] = []
        for at in range(0, len(documents), _BULK):
            with answering():
                try:
                    await collection.insert_many(documents[at : at + _BULK], ordered=False)
                except BulkWriteError as error:
                    met += [at + place for place in _met(error)]
        return met

    async def find(
        self,
        name: str,
        question: Document,
        *,
        fields: Sequence[str] | None = None,
        sort: Sequence[tuple[str, int]] = (),
        limit: int = 0,
    ) -> list[Document]:
        """Documents, all of them at once."""
        with answering():
            cursor = self.collection(name).find(question, fields)
            if sort:
                cursor = cursor.sort(list(sort))
            if limit:
                cursor = cursor.limit(limit)
            return await cursor.to_list(None)

    async def find_in(
        self, name: str, field: str, values: Sequence[str], *, fields: Sequence[str] | None = None
    ) -> AsyncIterator[Document]:
        """Documents whose field has one of the values."""
        for at in range(0, len(values), _BULK):
            for document in await self.find(name, {field: {"$in": values[at : at + _BULK]}}, fields=fields):
                yield document

    async def groups(self, name: str, pipeline: Sequence[Document]) -> list[Document]:
        """The answer of an aggregation."""
        with answering():
            return await _aggregate(self.collection(name), pipeline)

    async def count(self, name: str, question: Document) -> int:
        """How many documents."""
        with answering():
            return await self.collection(name).count_documents(question)

    async def write_unless_forgotten(self, name: str, field: str, writes: Sequence[tuple[str, Write]]) -> None:
        """Writes, each with the task it is about; `field` holds the task in the collection."""
        await self.unless_forgotten(name, field, writes, lambda some: self.write(name, some))

    async def unless_forgotten(
        self, name: str, field: str, ours: Sequence[tuple[str, T]], write: Callable[[list[T]], Awaitable[None]]
    ) -> None:
        """Have those written that are not about a forgotten task; each comes with the task it is about.

        `field` holds the task in the collection.
        """
        tasks = list({task for task, _ in ours})
        gone = await self.forgotten(name, tasks)
        await write([one for task, one in ours if task not in gone])
        # One that was deleted meanwhile may have been removed before this came.
        late = await self.forgotten(name, [task for task in tasks if task not in gone])
        await self._remove(name, field, list(late))

    async def forget(self, name: str, field: str, tasks: Sequence[str]) -> None:
        """Remove what is about the tasks, for good."""
        await self.write("forgotten", [InsertOne({"_id": f"{name}:{task}"}) for task in dict.fromkeys(tasks)])
        await self._remove(name, field, tasks)

    async def forgotten(self, name: str, tasks: Sequence[str]) -> frozenset[str]:
        """Those of the tasks about which nothing may come back."""
        marks = [f"{name}:{task}" for task in tasks]
        return frozenset(
            [mark["_id"].removeprefix(f"{name}:") async for mark in self.find_in("forgotten", "_id", marks)]
        )

    async def _remove(self, name: str, field: str, tasks: Sequence[str]) -> None:
        for at in range(0, len(tasks), _BULK):
            with answering():
                await self.collection(name).delete_many({field: {"$in": tasks[at : at + _BULK]}})


def _again(error: BulkWriteError, writes: Sequence[Write]) -> list[Write]:
    """Which writes of a bulk are to be repeated: upserts that met another one's insert."""
    return [writes[place] for place in _met(error) if isinstance(writes[place], UpdateOne)]


def _met(error: BulkWriteError) -> list[int]:
    """The places in a bulk of what met a document of its `_id`. Raises where anything else went wrong."""
    details: Mapping[str, Any] = error.details or {}
    met: list[int] = []
    transient = bool(details.get("writeConcernErrors"))
    for one in details.get("writeErrors", ()):
        if one["code"] == _DUPLICATE and dict(one.get("keyPattern", {"_id": 1})) == {"_id": 1}:
            met.append(one["index"])
        elif one["code"] in _TRANSIENT:
            transient = True
        else:
            raise error
    if transient:
        raise Unavailable("MongoDB did not take all of a batch") from error
    return met


def later(fields: tuple[str, str], after: PageKey | None) -> Document:
    """What comes after a key. The first condition alone bounds the index, the second is exact."""
    if after is None:
        return {}
    ms, name = fields
    behind = [{ms: {"$gt": after.ms}}, {ms: after.ms, name: {"$gt": after.id}}]
    return {ms: {"$gte": after.ms}, "$or": behind}
