"""What the cases stand on: sizes, servers, Prelabel in both of its forms, a place for what is more than a number."""

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from deploy.local.kafka.server import KafkaServer
from deploy.local.mongo.server import Backend, MongoServer
from deploy.local.ports import free_port
from deploy.local.server import Server
from tests.benchmarks.case import Sizes, Turn, Values
from tests.benchmarks.model import Measured, prepare
from tests.benchmarks.pipeline import Asked, Pipeline
from tests.rig.processes import Prelabel

SIDES = ("sqlite", "kafka")
_CPU = "cpu_us_per_task."
_NOTHING: Mapping[str, str] = MappingProxyType({})


class RoomyMongo(MongoServer):
    """Holds the tasks of all rounds in memory without a busy garbage collector: it stands in for a database."""

    heap_mib: ClassVar[int] = 6144


class Stage:
    """Given to every case. Servers start when the first case needs them, and stop at the end of the run."""

    def __init__(
        self,
        sizes: Sizes,
        wants: Callable[[str], bool],
        *,
        kept: Path,
        folder: Path,
        stack: ExitStack,
        say: Callable[[str], None],
    ) -> None:
        """`kept`: a folder for what the next run needs again (models); `folder`: one that goes with this run."""
        self.sizes = sizes
        self.wants = wants
        """Whether a figure, or any that begins so, is to be measured."""
        self.kept = kept
        self.folder = folder
        self.say = say
        """Told what takes a while."""
        self.details: dict[str, list[Any]] = {}
        """What was noted, by name, in the order of the rounds: values of JSON."""
        self._stack = stack
        self._kafka: KafkaServer | None = None

    def note(self, name: str, value: Any) -> None:
        """Keep something for the report that is more than a number."""
        self.details.setdefault(name, []).append(value)

    def note_cpu(self, name: str, microseconds: Mapping[str, float]) -> None:
        """Keep what a task has cost each process."""
        self.note(f"{_CPU}{name}", microseconds)

    def texts_and_ner(self) -> Measured:
        """The NER model and its texts; made first where they are not there, which takes a minute."""
        return prepare(self.kept, lambda fraction: self.say(f"training the NER model, once: {fraction:.0%}"))

    def pipelines(self, case: str, providers: Sequence[str], stack: ExitStack) -> Iterator[tuple[str, Pipeline]]:
        """A running Prelabel per side that is wanted as `<case>.<side>`, each until the stack ends."""
        for side in SIDES:
            if self.wants(f"{case}.{side}"):
                pipeline = self.on_sqlite if side == "sqlite" else self.on_kafka
                yield side, stack.enter_context(pipeline(case, providers))

    def end_to_end(
        self, name: str, pipeline: Pipeline, asked: Asked, texts: Sequence[str], *, warm_up: int = 256
    ) -> Turn:
        """A turn that takes the texts through the whole pipeline, each round in a project of its own."""

        def measure(number: int) -> Values:
            project = f"bench-{name.replace('.', '-')}-{number}"
            measured = pipeline.measure(project, asked, texts, warm_up=warm_up)
            self.note_cpu(name, {process: one / measured.tasks * 1e6 for process, one in measured.cpu.items()})
            return {name: measured.per_second}

        return Turn(name, measure)

    def costs(self) -> dict[str, dict[str, float]]:
        """CPU microseconds per task, by what was measured and by process: medians over the rounds."""
        return {
            name.removeprefix(_CPU): {
                process: round(statistics.median(one[process] for one in rounds if process in one), 1)
                for process in rounds[-1]
            }
            for name, rounds in self.details.items()
            if name.startswith(_CPU)
        }

    @contextmanager
    def on_sqlite(
        self, name: str, providers: Sequence[str], environment: Mapping[str, str] = _NOTHING
    ) -> Iterator[Pipeline]:
        """All in one process. `name` keeps its files apart from those of others."""
        self.say(f"{name}: starting all in one")
        folder = self.folder / name / "sqlite"
        with Prelabel.all_in_one(folder, providers=providers, environment=environment) as prelabel:
            yield Pipeline(prelabel)

    @contextmanager
    def on_kafka(
        self,
        name: str,
        providers: Sequence[str],
        environment: Mapping[str, str] = _NOTHING,
        *,
        backend: Backend = "memory",
    ) -> Iterator[Pipeline]:
        """A process per service, on Kafka and a MongoDB-wire server of its own. Raises ServerError."""
        kafka = self.kafka()
        folder = self.folder / name / "kafka"
        self.say(f"{name}: starting every service")
        with self.mongo(folder, backend) as mongo:
            prelabel = Prelabel.separate(
                folder, kafka=kafka.address, mongo=mongo.address, providers=providers, environment=environment
            )
            with prelabel:
                yield Pipeline(prelabel, {server.name: server.pid for server in (kafka, mongo)})

    def kafka(self) -> KafkaServer:
        """The broker of this run. Raises ServerError."""
        if self._kafka is None:
            self.say("starting Kafka")
            self._kafka = KafkaServer(self.folder / "kafka", free_port())
            start(self._kafka, self._stack)
        return self._kafka

    @contextmanager
    def mongo(self, folder: Path, backend: Backend = "memory") -> Iterator[MongoServer]:
        """An empty MongoDB-wire server. Raises ServerError."""
        with ExitStack() as stack:
            server = RoomyMongo(folder / "mongo", free_port(), backend=backend)
            start(server, stack)
            yield server


def start(server: Server, stack: ExitStack) -> None:
    """A server that stays until the stack ends. Raises ServerError."""
    server.install()
    server.start()
    stack.callback(server.remove)
    server.wait_ready()
