"""The inference hop alone on Kafka: requests wait in their topic, one inference process answers them all.

The rate is that of the answers: from the moment when the first of them are durable until all are. So starting the
process and loading the model do not count, and nothing else runs but the broker.
"""

import asyncio
import secrets
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from prelabel_contract import names
from prelabel_contract.events import AnyEvent, PredictionCreated, PredictionRequested, event
from prelabel_contract.names import Lane
from prelabel_contract.projects import Project
from prelabel_ingestion.projects import publication
from prelabel_runtime.bus.base import Bus
from prelabel_runtime.clock import SystemClock
from prelabel_runtime.loop import messages
from prelabel_runtime.run import open_bus
from prelabel_runtime.settings import RuntimeSettings
from prelabel_runtime.topics.spec import topic_spec

from tests.benchmarks.case import Lost
from tests.benchmarks.pipeline import Asked
from tests.benchmarks.processes import cpu_seconds, worker_of
from tests.rig.processes import PrelabelProcess

PARTITIONS = 4
_AT_ONCE = 2000
_LOOK_S = 0.05
"""To ask costs the broker and us as much as ten tasks do."""
_PATIENCE_S = 60.0
_SOURCE = "/benchmarks"


@dataclass(frozen=True, slots=True)
class Hop:
    """One measurement."""

    per_second: float
    cpu: dict[str, float]
    """CPU microseconds per task, by process, over all tasks and with the start of both processes."""


def measure(folder: Path, kafka: str, asked: Asked, texts: Sequence[str]) -> Hop:
    """Blocks. `kafka`: HOST:PORT. Raises Lost."""
    return asyncio.run(_measure(folder, kafka, asked, texts))


async def _measure(folder: Path, kafka: str, asked: Asked, texts: Sequence[str]) -> Hop:
    prefix = f"hop{secrets.token_hex(5)}."
    bus = open_bus(RuntimeSettings(bus=f"kafka://{kafka}", prefix=prefix), SystemClock())
    await bus.start()
    process = _process(folder, kafka, prefix, str(asked.model["provider"]))
    try:
        await _preload(bus, asked, texts)
        await asyncio.to_thread(process.start)
        await asyncio.to_thread(process.ready)
        rate = await _rate(bus, len(texts))
        cpu = {f"{worker_of(pid)}'s worker": cpu_seconds(pid) for pid in process.workers()}
        cpu["inference"] = cpu_seconds(process.pid)
        await _check(bus)
    finally:
        await asyncio.to_thread(_stop, process)
        await bus.stop()
    return Hop(rate, {name: seconds / len(texts) * 1e6 for name, seconds in cpu.items()})


def _process(folder: Path, kafka: str, prefix: str, provider: str) -> PrelabelProcess:
    told = {
        "PRELABEL_BUS": f"kafka://{kafka}",
        "PRELABEL_STORE": f"sqlite:///{folder / f'{prefix}db'}",
        "PRELABEL_PREFIX": prefix,
        "PRELABEL_CREATE_TOPICS": "true",
        "PRELABEL_PARTITIONS": str(PARTITIONS),
        "PRELABEL_INFERENCE_LANES": '["bulk"]',
    }
    return PrelabelProcess(f"{prefix}inference", f"prelabel_inference_{provider}", told, folder)


def _stop(process: PrelabelProcess) -> None:
    process.signal(signal.SIGTERM)
    process.wait(30)


async def _preload(bus: Bus, asked: Asked, texts: Sequence[str]) -> None:
    project = Project.model_validate(
        {"id": "bench", "label_set": {"questions": [asked.question]}, "models": [asked.model]}
    )
    model = project.models[0]
    topics = (names.CONFIGS, names.PROJECTS, names.PREDICTIONS, names.requests(model.provider, Lane.BULK))
    await bus.provision([topic_spec(topic, PARTITIONS) for topic in topics])
    now = SystemClock().now_ms()
    await bus.publish(messages(publication(project, 1, now_ms=now, new_id="bench")))
    for start in range(0, len(texts), _AT_ONCE):
        some = enumerate(texts[start : start + _AT_ONCE], start)
        await bus.publish(messages([request_of(project, number, text, now) for number, text in some]))


def request_of(project: Project, number: int, text: str, now_ms: int) -> AnyEvent:
    """As the dispatcher would ask."""
    model, config = project.models[0], project.config_hash
    data = {project.label_set.questions[0].fields[0]: text}
    task, input_hash = names.task_uid(project.id, str(number)), names.content_hash(data)
    request = names.request_id(task, input_hash, model.name, config)
    asked = PredictionRequested(
        project=project.id,
        task=task,
        request=request,
        id=str(number),
        revision=number,
        model=model.name,
        provider=model.provider,
        accepted_ms=now_ms,
        config=config,
        input_hash=input_hash,
        data=dict(data),
    )
    return event(asked, id=request, source=_SOURCE, time_ms=now_ms)


async def _rate(bus: Bus, tasks: int) -> float:
    deadline = time.monotonic() + _PATIENCE_S
    first, since, there = 0, 0.0, 0
    while there < tasks:
        seen = sum((await bus.offsets([names.PREDICTIONS], "end")).values())
        now = time.monotonic()
        if seen > there:
            there, deadline = seen, now + _PATIENCE_S
            first, since = (first, since) if first else (seen, now)
        if now > deadline:
            raise Lost(f"{there} of {tasks} requests were answered")
        await asyncio.sleep(_LOOK_S)
    if first == there:
        raise Lost(f"{tasks} requests are too few: all were answered at once")
    return (there - first) / (time.monotonic() - since)


async def _check(bus: Bus) -> None:
    """Raises Lost where a model failed: that is fast, too."""
    created = PredictionCreated.TYPE.encode()
    for partition, end in (await bus.offsets([names.PREDICTIONS], "end")).items():
        for record in await bus.fetch(partition, max(0, end - 500), 500):
            if dict(record.headers).get("ce_type") != created:
                raise Lost(f"the model failed: {(record.value or b'')[:300]!r}")
