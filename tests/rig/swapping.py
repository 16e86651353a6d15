"""One provider's inference on the embedded bus, which is fed while its serving pointer moves.

    PRELABEL_BUS=sqlite:////tmp/x/log.db FED=/tmp/x python -m tests.rig.swapping

In the folder FED: `project.json`, and `<epoch>.json` per serving pointer, which is told as soon as it lies there.
Requests come until there is a file `enough`; when each has an outcome there is one `done`. `served-<epoch>` is there
once a version serves. The bus has one owner, so who feeds it is a part of the same process; what it has done is read
from the bus, so it goes on after a kill.
"""

import asyncio
import json
import os
from collections.abc import Sequence
from pathlib import Path

from prelabel_contract import cloudevents, names
from prelabel_contract.events import AnyEvent, ConfigPublished, ModelLoaded, ModelServing, PredictionRequested, event
from prelabel_contract.names import Lane
from prelabel_contract.projects import Project
from prelabel_provider.models.settings import ModelsSettings
from prelabel_provider.service import build
from prelabel_provider.settings import InferenceSettings
from prelabel_runtime import run
from prelabel_runtime.bus.base import Bus, Record
from prelabel_runtime.loop import messages
from prelabel_runtime.service import Part, Service

LANES = (Lane.INTERACTIVE, Lane.BULK)
PORTION = 10
"""Requests of a lane that come at once."""
EVERY = 0.05
"""Seconds from one portion to the next."""


async def read(bus: Bus, topic: str) -> list[Record]:
    """Everything in a topic."""
    reader = bus.reader((topic,), start="beginning")
    await reader.start()
    found: list[Record] = []
    ends = await reader.ends()
    while await reader.behind(ends):
        found += await reader.poll(1000, 0.1)
    await reader.stop()
    return found


def decoded(record: Record) -> AnyEvent:
    """What a record says."""
    told = cloudevents.decode(record.headers, record.value or b"", topic=record.topic, key=record.key)
    assert told is not None
    return told


class Feeder(Part):
    """Requests and pointers come, little by little."""

    def __init__(self, bus: Bus, folder: Path) -> None:
        self._bus = bus
        self._folder = folder
        self._project = Project.model_validate_json((folder / "project.json").read_bytes())

    async def start(self) -> None:
        """The project is there before anything is asked."""
        config = ConfigPublished(hash=self._project.config_hash, project=self._project)
        await self._tell(event(config, id="config", source="/fed", time_ms=1))

    async def stop(self) -> None:
        """Nothing."""

    async def run(self) -> None:
        """Feed, then wait for the outcomes."""
        sent = {lane: len(await read(self._bus, names.requests("ledger", lane))) for lane in LANES}
        told = [decoded(record).data for record in await read(self._bus, names.MODELS)]
        epoch = max((data.epoch for data in told if isinstance(data, ModelServing)), default=0)
        enough = self._folder / "enough"
        while not enough.exists() or await self._answered() < sum(sent.values()):
            for lane in LANES:
                some = range(sent[lane], sent[lane] + (0 if enough.exists() else PORTION))
                await self._tell(*(self._request(lane, number) for number in some))
                sent[lane] += len(some)
            await self._note_what_serves()
            while (path := self._folder / f"{epoch + 1}.json").exists():
                pointer = ModelServing.model_validate_json(path.read_bytes())
                await self._tell(event(pointer, id=path.name, source="/fed", time_ms=1))
                epoch += 1
            await asyncio.sleep(EVERY)
        (self._folder / "done").touch()

    async def _note_what_serves(self) -> None:
        for record in await read(self._bus, names.LEARNING):
            data = decoded(record).data
            if isinstance(data, ModelLoaded) and data.state == "serving":
                (self._folder / f"served-{data.epoch}").touch()

    async def _answered(self) -> int:
        return len({decoded(record).id for record in await read(self._bus, names.PREDICTIONS)})

    async def _tell(self, *told: AnyEvent) -> None:
        await self._bus.publish(messages(told))

    def _request(self, lane: Lane, number: int) -> AnyEvent:
        text = f"{lane}{number} is a text"
        data = PredictionRequested.model_validate(
            {
                "project": self._project.id,
                "task": f"{lane}-{number}",
                "request": names.derived(lane, number),
                "revision": 0,
                "model": "m",
                "provider": "ledger",
                "config": self._project.config_hash,
                "input_hash": names.content_hash({"text": text}),
                "data": {"text": text},
                "lane": lane,
            }
        )
        return event(data, id=data.request, source="/fed", time_ms=1)


def services(runtime: run.Runtime) -> Sequence[Service]:
    """Inference, and who feeds it."""
    feeder = Feeder(runtime.bus, Path(os.environ["FED"]))
    return [
        build(runtime, "ledger", InferenceSettings(lanes=LANES), ModelsSettings()),
        Service(name="feeder", parts=(feeder,)),
    ]


def pointers(folder: Path, *told: ModelServing) -> None:
    """The pointer moves: its files appear whole."""
    for one in told:
        part = folder / f"{one.epoch}.part"
        part.write_text(json.dumps(one.model_dump(mode="json")))
        part.rename(folder / f"{one.epoch}.json")


if __name__ == "__main__":
    run.main("swapping", services)
