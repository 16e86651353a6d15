"""Real servers for tests, as plain processes or as containers: one handle for both, one choice for a run."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from deploy.local.errors import ServerError
from deploy.local.kafka.server import KafkaServer
from deploy.local.mongo.server import MongoServer
from deploy.local.ports import free_port
from deploy.local.server import Server

_HOW = (
    "install Java 17+ and Maven (Debian, Ubuntu: apt-get install openjdk-17-jre-headless maven) "
    "or a Docker engine (deploy/local/docker_engine.sh, as root)"
)


class ServerHandle(Protocol):
    """A server that a test may stop, kill and bring back; its address and data stay the same.

    Every method blocks: in async code call it through `asyncio.to_thread`. Each raises ServerError, one line.
    """

    @property
    def address(self) -> str:
        """Kafka: `127.0.0.1:PORT`; Mongo: `mongodb://127.0.0.1:PORT`."""

    @property
    def running(self) -> bool:
        """True while the process lives; says nothing about its health."""

    def start(self) -> None:
        """Starts it and returns at once."""

    def wait_ready(self, timeout: float = 120.0) -> None:
        """Returns when it answers in its own protocol."""

    def stop(self, timeout: float = 60.0) -> None:
        """Ends it cleanly (SIGTERM)."""

    def kill(self) -> None:
        """Ends it at once (SIGKILL); returns when it is gone."""

    def restart(self, timeout: float = 120.0) -> None:
        """Stops it if it runs, starts it again and waits until it answers."""

    def freeze(self) -> None:
        """Halts it: connections stay open and nothing answers."""

    def thaw(self) -> None:
        """Lets a frozen one go on."""

    def remove(self) -> None:
        """Ends it, however it is, and gives back what it holds; it does not come back."""


class Way(Protocol):
    """How servers are had: each call starts a new one and returns when it answers."""

    def kafka(self, folder: Path) -> ServerHandle: ...

    def mongo(self, folder: Path, *, durable: bool) -> ServerHandle:
        """durable: what it has acknowledged is still there after a kill; else it may forget when it ends."""


class LocalWay:
    """Servers as plain processes that die with the test run."""

    def kafka(self, folder: Path) -> ServerHandle:
        return _started(KafkaServer(folder, free_port()))

    def mongo(self, folder: Path, *, durable: bool) -> ServerHandle:
        return _started(MongoServer(folder, free_port(), backend="h2" if durable else "memory"))


def choose_way(environment: Mapping[str, str]) -> Way:
    """The way that `PRELABEL_TEST_SERVERS` names: "local" or "containers".

    Unset: local where Java and Maven are, else containers where Docker is. Raises ServerError with one line
    that says what to install.
    """
    name = environment.get("PRELABEL_TEST_SERVERS", "")
    if name not in ("", "local", "containers"):
        raise ServerError(f"PRELABEL_TEST_SERVERS is {name!r}; it can be local or containers")
    if name == "local" or (name == "" and shutil.which("java") and shutil.which("mvn")):
        return LocalWay()
    return _containers(environment)


def _containers(environment: Mapping[str, str]) -> Way:
    # Imported late: the local way needs no Docker client.
    from tests.rig.containers import ContainersWay, docker_answers

    if not docker_answers():
        raise ServerError(f"tests need a real Kafka and a MongoDB-wire server, and no Docker engine answers: {_HOW}")
    return ContainersWay.prepare(environment)


def _started(server: Server) -> ServerHandle:
    server.start()
    try:
        server.wait_ready()
    except BaseException:
        server.kill()
        raise
    return server
