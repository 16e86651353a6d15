"""The store on MongoDB, through Motor; PyMongo's own AsyncMongoClient passes the same suite.

- Every write names its document by `_id` alone and uses operators that commute: what never changes is
  inserted and found to be there already (E11000 on _id); what changes is the greatest of embedded documents
  (`$max` on `best`, whose first fields are the rank and the order: MongoDB compares documents field by field,
  as they stand), the least of moments (`$min`), a set of runs (`$addToSet`). So no write needs a guard, a
  transaction or an order.
- What most likely is new (a task, what the dispatcher remembers of it) is inserted as well, and only where its
  `_id` is taken changed by those operators: an insert costs the server half of what an upsert does. Outcomes are
  not: who catches up reads many before the requests that they answer, and an insert that meets one costs twice.
- Only the end of a run is a compare-and-set, since somebody must learn that it was first.
- Deleting leaves a mark in `forgotten`, then removes. A write looks there before and after: whichever of the
  two comes second sees the other, so nothing of a deleted task stays.
- Writes are acknowledged by a majority; reads go to the primary. Everything is bounded in time.
- `body` is a string: any JSON comes back as it was, with any keys.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import structlog
from pymongo import ReadPreference, WriteConcern
from pymongo.errors import (
    ConfigurationError,
    InvalidURI,
    OperationFailure,
    PyMongoError,
)

from prelabel_runtime.clock import Clock
from prelabel_runtime.errors import Refused, Unavailable
from prelabel_runtime.store import (
    audit_mongo,
    dead_letters_mongo,
    deliveries_mongo,
    documents_mongo,
    jobs_mongo,
    quotas_mongo,
)
from prelabel_runtime.store.base import (
    RANK,
    Annotations,
    Doubt,
    Examples,
    LineCounts,
    Lines,
    Outcomes,
    Projected,
    Runs,
    RunState,
    State,
    Store,
    StoredAnnotation,
    StoredLine,
    StoredOutcome,
    StoredRun,
    StoredTask,
    Submission,
    Submissions,
    Tasks,
)
from prelabel_runtime.store.generations_mongo import PROJECTED, MongoContents, MongoGenerations, drop_projected
from prelabel_runtime.store.mongo_database import (
    ASCENDING,
    DESCENDING,
    Database,
    Document,
    Driver,
    Indexes,
    UpdateOne,
    Write,
    answering,
    close_client,
    first_line,
    later,
    with_motor,
    with_pymongo,
)
from prelabel_runtime.store.mongo_refusals import refusal_of_tls

from .paging import PageKey

if TYPE_CHECKING:
    from pymongo import AsyncMongoClient

__all__ = ["Driver", "MongoStore", "refusal_of_tls", "with_motor", "with_pymongo"]

_DIFFERENT_INDEX: Final = frozenset({85, 86})
_FINAL: Final = (RunState.COMPLETED, RunState.FAILED, RunState.CANCELLED)

_INDEXES: Final[Indexes] = {
    "tasks": {
        "listing": ("project", "first_ms", "_id"),
        "of_run": ("runs", "first_ms", "_id"),
    },
    "outcomes": {
        "of_model": ("project", "model", "best.state", "task_ms", "task"),
        "of_state": ("project", "best.state", "task_ms", "task"),
        "of_run": ("runs", "best.state", "task_ms", "task", "model"),
        "of_task": ("task", "best.state", "task_ms"),
        "waiting": ("best.rank", "task_ms"),
    },
    "lines": {"of_run": ("run", "refused", "line")},
    "runs": {
        "listing": ("project", "opened_ms", "_id"),
        "unfinished": ("announced", "opened_ms", "_id"),
    },
    "annotations": {"of_task": ("best.task",)},
    "examples": {
        "listing": (
            "best.project", "best.deleted", "best.skipped",
            "best.task", "-best.ground_truth", "-best.offset", "-_id",
        ),
        "all": ("best.project", "best.deleted", "best.task", "best.offset", "_id"),
        "of_task": ("best.task",),
    },
}  # fmt: skip
_OTHER_INDEXES: Final[Indexes] = {
    **dead_letters_mongo.INDEXES,
    **jobs_mongo.INDEXES,
    **deliveries_mongo.INDEXES,
    **audit_mongo.INDEXES,
}
_PROJECTED_INDEXES: Final[Indexes] = {
    name: indexes for name, indexes in {**_INDEXES, **dead_letters_mongo.INDEXES}.items() if name in PROJECTED
}
_CONCERNS: Final[Mapping[str, Any]] = {
    "write_concern": WriteConcern("majority"),
    "read_preference": ReadPreference.PRIMARY,
}


# ------------------------------------------------------------------------------------------- repositories


class _MongoTasks(Tasks):
    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, tasks: Sequence[StoredTask]) -> None:
        if tasks:
            documents = [(one.uid, _task_document(one)) for one in tasks]
            await self._database.unless_forgotten("tasks", "_id", documents, self._put)

    async def _put(self, documents: list[Document]) -> None:
        met = [documents[place] for place in await self._database.insert("tasks", documents)]
        await self._database.write(
            "tasks", [UpdateOne({"_id": one["_id"]}, _task_change(one), upsert=True) for one in met]
        )

    async def delete(self, uids: Sequence[str]) -> None:
        if uids:
            await self._database.forget("tasks", "_id", uids)

    async def get(self, project: str, uid: str) -> StoredTask | None:
        task = (await self.get_many([uid])).get(uid)
        return task if task is not None and task.project == project else None

    async def get_many(self, uids: Sequence[str]) -> Mapping[str, StoredTask]:
        return {one["_id"]: _task(one) async for one in self._database.find_in("tasks", "_id", uids)}

    async def page(
        self,
        project: str,
        *,
        limit: int,
        after: PageKey | None = None,
        run: str | None = None,
        model: str | None = None,
        state: State | None = None,
    ) -> Sequence[tuple[PageKey, StoredTask]]:
        of_run = {} if run is None else {"runs": run}
        if state is not None:
            of_model = {} if model is None else {"model": model}
            wanted = {"project": project, "best.state": state.value, **of_run, **of_model}
            return await self._page_of(wanted, limit=limit, after=after)
        if model is not None:
            raise ValueError("a model without a state: name the state, too")
        question = {"project": project, **of_run, **later(("first_ms", "_id"), after)}
        found = await self._database.find(
            "tasks", question, sort=[("first_ms", ASCENDING), ("_id", ASCENDING)], limit=limit
        )
        return [(PageKey(one["first_ms"], one["_id"]), _task(one)) for one in found]

    async def _page_of(
        self, wanted: Document, *, limit: int, after: PageKey | None
    ) -> Sequence[tuple[PageKey, StoredTask]]:
        """Tasks that have an outcome as `wanted`."""
        page: list[tuple[PageKey, StoredTask]] = []
        while len(page) < limit:
            found = await self._database.find(
                "outcomes",
                {**wanted, **later(("task_ms", "task"), after)},
                fields=("task_ms", "task"),
                sort=[("task_ms", ASCENDING), ("task", ASCENDING)],
                limit=max(limit, 100),
            )
            if not found:
                break
            places = list(dict.fromkeys(PageKey(one["task_ms"], one["task"]) for one in found))
            uids = [place.id for place in places]
            # A task whose revisions were accepted at different moments is listed under the first only.
            first: dict[str, int] = {}
            for one in await self._database.find(
                "outcomes", {**wanted, "task": {"$in": uids}}, fields=("task_ms", "task")
            ):
                first[one["task"]] = min(one["task_ms"], first.get(one["task"], one["task_ms"]))
            tasks = await self.get_many(uids)
            page += [
                (place, tasks[place.id]) for place in places if place.id in tasks and first.get(place.id) == place.ms
            ]
            after = places[-1]
        return page[:limit]

    async def unannotated(
        self, project: str, *, scan: int, after: PageKey | None = None
    ) -> tuple[Sequence[str], PageKey | None]:
        found = await self._database.find(
            "tasks",
            {"project": project, **later(("first_ms", "_id"), after)},
            fields=("first_ms",),
            sort=[("first_ms", ASCENDING), ("_id", ASCENDING)],
            limit=scan,
        )
        said = self._database.find_in(
            "annotations", "best.task", [one["_id"] for one in found], fields=("best.task", "best.deleted")
        )
        annotated = {one["best"]["task"] async for one in said if not one["best"]["deleted"]}
        last = PageKey(found[-1]["first_ms"], found[-1]["_id"]) if len(found) == scan else None
        return [one["_id"] for one in found if one["_id"] not in annotated], last

    async def newest(self, project: str, *, limit: int) -> Sequence[StoredTask]:
        found = await self._database.find(
            "tasks", {"project": project}, sort=[("first_ms", DESCENDING), ("_id", DESCENDING)], limit=limit
        )
        return [_task(one) for one in found]

    async def count(self, project: str) -> int:
        return await self._database.count("tasks", {"project": project})


def _task_document(task: StoredTask) -> Document:
    document: Document = {
        "_id": task.uid,
        "project": task.project,
        "best": {"revision": task.revision, "config": task.config, "body": task.body, "id": task.id},
        "first_ms": task.first_ms,
    }
    if task.run is not None:
        document["runs"] = [task.run]
    return document


def _task_change(document: Document) -> Document:
    change: Document = {
        "$set": {"project": document["project"]},
        "$max": {"best": document["best"]},
        "$min": {"first_ms": document["first_ms"]},
    }
    if "runs" in document:
        change["$addToSet"] = {"runs": document["runs"][0]}
    return change


def _task(one: Document) -> StoredTask:
    best = one["best"]
    return StoredTask(
        one["_id"],
        one["project"],
        best["id"],
        best["revision"],
        one["first_ms"],
        best["config"],
        best["body"],
    )


class _MongoOutcomes(Outcomes):
    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, outcomes: Sequence[StoredOutcome]) -> None:
        if outcomes:
            await self._database.write_unless_forgotten(
                "outcomes", "task", [(one.task, _put_outcome(one)) for one in outcomes]
            )

    async def supersede(self, replaced: Mapping[str, str]) -> None:
        # It may come before what it marks: such a document is found by nobody until that is there.
        await self._database.write(
            "outcomes",
            [
                UpdateOne({"_id": request}, {"$max": {"superseded_by": by}}, upsert=True)
                for request, by in replaced.items()
            ],
        )

    async def delete_of_tasks(self, tasks: Sequence[str]) -> None:
        if tasks:
            await self._database.forget("outcomes", "task", tasks)

    async def of_tasks(self, tasks: Sequence[str]) -> Mapping[str, Sequence[StoredOutcome]]:
        by_task: dict[str, list[StoredOutcome]] = {}
        async for one in self._database.find_in("outcomes", "task", tasks):
            by_task.setdefault(one["task"], []).append(_outcome(one))
        for outcomes in by_task.values():
            outcomes.sort(key=lambda one: (one.model, one.at_ms, one.request))
        return by_task

    async def doubts(self, tasks: Sequence[str]) -> Mapping[str, Sequence[Doubt]]:
        kept = ("task", "model", "revision", "best.state", "best.order", "best.uncertainty", "superseded_by")
        by_task: dict[str, list[Doubt]] = {}
        async for one in self._database.find_in("outcomes", "task", tasks, fields=kept):
            best = one["best"]
            if best["state"] == State.CREATED:
                doubt = Doubt(
                    one["task"], one["model"], one["_id"], one["revision"], -best["order"], best.get("uncertainty"),
                    one.get("superseded_by"),
                )  # fmt: skip
                by_task.setdefault(doubt.task, []).append(doubt)
        for doubts in by_task.values():
            doubts.sort(key=lambda one: (one.model, one.revision, one.offset, one.request))
        return by_task

    async def counts(self, project: str) -> Mapping[str, Mapping[State, int]]:
        found = await self._database.groups(
            "outcomes",
            [
                {"$match": {"project": project}},
                {"$group": {"_id": {"model": "$model", "state": "$best.state"}, "n": {"$sum": 1}}},
            ],
        )
        counts: dict[str, dict[State, int]] = {}
        for one in found:
            counts.setdefault(one["_id"]["model"], {})[State(one["_id"]["state"])] = one["n"]
        return counts

    async def counts_of_run(self, run: str) -> Mapping[State, int]:
        found = await self._database.groups(
            "outcomes", [{"$match": {"runs": run}}, {"$group": {"_id": "$best.state", "n": {"$sum": 1}}}]
        )
        return {State(one["_id"]): one["n"] for one in found}

    async def pending_in_run(self, run: str) -> bool:
        question = {"runs": run, "best.state": State.PENDING.value}
        return bool(await self._database.find("outcomes", question, fields=("_id",), limit=1))

    async def oldest_pending_ms(self) -> int | None:
        found = await self._database.find(
            "outcomes", {"best.rank": 0}, fields=("task_ms",), sort=[("task_ms", ASCENDING)], limit=1
        )
        return int(found[0]["task_ms"]) if found else None


def _put_outcome(one: StoredOutcome) -> UpdateOne:
    best = {
        # The order of these fields decides which of two is kept.
        "rank": RANK.get(one.state, 1), "order": -one.offset, "state": one.state.value, "at_ms": one.at_ms,
        "body": one.body, "version": one.version, "score": one.score,
    }  # fmt: skip
    if one.uncertainty is not None:  # those that were written before there was such a thing lack it, too
        best["uncertainty"] = one.uncertainty
    change: Document = {
        "$set": {"project": one.project, "task": one.task, "model": one.model, "provider": one.provider},
        "$max": {"best": best, "revision": one.revision},
        "$min": {"task_ms": one.task_ms},
    }
    if one.run is not None:
        change["$addToSet"] = {"runs": one.run}
    return UpdateOne({"_id": one.request}, change, upsert=True)


def _outcome(one: Document) -> StoredOutcome:
    best = one["best"]
    return StoredOutcome(
        request=one["_id"],
        project=one["project"],
        task=one["task"],
        revision=one["revision"],
        model=one["model"],
        provider=one["provider"],
        task_ms=one["task_ms"],
        state=State(best["state"]),
        offset=-best["order"],
        at_ms=best["at_ms"],
        version=best["version"],
        score=best["score"],
        body=best["body"],
        superseded_by=one.get("superseded_by"),
        uncertainty=best.get("uncertainty"),
    )


class _MongoLines(Lines):
    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, lines: Sequence[StoredLine]) -> None:
        await self._database.insert(
            "lines",
            [
                {
                    "_id": one.key,
                    "project": one.project,
                    "run": one.run,
                    "line": one.line,
                    "task": one.task,
                    "at_ms": one.at_ms,
                    "refused": one.task is None,
                    "body": one.body,
                }
                for one in lines
            ],
        )

    async def counts(self, run: str) -> LineCounts:
        found = await self._database.groups(
            "lines", [{"$match": {"run": run}}, {"$group": {"_id": "$refused", "n": {"$sum": 1}}}]
        )
        by_fate = {one["_id"]: int(one["n"]) for one in found}
        return LineCounts(by_fate.get(False, 0), by_fate.get(True, 0))

    async def rejected(self, run: str, *, after: int = 0, limit: int) -> Sequence[StoredLine]:
        found = await self._database.find(
            "lines",
            {"run": run, "refused": True, "line": {"$gt": after}},
            sort=[("line", ASCENDING)],
            limit=limit,
        )
        return [
            StoredLine(one["_id"], one["project"], one["run"], one["line"], one["task"], one["at_ms"], one["body"])
            for one in found
        ]


class _MongoRuns(Runs):
    def __init__(self, database: Database) -> None:
        self._database = database

    async def open(self, run: str, project: str, at_ms: int) -> None:
        await self._update(run, {"$set": {"project": project}, "$min": {"opened_ms": at_ms}})

    async def seal(self, run: str, project: str, total: int, at_ms: int) -> None:
        await self._update(run, {"$set": {"project": project}, "$min": {"opened_ms": at_ms}, "$max": {"total": total}})

    async def finish(self, run: str, state: RunState, at_ms: int, reason: str = "") -> bool:
        if state not in _FINAL:
            raise ValueError(f"{state} is not a final state")
        await self._update(run, {})
        end = {"state": state.value, "at_ms": at_ms, "reason": reason}
        with answering():
            answer = await self._database.collection("runs").update_one(
                {"_id": run, "end": None}, {"$set": {"end": end}}
            )
            if answer.matched_count == 0:
                same = {"end.state": state.value, "end.reason": reason, "end.at_ms": {"$gt": at_ms}}
                await self._database.collection("runs").update_one({"_id": run, **same}, {"$set": {"end.at_ms": at_ms}})
        return answer.matched_count == 1

    async def announced(self, run: str) -> None:
        await self._database.write("runs", [UpdateOne({"_id": run}, {"$set": {"announced": True}}, upsert=True)])

    async def get(self, project: str, run: str) -> StoredRun | None:
        found = await self._database.find("runs", {"_id": run})
        return _run(found[0]) if found and found[0].get("project") == project else None

    async def unfinished(self, *, limit: int = 1000) -> Sequence[StoredRun]:
        found = await self._database.find(
            "runs",
            {"announced": False, "opened_ms": {"$ne": None}},
            sort=[("opened_ms", ASCENDING), ("_id", ASCENDING)],
            limit=limit,
        )
        return [_run(one) for one in found]

    async def page(self, project: str, *, limit: int, after: PageKey | None = None) -> Sequence[StoredRun]:
        question: Document = {"project": project}
        if after is not None:
            question["opened_ms"] = {"$lte": after.ms}
            question["$or"] = [
                {"opened_ms": {"$lt": after.ms}},
                {"opened_ms": after.ms, "_id": {"$lt": after.id}},
            ]
        found = await self._database.find(
            "runs", question, sort=[("opened_ms", DESCENDING), ("_id", DESCENDING)], limit=limit
        )
        return [_run(one) for one in found]

    async def _update(self, run: str, change: Document) -> None:
        await self._database.write(
            "runs", [UpdateOne({"_id": run}, {**change, "$setOnInsert": {"announced": False}}, upsert=True)]
        )


def _run(one: Document) -> StoredRun:
    total = one.get("total")
    end = one.get("end") or {}
    state = RunState.OPEN if total is None else RunState.SEALED
    if end:
        state = RunState(end["state"])
    return StoredRun(
        one["_id"],
        one["project"],
        state,
        one["opened_ms"],
        total,
        end.get("at_ms"),
        end.get("reason", ""),
        one["announced"],
    )


def _put_annotation(one: StoredAnnotation) -> tuple[str, Write]:
    best = {
        # The order of these fields decides which of two is kept.
        "deleted": one.deleted, "offset": one.offset, "at_ms": one.at_ms, "skipped": one.skipped,
        "ground_truth": one.ground_truth, "body": one.body, "project": one.project, "task": one.task,
        "annotator": one.annotator,
    }  # fmt: skip
    return one.task, UpdateOne({"_id": one.key}, {"$max": {"best": best}}, upsert=True)


def _annotation(one: Document) -> StoredAnnotation:
    best = one["best"]
    return StoredAnnotation(annotation=one["_id"].removeprefix(f"{best['task']}/"), **best)


class _MongoAnnotations(Annotations):
    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, annotations: Sequence[StoredAnnotation]) -> None:
        if annotations:
            await self._database.write_unless_forgotten(
                "annotations", "best.task", [_put_annotation(one) for one in annotations]
            )

    async def of_tasks(self, tasks: Sequence[str]) -> Mapping[str, Sequence[StoredAnnotation]]:
        by_task: dict[str, list[StoredAnnotation]] = {}
        async for one in self._database.find_in("annotations", "best.task", tasks):
            if not one["best"]["deleted"]:
                by_task.setdefault(one["best"]["task"], []).append(_annotation(one))
        for annotations in by_task.values():
            annotations.sort(key=lambda one: (one.at_ms, one.offset, one.annotation))
        return by_task

    async def delete_of_tasks(self, tasks: Sequence[str]) -> None:
        if tasks:
            await self._database.forget("annotations", "best.task", tasks)


class _MongoExamples(Examples):
    _BEST_FIRST = (
        ("best.task", ASCENDING),
        ("best.ground_truth", DESCENDING),
        ("best.offset", DESCENDING),
        ("_id", DESCENDING),
    )
    _BY_OFFSET = (("best.task", ASCENDING), ("best.offset", ASCENDING), ("_id", ASCENDING))

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, annotations: Sequence[StoredAnnotation]) -> None:
        if annotations:
            await self._database.write_unless_forgotten(
                "examples", "best.task", [_put_annotation(one) for one in annotations]
            )

    async def forget(self, tasks: Sequence[str]) -> None:
        if tasks:
            await self._database.forget("examples", "best.task", tasks)

    async def current(self, project: str, task: str) -> StoredAnnotation | None:
        found = await self._database.find(
            "examples", {**_usable(project), "best.task": task}, sort=self._BEST_FIRST, limit=1
        )
        return _annotation(found[0]) if found else None

    async def count(self, project: str) -> int:
        found = await self._database.groups(
            "examples",
            [
                {"$match": _usable(project)},
                {"$group": {"_id": "$best.task"}},
                {"$group": {"_id": None, "n": {"$sum": 1}}},
            ],
        )
        return int(found[0]["n"]) if found else 0

    async def page(self, project: str, *, limit: int, after: str | None = None) -> Sequence[StoredAnnotation]:
        question: Document = _usable(project)
        page: list[StoredAnnotation] = []
        last = after
        while len(page) < limit:
            if last is not None:
                question["best.task"] = {"$gt": last}
            found = await self._database.find("examples", question, sort=self._BEST_FIRST, limit=max(limit, 100))
            if not found:
                break
            for one in found:
                if one["best"]["task"] != last:
                    last = one["best"]["task"]
                    page.append(_annotation(one))
        return page[:limit]

    async def annotations(self, project: str, *, limit: int, after: str | None = None) -> Sequence[StoredAnnotation]:
        kept: Document = {"best.project": project, "best.deleted": False}
        behind = {} if after is None else {"best.task": {"$gt": after}}
        found = await self._database.find("examples", {**kept, **behind}, sort=self._BY_OFFSET, limit=limit)
        if len(found) == limit:
            # The last one's task is read whole, and anew: what was updated meanwhile would come twice.
            last = found[-1]["best"]["task"]
            found = [one for one in found if one["best"]["task"] != last]
            found += await self._database.find("examples", {**kept, "best.task": last}, sort=self._BY_OFFSET)
        newest = {one["_id"]: one for one in found}  # what was updated while the others were read has come twice
        return [_annotation(one) for one in found if newest[one["_id"]] is one]


def _usable(project: str) -> Document:
    return {"best.project": project, "best.deleted": False, "best.skipped": False}


class _MongoSubmissions(Submissions):
    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, submissions: Sequence[Submission]) -> None:
        await self._database.write(
            "submissions",
            [UpdateOne({"_id": one.uid}, {"$max": {"best": _remembered(one)}}, upsert=True) for one in submissions],
        )

    async def put_new(self, submissions: Sequence[Submission]) -> Mapping[str, Submission]:
        new = [{"_id": one.uid, "best": _remembered(one)} for one in submissions]
        taken = await self._database.insert("submissions", new)
        return await self.get_many([submissions[place].uid for place in taken])

    async def get_many(self, uids: Sequence[str]) -> Mapping[str, Submission]:
        return {
            one["_id"]: Submission(one["_id"], **one["best"])
            async for one in self._database.find_in("submissions", "_id", uids)
        }


def _remembered(one: Submission) -> Document:
    return {"revision": one.revision, "content": one.content, "config": one.config}


def _projected(number: int, database: Database) -> Projected:
    return Projected(
        number,
        _MongoTasks(database),
        _MongoOutcomes(database),
        _MongoLines(database),
        _MongoRuns(database),
        _MongoAnnotations(database),
        dead_letters_mongo.MongoDeadLetters(database),
        MongoContents(database),
    )


class MongoStore(Store):
    """The store on MongoDB (see the module's text).

    url              mongodb://… or mongodb+srv://…, with what the driver takes from it: TLS, credentials
    database         name of the database
    prefix           put before the names of collections: several installations may share a database
    driver           `with_motor` or `with_pymongo`
    refused          tells why the server will not let us in, if that is known before the driver says so
    timeout_seconds  how long one command may take, its repetition by the driver included
    select_seconds   how long to look for a server before `Unavailable`
    start_seconds    how long `start` waits for a server
    stop_seconds, check_seconds  how long `stop` and `check` take at most
    """

    def __init__(
        self,
        url: str,
        *,
        clock: Clock,
        database: str = "prelabel",
        prefix: str = "",
        driver: Driver = with_motor,
        refused: Callable[[], Awaitable[str | None]] | None = None,
        timeout_seconds: float = 20.0,
        select_seconds: float = 3.0,
        start_seconds: float = 60.0,
        stop_seconds: float = 5.0,
        check_seconds: float = 3.0,
    ) -> None:
        self._url = url
        self._clock = clock
        self._name = database
        self._driver = driver
        self._refused = refused
        self._options: Document = {
            "appname": "prelabel",
            "retryWrites": True,
            "timeoutMS": round(timeout_seconds * 1000),
            "serverSelectionTimeoutMS": round(select_seconds * 1000),
            "connectTimeoutMS": round(select_seconds * 1000),
        }
        self._start_seconds = start_seconds
        self._stop_seconds = stop_seconds
        self._check_seconds = check_seconds
        self._client: AsyncMongoClient[Document] | None = None
        self._prefix = prefix
        self._database = Database(prefix, {**_INDEXES, **_OTHER_INDEXES})
        self._log = structlog.get_logger(__name__)
        self.projected = _projected(0, self._database)
        self.generations = MongoGenerations(self._database)
        self.claims = dead_letters_mongo.MongoLetterClaims(self._database)
        self.jobs = jobs_mongo.MongoJobs(self._database)
        self.quotas = quotas_mongo.MongoQuotas(self._database)
        self.documents = documents_mongo.MongoDocuments(self._database)
        self.examples: Examples = _MongoExamples(self._database)
        self.submissions: Submissions = _MongoSubmissions(self._database)
        self.endpoints = deliveries_mongo.MongoEndpoints(self._database)
        self.deliveries = deliveries_mongo.MongoDeliveries(self._database)
        self.recoveries = deliveries_mongo.MongoRecoveries(self._database)
        self.audit = audit_mongo.MongoAudit(self._database)

    async def start(self) -> None:
        """Connect and declare the indexes. Raises `Refused` where waiting is no use: address, credentials."""
        try:
            self._client = self._driver(self._url, **self._options)
            self._database.use(self._client.get_database(self._name, **_CONCERNS))
        except (ConfigurationError, InvalidURI, ValueError) as error:
            raise Refused(f"the store's address cannot be used: {first_line(error)}") from error
        if self._refused is not None and (reason := await self._refused()) is not None:
            await self.stop()
            raise Refused(reason)
        deadline = self._clock.monotonic() + self._start_seconds
        pause = 0.1
        while True:
            try:
                with answering():
                    await self._database.declare()
                await self.use(await self.generations.current())
            except Unavailable as error:
                if self._clock.monotonic() + pause > deadline:
                    await self.stop()
                    raise
                self._log.warning("the store does not answer yet", reason=error.what)
                await self._clock.sleep(pause)
                pause = min(2 * pause, 2.0)
            except Refused:
                await self.stop()
                raise
            except OperationFailure as error:
                await self.stop()
                if error.code in _DIFFERENT_INDEX:
                    raise Refused(f"an index of the store differs from ours: {first_line(error)}") from error
                raise
            else:
                return

    async def generation(self, number: int) -> Projected:
        """A generation; all but the first have a prefix of their own."""
        if number == self.projected.generation:
            return self.projected
        database = self._beside(number)
        if number:
            with answering():
                await database.declare()
        return _projected(number, database)

    async def use(self, number: int) -> None:
        """From now on this process uses that generation."""
        self.projected = await self.generation(number)

    async def drop(self, number: int) -> None:
        """Remove a generation's collections."""
        if number == self.projected.generation:
            raise ValueError(f"generation {number} is in use")
        await drop_projected(self._beside(number), shared=number == 0)

    def _beside(self, number: int) -> Database:
        if number == 0:
            return self._database
        if self._client is None:
            raise Unavailable("the store is stopped")
        database = Database(f"{self._prefix}g{number}_", _PROJECTED_INDEXES)
        database.use(self._client.get_database(self._name, **_CONCERNS))
        return database

    async def stop(self) -> None:
        """Close the connections."""
        client, self._client = self._client, None
        self._database.use(None)
        if client is not None:
            with contextlib.suppress(TimeoutError, PyMongoError):
                async with asyncio.timeout(self._stop_seconds):
                    await close_client(client)

    async def check(self) -> None:
        """Raises `Unavailable` if nothing could be read now."""
        try:
            async with asyncio.timeout(self._check_seconds):
                await self._database.find("tasks", {"_id": ""})
        except Refused as error:  # whoever reads or writes ends this process; whoever asks how it is, does not
            raise Unavailable(str(error)) from error
        except TimeoutError as error:
            raise Unavailable(f"MongoDB did not answer in {self._check_seconds:g} s") from error
