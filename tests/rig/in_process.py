"""All of Prelabel in the test's own process, on SQLite: its API over real sockets, its bus and store to look into."""

import asyncio
import contextlib
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import prelabel_ingestion.service
import prelabel_projection.service
import prelabel_provider.service
import prelabel_training.service
import prelabel_webhooks.service
from prelabel_contract import cloudevents
from prelabel_contract.errors import InvalidEvent
from prelabel_contract.events import AnyEvent, EventData
from prelabel_ingestion.settings import IngestionSettings, Share, Source
from prelabel_projection.settings import ProjectionSettings
from prelabel_provider.models.settings import ModelsSettings
from prelabel_provider.settings import InferenceSettings
from prelabel_runtime.blobs import open_blobs
from prelabel_runtime.bus.base import Record
from prelabel_runtime.clock import SystemClock
from prelabel_runtime.metrics import Metrics
from prelabel_runtime.run import Runtime, open_bus, open_store, serve
from prelabel_runtime.service import Service
from prelabel_runtime.settings import RuntimeSettings
from prelabel_runtime.testing.doubles import WatchedBus
from prelabel_training.settings import TrainingSettings
from prelabel_webhooks.settings import WebhooksSettings
from pydantic import SecretStr

from deploy.local.ports import free_port
from tests.rig.documented import as_documented

KEY = "pl_a-key-for-the-tests-in-process"
PATIENCE = 60.0
"""Seconds until what must come has failed to come. Never waited for in a test that passes."""
WEBHOOK_KEY = "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE="

D = TypeVar("D", bound=EventData)
Json = dict[str, Any]


@dataclass
class Here:
    """A running Prelabel."""

    runtime: Runtime
    client: httpx.AsyncClient
    """Sends the key."""
    projects: int = field(default=0)

    async def project(self, **changes: Any) -> str:
        """A new project with rules (spans and choices) and echo; returns its id."""
        self.projects += 1
        name = f"mails-{self.projects}"
        answer = await self.client.put(f"/v1/projects/{name}", json=spec(**changes))
        assert answer.status_code == 201, answer.text
        return name

    async def post(self, path: str, body: Any, **headers: str) -> httpx.Response:
        """A body as JSON."""
        return await self.client.post(f"/v1/projects/{path}", json=body, headers=headers)

    async def upload(self, project: str, lines: Sequence[Any], **headers: str) -> httpx.Response:
        """Lines as NDJSON; bytes are sent as they are."""
        body = b"\n".join(line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines)
        kind = {"Content-Type": "application/x-ndjson"}
        return await self.client.post(f"/v1/projects/{project}/tasks", content=body, headers=kind | headers)

    async def get(self, path: str, **query: Any) -> Any:
        """An answer, which must be there."""
        answer = await self.client.get(f"/v1/projects/{path}", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def until(self, path: str, ready: Callable[[Any], bool], **query: Any) -> Any:
        """An answer, once it is as wanted."""
        return await eventually(lambda: self._look(path, query), lambda seen: seen is not None and ready(seen))

    async def _look(self, path: str, query: Mapping[str, Any]) -> Any:
        answer = await self.client.get(f"/v1/projects/{path}", params=query)
        return answer.json() if answer.status_code == 200 else None

    async def predicted(self, project: str, task: str) -> list[Json]:
        """The outcomes of a task, once all of its newest revision are there."""
        seen: Json = await self.until(
            f"{project}/tasks/{task}",
            lambda t: t["predictions"] and all(p["outcome"] != "pending" for p in t["predictions"]),
        )
        predictions: list[Json] = seen["predictions"]
        return predictions

    async def events(self, topic: str, kind: type[D], **fields: Any) -> list[D]:
        """The data of a topic's events of one type with these fields, in order."""
        found: list[D] = []
        for record in await self.records(topic):
            if record.value is None:  # taken from a compacted topic
                continue
            try:
                event: AnyEvent | None = cloudevents.decode(record.headers, record.value, topic=topic, key=record.key)
            except InvalidEvent:  # some test wrote it, to see it set aside
                continue
            if event is None or not isinstance(event.data, kind):
                continue
            if all(getattr(event.data, name) == value for name, value in fields.items()):
                found.append(event.data)
        return found

    async def records(self, topic: str) -> list[Record]:
        """Everything in a topic."""
        reader = self.runtime.bus.reader((topic,), start="beginning")
        await reader.start()
        found: list[Record] = []
        ends = await reader.ends()
        while await reader.behind(ends):
            found += await reader.poll(1000, 0.1)
        await reader.stop()
        return found


async def eventually(look: Callable[[], Awaitable[Any]], ready: Callable[[Any], bool]) -> Any:
    """What `look` sees, once it is as wanted; fails after PATIENCE seconds with what it saw last."""
    seen: Any = None
    try:
        async with asyncio.timeout(PATIENCE):
            while not ready(seen := await look()):  # noqa: ASYNC110 - what is looked at is another's
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"never came; the last was {seen!r}") from None
    return seen


def spec(**changes: Any) -> Json:
    """A project: names as spans, a topic as choice, and whatever echo is told."""
    rules = [
        {"label": "PERSON", "words": ["Ada", "Grace"]},
        {"label": "urgent", "substring": "now", "as": "choice"},
    ]
    return {
        "title": "Mails",
        "label_set": {
            "questions": [
                {"name": "names", "kind": "span", "field": "text", "labels": ["PERSON", "PLACE"]},
                {"name": "topic", "kind": "choice", "field": "text", "labels": ["urgent", "later"], "multiple": False},
            ]
        },
        "models": [
            {"name": "finder", "provider": "rules", "settings": {"rules": rules}},
            {"name": "parrot", "provider": "echo", "settings": {}},
        ],
        **changes,
    }


def task(text: str, **more: Any) -> Json:
    """A task."""
    return {"data": {"text": text}, **more}


def quick_webhooks(**changes: Any) -> WebhooksSettings:
    """Webhooks that try again at once, and give up soon."""
    quick: dict[str, Any] = {"retry_seconds": (0.05, 0.1, 0.2), "save_seconds": 0.05}
    return WebhooksSettings(**{"keys": (SecretStr(WEBHOOK_KEY),), **quick, **changes})


class _OnThisMachine(RuntimeSettings):
    one_process = True


@contextlib.asynccontextmanager
async def prelabel_here(
    folder: Path,
    *,
    inbound: Mapping[str, Source],
    before: Callable[[str], None] | None = None,
    kafka: str = "",
    webhooks: WebhooksSettings | None = None,
    share: Share | None = None,
    providers: Sequence[str] = ("rules", "echo"),
) -> AsyncIterator[Here]:
    """Everything, ready; stopped gracefully at the end. `before` is asked before each step of the bus; `share` is what
    each project may send into bulk; `providers` are those that run here.

    On SQLite, or on topics of its own on a Kafka at HOST:PORT.
    """
    settings = _OnThisMachine(
        bus=f"kafka://{kafka}" if kafka else f"sqlite:///{folder / 'log.db'}",
        prefix=f"t{secrets.token_hex(5)}." if kafka else "",
        create_topics=True,
        partitions=2,
        store=f"sqlite:///{folder / 'results.db'}",
        blobs=str(folder / "blobs"),
        port=free_port(),
        health_port=free_port(),
        api_key=KEY,
    )
    clock = SystemClock()
    bus = open_bus(settings, clock)
    runtime = Runtime(
        settings,
        WatchedBus(bus, before) if before is not None else bus,
        open_store(settings, clock),
        Metrics(),
        open_blobs(settings.blobs),
    )
    ready, stopping = asyncio.Event(), asyncio.Event()

    kept = ModelsSettings(models=str(folder / "models"), models_cache=folder / "models-cache")

    def build(runtime: Runtime) -> Sequence[Service]:
        return [
            prelabel_ingestion.service.build(
                runtime, IngestionSettings(inbound=dict(inbound), share=share or Share(), wait_seconds=60)
            ),
            prelabel_projection.service.build(runtime, ProjectionSettings(watch_seconds=0.1)),
            prelabel_training.service.build(runtime, TrainingSettings(), kept),
            prelabel_webhooks.service.build(runtime, webhooks or quick_webhooks()),
            *(prelabel_provider.service.build(runtime, name, InferenceSettings(), kept) for name in providers),
        ]

    async def told(_: Runtime) -> None:
        ready.set()

    served = asyncio.create_task(serve(runtime, build, name="tests", ready=told, stopping=stopping))
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait({served, waiting}, timeout=180, return_when=asyncio.FIRST_COMPLETED)
    if not ready.is_set():
        waiting.cancel()
        await served
    headers = {"Authorization": f"Bearer {KEY}"}
    address = f"http://127.0.0.1:{settings.port}"
    try:
        hooks = {"response": [as_documented]}
        async with httpx.AsyncClient(
            base_url=address,
            headers=headers,
            timeout=60,
            trust_env=False,
            event_hooks=hooks,
            limits=httpx.Limits(keepalive_expiry=2.0),  # the server closes after 5: no request into a closed one
        ) as client:
            yield Here(runtime, client)
    finally:
        stopping.set()
        await asyncio.wait_for(served, 180)
