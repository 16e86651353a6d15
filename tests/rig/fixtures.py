"""Fixtures for real servers. A server that cannot be had fails the test with one line; nothing is skipped."""

import os
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import TypeVar

import pytest

from deploy.local.errors import ServerError
from tests.rig.servers import ServerHandle, Way, choose_way

Made = TypeVar("Made")
StartServer = Callable[[], ServerHandle]


@pytest.fixture(scope="session")
def server_way() -> Way:
    """Local processes or containers, for the whole run."""
    return _or_fail(lambda: choose_way(os.environ))


@pytest.fixture(scope="session")
def kafka_server(server_way: Way, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerHandle]:
    """One Kafka for all tests of the run: use topics and groups of your own, and leave it up."""
    server = _or_fail(lambda: server_way.kafka(tmp_path_factory.mktemp("kafka-server")))
    yield server
    server.remove()


@pytest.fixture(scope="session")
def mongo_server(server_way: Way, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerHandle]:
    """One MongoDB-wire server for all tests of the run: use a database of your own, and leave it up."""
    folder = tmp_path_factory.mktemp("mongo-server")
    server = _or_fail(lambda: server_way.mongo(folder, durable=False))
    yield server
    server.remove()


@pytest.fixture
def own_kafka(server_way: Way, tmp_path: Path) -> Iterator[StartServer]:
    """Each call starts a Kafka that the test may stop, kill and restart as it likes."""
    yield from _factory(tmp_path / "own-kafka", server_way.kafka)


@pytest.fixture
def own_mongo(server_way: Way, tmp_path: Path) -> Iterator[StartServer]:
    """Each call starts a Mongo that keeps its data; the test may stop, kill and restart it as it likes."""
    yield from _factory(tmp_path / "own-mongo", lambda folder: server_way.mongo(folder, durable=True))


def _factory(folder: Path, start: Callable[[Path], ServerHandle]) -> Iterator[StartServer]:
    started: list[ServerHandle] = []
    numbers = count(1)

    def start_one() -> ServerHandle:
        server = _or_fail(lambda: start(folder / str(next(numbers))))
        started.append(server)
        return server

    yield start_one
    for server in started:
        server.remove()


def _or_fail(make: Callable[[], Made]) -> Made:
    try:
        return make()
    except ServerError as error:
        reason = str(error)
    # Outside the handler, or pytest would print the reason twice.
    pytest.fail(reason, pytrace=False)
