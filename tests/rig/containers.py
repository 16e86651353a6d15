"""Servers of tests as containers (testcontainers), each on a loopback port that stays its own."""

import contextlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from string import Template
from typing import Any, Self

import docker
from docker.errors import DockerException
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer

from deploy.local.errors import ServerError
from deploy.local.ports import LOOPBACK, free_port
from deploy.local.probes import kafka_answers, mongo_answers
from deploy.local.readiness import wait_until_ready
from tests.rig.images import Images, images
from tests.rig.servers import ServerHandle

_RUN_LABEL = "prelabel.test-run"
_SETTINGS = Path(__file__).resolve().parents[2] / "deploy" / "local" / "kafka" / "server.properties"
_KAFKA_PORT = 9092
_MONGO_PORT = 27017
_FIRST_START_S = 120.0

Probe = Callable[[str, int], bool]


def docker_answers() -> bool:
    """True when a Docker engine answers."""
    try:
        client = docker.from_env(timeout=60)
    except (DockerException, OSError):
        return False
    try:
        return bool(client.ping())
    except (DockerException, OSError):
        return False
    finally:
        client.close()


class ContainersWay:
    """Servers as containers; their data lies in the container's own filesystem and outlives a kill of it."""

    def __init__(self, found: Images) -> None:
        self._images = found

    @classmethod
    def prepare(cls, environment: Mapping[str, str]) -> Self:
        """Pulls or builds the images and clears away what dead runs left. Raises ServerError."""
        found = images(environment)
        if not found.pulled:
            # No ryuk either, which would remove the containers of a run that dies: we do it at the next run.
            testcontainers_config.ryuk_disabled = True
        _remove_leftovers()
        return cls(found)

    def kafka(self, folder: Path) -> ServerHandle:
        port = free_port()
        container = _container(self._images.kafka, _KAFKA_PORT, port).with_envs(**kafka_environment(port))
        return _started(ContainerServer(container, f"{LOOPBACK}:{port}", port, kafka_answers))

    def mongo(self, folder: Path, *, durable: bool) -> ServerHandle:
        port = free_port()
        container = _container(self._images.mongo, _MONGO_PORT, port)
        if durable and not self._images.pulled:
            container = container.with_command(["/data/mongo.mv"])
        return _started(ContainerServer(container, f"mongodb://{LOOPBACK}:{port}", port, mongo_answers))


class ContainerServer:
    """See ServerHandle."""

    def __init__(self, container: Any, address: str, port: int, probe: Probe) -> None:
        self._container = container
        self._address = address
        self._port = port
        self._probe = probe
        self._engine_container: Any = None

    @property
    def address(self) -> str:
        return self._address

    @property
    def running(self) -> bool:
        if self._engine_container is None:
            return False
        self._engine_container.reload()
        return bool(self._engine_container.status in ("running", "paused"))

    def answers(self) -> bool:
        return self._probe(LOOPBACK, self._port)

    def last_words(self) -> str:
        said: bytes = self._engine_container.logs(tail=3) if self._engine_container is not None else b""
        return f"its log ends with: {' | '.join(said.decode(errors='replace').splitlines()) or 'nothing'}"

    def start(self) -> None:
        try:
            if self._engine_container is None:
                self._engine_container = self._container.start().get_wrapped_container()
            else:
                self._engine_container.start()
        except (DockerException, OSError) as error:
            raise ServerError(f"{self._address} cannot start: {error}") from error

    def wait_ready(self, timeout: float = 120.0) -> None:
        wait_until_ready(self, timeout)

    def stop(self, timeout: float = 60.0) -> None:
        if self.running:
            self._engine_container.stop(timeout=int(timeout))

    def kill(self) -> None:
        if self.running:
            self.thaw()
            self._engine_container.kill(signal="SIGKILL")
            self._engine_container.wait(timeout=60)

    def restart(self, timeout: float = 120.0) -> None:
        self.stop()
        self.start()
        self.wait_ready(timeout)

    def freeze(self) -> None:
        self._engine_container.pause()

    def thaw(self) -> None:
        self._engine_container.reload()
        if self._engine_container.status == "paused":
            self._engine_container.unpause()

    def remove(self) -> None:
        if self._engine_container is not None:
            self.kill()
            self._container.stop()
            self._engine_container = None


def kafka_environment(port: int) -> dict[str, str]:
    """The settings of the local broker as apache/kafka takes them, for a container published on `port`."""
    lines = Template(_SETTINGS.read_text()).substitute(port=port, controller_port=9093, data="unused").splitlines()
    settings = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    # Clients come in by the published port; the broker's own talk stays inside the container.
    settings |= {
        "listeners": f"PLAINTEXT://0.0.0.0:{_KAFKA_PORT},INSIDE://127.0.0.1:9094,CONTROLLER://127.0.0.1:9093",
        "advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{port},INSIDE://127.0.0.1:9094",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,INSIDE:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "INSIDE",
        "log.dirs": "/tmp/kafka-data",
    }
    return {f"KAFKA_{name.upper().replace('.', '_')}": value for name, value in settings.items()}


def _container(image: str, inside: int, outside: int) -> Any:
    container = DockerContainer(image).with_kwargs(labels={_RUN_LABEL: str(os.getpid())})
    container.ports[str(inside)] = (LOOPBACK, outside)  # with_bind_ports would listen on every interface
    return container


def _started(server: ContainerServer) -> ServerHandle:
    try:
        server.start()
        server.wait_ready(_FIRST_START_S)
    except BaseException:
        server.remove()
        raise
    return server


def _remove_leftovers() -> None:
    client = docker.from_env()
    try:
        for container in client.containers.list(all=True, filters={"label": _RUN_LABEL}):
            if not _lives(int(container.labels[_RUN_LABEL])):
                with contextlib.suppress(DockerException):
                    container.remove(force=True, v=True)
    finally:
        client.close()


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
