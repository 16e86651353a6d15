"""What all routes of the projection stand on: finding things, pages, and how things look as JSON."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from prelabel_contract import names
from prelabel_contract.blobs import BlobRef
from prelabel_contract.events import ProjectChanged
from prelabel_runtime.blobs import BlobError, Blobs
from prelabel_runtime.clock import Clock
from prelabel_runtime.http.problems import Problem, not_found
from prelabel_runtime.store.base import State, Store, StoredAnnotation, StoredOutcome, StoredRun, StoredTask
from prelabel_runtime.store.paging import PageKey
from prelabel_runtime.tables import Table

from .runs import Looks

EXPORT_PAGE = 500
RUN_PATIENCE = 2.0
"""Seconds that an unknown run is waited for."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which tasks are meant."""

    run: str | None = None
    model: str | None = None
    state: State | None = None

    def __post_init__(self) -> None:
        if self.model is not None and self.state is None:
            raise Problem(422, "invalid", "model filters outcomes: name a state as well, such as state=created")


@dataclass(frozen=True, slots=True)
class Reading:
    """The store, read for callers. What is not there, or not in this project, raises a 404."""

    store: Store
    blobs: Blobs
    projects: Table[ProjectChanged]
    clock: Clock
    looks: Looks

    async def project(self, project: str) -> None:
        """There is such a project."""
        found = await self.projects.find(project)
        if found is None or found.deleted:
            raise not_found("project", project)

    async def task(self, project: str, name: str) -> StoredTask:
        """A task, by its caller's id or by its uid."""
        await self.project(project)
        for uid in (names.task_uid(project, name), name):
            if (found := await self.store.tasks.get(project, uid)) is not None:
                return found
        raise not_found("task", name)

    async def run(self, project: str, run: str) -> StoredRun:
        """A run; one that is not there yet is waited for: an upload is answered before we have heard of it."""
        await self.project(project)
        until = self.clock.monotonic() + RUN_PATIENCE
        while (found := await self.store.runs.get(project, run)) is None:
            if self.clock.monotonic() > until:
                raise not_found("run", run)
            await self.clock.sleep(0.05)
        return found

    async def page(
        self, project: str, wanted: Filter, *, limit: int, after: PageKey | None
    ) -> Sequence[tuple[PageKey, StoredTask]]:
        """Tasks in the order in which they were accepted."""
        return await self.store.tasks.page(
            project, limit=limit, after=after, run=wanted.run, model=wanted.model, state=wanted.state
        )

    async def with_predictions(self, tasks: Sequence[StoredTask]) -> list[dict[str, Any]]:
        """Tasks as JSON, with what the models said."""
        outcomes = await self.store.outcomes.of_tasks([t.uid for t in tasks])
        return [{**shown_task(t), "predictions": [shown_outcome(o, t) for o in outcomes.get(t.uid, ())]} for t in tasks]

    async def in_full(self, tasks: Sequence[StoredTask]) -> list[dict[str, Any]]:
        """Tasks as JSON, with what the models and the people said."""
        shown = await self.with_predictions(tasks)
        annotations = await self.store.annotations.of_tasks([t.uid for t in tasks])
        for task, line in zip(tasks, shown, strict=True):
            line["annotations"] = [shown_annotation(a) for a in annotations.get(task.uid, ())]
        return shown

    async def export(self, project: str, wanted: Filter) -> AsyncIterator[bytes]:
        """Every task in full, as NDJSON, in memory for a page; of what is large, one task at a time."""
        after: PageKey | None = None
        while page := await self.page(project, wanted, limit=EXPORT_PAGE, after=after):
            small: list[bytes] = []
            for line in await self.in_full([task for _, task in page]):
                if not _refers(line):
                    small.append(orjson.dumps(line) + b"\n")
                    continue
                yield b"".join(small)
                small = []
                yield orjson.dumps(await self.whole(project, line)) + b"\n"
            yield b"".join(small)
            after = page[-1][0]

    async def whole(self, project: str, shown: dict[str, Any]) -> dict[str, Any]:
        """A task as JSON, with what is kept in the blob store.

        What cannot be had stays null, and its reference tells why. Raises `Unavailable` where the store does not
        answer.
        """
        left = await self._fetched(project, shown["task"], shown.pop("blobs", {}), into=shown["data"])
        if left:
            shown["blobs"] = left
        for said in shown["predictions"]:
            if (ref := said.pop("regions_blob", None)) is not None:
                left = await self._fetched(project, shown["task"], {"regions": ref}, into=said)
                if left:
                    said["regions_blob"] = left["regions"]
        return shown

    async def _fetched(
        self, project: str, task: str, refs: Mapping[str, Mapping[str, Any]], *, into: dict[str, Any]
    ) -> dict[str, Any]:
        """Fill in values by their references; returns the references that lead to nothing."""
        left: dict[str, Any] = {}
        for name, ref in refs.items():
            try:
                into[name] = await self.blobs.value(project, task, BlobRef.model_validate(ref))
            except BlobError as error:
                left[name] = {**ref, "error": error.reason}
        return left


# ---------------------------------------------------------------------------------------------------------- as JSON


def shown_task(task: StoredTask) -> dict[str, Any]:
    """A task. What is kept in the blob store is null in `data`, and told in `blobs`: how large, and how it begins."""
    body = orjson.loads(task.body)
    blobs = {"blobs": body["blobs"]} if "blobs" in body else {}
    return {
        "task": task.uid,
        "id": task.id,
        "data": body["data"],
        **blobs,
        "meta": body["meta"],
        "revision": task.revision,
        "accepted_ms": task.first_ms,
        "config": task.config,
    }


def _refers(shown: Mapping[str, Any]) -> bool:
    """Something of it is in the blob store."""
    return "blobs" in shown or any("regions_blob" in said for said in shown["predictions"])


def shown_outcome(outcome: StoredOutcome, task: StoredTask) -> dict[str, Any]:
    """An outcome. One of an older revision of the task is superseded by the newer one."""
    superseded = outcome.superseded_by or (str(task.revision) if outcome.revision < task.revision else None)
    return {
        "request": outcome.request,
        "model": outcome.model,
        "provider": outcome.provider,
        **orjson.loads(outcome.body),
        "outcome": str(outcome.state),
        "version": outcome.version,
        "score": outcome.score,
        "uncertainty": outcome.uncertainty,
        "revision": outcome.revision,
        "at_ms": outcome.at_ms or None,
        "superseded_by": superseded,
    }


def shown_annotation(annotation: StoredAnnotation) -> dict[str, Any]:
    """An annotation."""
    return {
        "annotation": annotation.annotation,
        "annotator": annotation.annotator,
        "at_ms": annotation.at_ms,
        **orjson.loads(annotation.body),
    }
