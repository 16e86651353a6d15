"""A small client of Prelabel that writes down what it sent and what it was told: the client's ledger.

The ledger is NDJSON, one line per task and event of its life at the client, in order:

    {"at": <seconds since 1970>, "said": "sent" | "acknowledged" | "refused" | "unknown",
     "project": …, "id": …, "content": <SHA-256 of data>, "why": …}

An acknowledged annotation has a line with "annotation" (its uid) instead of "id" and what follows it.
"unknown" is a send that got no answer, or one that promises nothing (503): the task may be in or not.
"""

import asyncio
import hashlib
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

_LOOK_EVERY_S = 0.1
_ENDED = ("created", "failed", "cancelled", "expired")


class NotDone(Exception):
    """What was waited for did not come in time."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of one request: `status` 0 is no answer at all."""

    status: int
    body: Mapping[str, Any] = field(default_factory=dict)
    retry_after: float | None = None
    """Seconds, from the Retry-After header."""

    @property
    def acknowledged(self) -> bool:
        """Prelabel has taken responsibility."""
        return self.status == 202


class ClientLedger:
    """The file. Lines of one call are written together."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab", buffering=0)

    def note(self, said: str, project: str, tasks: Iterable[Mapping[str, Any]], why: str = "") -> None:
        """One line per task; one without an id is left out: nothing could be said about it later."""
        now = time.time()
        lines = [
            {
                "at": now,
                "said": said,
                "project": project,
                "id": t["id"],
                "content": content_of(t["data"]),
                "why": why,
            }
            for t in tasks
            if "id" in t
        ]
        self._file.write("".join(json.dumps(line) + "\n" for line in lines).encode())

    def note_annotations(self, project: str, annotations: Iterable[str]) -> None:
        """One line per acknowledged annotation, by its uid."""
        now = time.time()
        lines = [{"at": now, "said": "acknowledged", "project": project, "annotation": a} for a in annotations]
        self._file.write("".join(json.dumps(line) + "\n" for line in lines).encode())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def content_of(data: Any) -> str:
    """What tells one content of a task from another."""
    text = json.dumps(data, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


class Client:
    """Talks to Prelabel at its address."""

    def __init__(self, address: str, key: str, ledger: Path) -> None:
        headers = {"Authorization": f"Bearer {key}"}
        self._ledger = ClientLedger(ledger)
        # Straight to loopback, whatever proxy the environment names.
        # Kept for less than the 5 seconds after which servers close: no request goes into one that is being closed.
        limits = httpx.Limits(keepalive_expiry=2.0)
        self._http = httpx.AsyncClient(base_url=address, headers=headers, timeout=60.0, trust_env=False, limits=limits)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()
        self._ledger.close()

    async def put_project(self, project: str, body: Mapping[str, Any], *, timeout: float = 180.0) -> None:
        """Create or change a project. Repeats while the doors do not answer or do not know its providers."""
        deadline = time.monotonic() + timeout
        while True:
            answer = await self._sent("PUT", f"/v1/projects/{project}", json=body)
            if answer.status in (200, 201):
                return
            if time.monotonic() > deadline:
                raise NotDone(f"project {project}: {answer}")
            await asyncio.sleep(_LOOK_EVERY_S)

    async def submit(
        self, project: str, tasks: Sequence[Mapping[str, Any]], *, key: str | None = None, lane: str = "bulk"
    ) -> Sent:
        """Send tasks once, as a JSON array, and note what was said of them."""
        return await self._submit(project, tasks, key, lane, json=tasks)

    async def upload(
        self, project: str, tasks: Sequence[Mapping[str, Any]], *, key: str | None = None, lane: str = "bulk"
    ) -> Sent:
        """The same, as NDJSON in one streamed request."""
        lines = "".join(json.dumps(task) + "\n" for task in tasks).encode()
        return await self._submit(
            project, tasks, key, lane, content=lines, headers={"Content-Type": "application/x-ndjson"}
        )

    async def submit_until_acknowledged(
        self,
        project: str,
        tasks: Sequence[Mapping[str, Any]],
        *,
        key: str | None = None,
        timeout: float = 240.0,
    ) -> int:
        """Send until it is acknowledged, as Retry-After says; returns how often. Raises NotDone."""
        deadline = time.monotonic() + timeout
        for times in range(1, 10_000):
            answer = await self.submit(project, tasks, key=key)
            if answer.acknowledged:
                return times
            if 400 <= answer.status < 500 or time.monotonic() > deadline:
                raise NotDone(f"tasks of {project}: {answer}")
            await asyncio.sleep(min(answer.retry_after or _LOOK_EVERY_S, 2.0))
        raise NotDone("ten thousand times")

    async def annotate(
        self, project: str, annotations: Sequence[Mapping[str, Any]], *, timeout: float = 240.0
    ) -> Sequence[str]:
        """Send annotations until they are acknowledged; their uids. Repeats while their tasks are not known yet."""
        deadline = time.monotonic() + timeout
        while True:
            answer = await self.post(f"/v1/projects/{project}/annotations", list(annotations))
            if answer.acknowledged:
                uids = [str(uid) for uid in answer.body["annotations"]]
                self._ledger.note_annotations(project, uids)
                return uids
            for_ever = 400 <= answer.status < 500 and not str(answer.body.get("type", "")).endswith("unknown_task")
            if for_ever or time.monotonic() > deadline:
                raise NotDone(f"annotations of {project}: {answer}")
            await asyncio.sleep(_LOOK_EVERY_S)

    async def counts(self, project: str) -> Mapping[str, Any]:
        """{"tasks": N, "models": {model: {state: N}}}; empty while the projection does not answer."""
        try:
            answer = await self._http.get(f"/v1/projects/{project}/counts")
        except httpx.HTTPError:
            return {}
        return dict(answer.json()) if answer.status_code == 200 else {}

    async def until_ended(self, project: str, tasks: int, models: int, *, timeout: float = 240.0) -> Mapping[str, Any]:
        """Return the counts once `tasks` tasks are stored with an ended outcome of each of `models` models.

        Raises NotDone after `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        while True:
            counts = await self.counts(project)
            by_model = counts.get("models", {})
            ended = [sum(states.get(state, 0) for state in _ENDED) for states in by_model.values()]
            if counts.get("tasks", 0) >= tasks and sum(n >= tasks for n in ended) >= models:
                return counts
            if time.monotonic() > deadline:
                raise NotDone(f"{tasks} tasks with {models} outcomes each did not end in {timeout:g} s: {counts}")
            await asyncio.sleep(_LOOK_EVERY_S)

    async def get(self, path: str) -> Any:
        """A query's answer. Raises httpx.HTTPStatusError."""
        answer = await self._http.get(path)
        answer.raise_for_status()
        return answer.json()

    async def post(self, path: str, body: Any) -> Sent:
        """Anything else that is sent to the doors; not in the ledger."""
        return await self._sent("POST", path, json=body)

    async def _submit(
        self, project: str, tasks: Sequence[Mapping[str, Any]], key: str | None, lane: str, **content: Any
    ) -> Sent:
        known = [task for task in tasks if isinstance(task, Mapping) and "id" in task and "data" in task]
        headers = {**content.pop("headers", {}), **({"Idempotency-Key": key} if key else {})}
        self._ledger.note("sent", project, known)
        answer = await self._sent("POST", f"/v1/projects/{project}/tasks?lane={lane}", headers=headers, **content)
        if answer.acknowledged:
            wrong = {error["line"] for error in answer.body.get("errors", ())}
            good = [task for line, task in enumerate(tasks, 1) if line not in wrong]
            bad = [task for line, task in enumerate(tasks, 1) if line in wrong]
            self._ledger.note("acknowledged", project, [t for t in good if "id" in t])
            self._ledger.note("refused", project, [t for t in bad if t in known], "line")
        elif 400 <= answer.status < 500:
            self._ledger.note("refused", project, known, str(answer.status))
        else:
            self._ledger.note("unknown", project, known, str(answer.status))
        return answer

    async def _sent(self, method: str, path: str, **more: Any) -> Sent:
        try:
            answer = await self._http.request(method, path, **more)
        except httpx.HTTPError:
            return Sent(0)
        after = answer.headers.get("Retry-After")
        try:
            body = answer.json()
        except ValueError:
            body = {}
        return Sent(answer.status_code, body if isinstance(body, dict) else {}, float(after) if after else None)
