"""The table of who reads and writes which topics says what the services do: their rights are made from it.

What a service writes cannot be seen from here; tests/integration/test_kafka_secured.py runs each with its rights alone.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import prelabel_ingestion.service
import prelabel_ingestion.settings
import prelabel_projection.service
import prelabel_projection.settings
import prelabel_provider.service
import prelabel_provider.settings
import prelabel_provider.training.service
import prelabel_training.service
import prelabel_training.settings
import prelabel_webhooks.service
import pytest
from prelabel_contract import names
from prelabel_contract.topics import Deployment, resolve
from prelabel_ingestion.settings import IngestionSettings, Source
from prelabel_projection.settings import ProjectionSettings
from prelabel_provider.models.settings import ModelsSettings
from prelabel_provider.settings import InferenceSettings
from prelabel_provider.training.settings import TrainerRoleSettings
from prelabel_runtime.bus.base import Reader
from prelabel_runtime.bus.sqlite import SqliteBus
from prelabel_runtime.clock import SystemClock
from prelabel_runtime.metrics import Metrics
from prelabel_runtime.run import Runtime, open_store
from prelabel_runtime.service import Service
from prelabel_runtime.settings import RuntimeSettings
from prelabel_training.settings import TrainingSettings
from prelabel_webhooks.settings import WebhooksSettings
from pydantic import SecretStr

ROWS = {row.service: row for row in resolve(Deployment(providers=("echo",), sources=("crm",)))}
WITHOUT_A_BUS = {"gateway", "all_in_one"}
KEY = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

BUILD: Mapping[str, Callable[[Runtime], Service]] = {
    "ingestion": lambda runtime: prelabel_ingestion.service.build(
        runtime, IngestionSettings(inbound={"crm": Source(projects=("mails",))})
    ),
    "projection": lambda runtime: prelabel_projection.service.build(runtime, ProjectionSettings()),
    "training": lambda runtime: prelabel_training.service.build(runtime, TrainingSettings(), ModelsSettings()),
    "webhooks": lambda runtime: prelabel_webhooks.service.build(runtime, WebhooksSettings(keys=(SecretStr(KEY),))),
    "inference-echo": lambda runtime: prelabel_provider.service.build(
        runtime, "echo", InferenceSettings(), ModelsSettings()
    ),
    "trainer-echo": lambda runtime: prelabel_provider.training.service.build(
        runtime, "echo", TrainerRoleSettings(), InferenceSettings(), ModelsSettings()
    ),
}


class Noting(SqliteBus):
    """A bus, never started, that notes which topics somebody means to follow."""

    followed: set[str]

    def reader(self, topics: Sequence[str], *, start: Literal["beginning", "end"]) -> Reader:
        self.followed = {*getattr(self, "followed", ()), *topics}
        return super().reader(topics, start=start)


@pytest.fixture(params=BUILD)
def built(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Service, set[str]]:
    """The row's name, the service, and what it follows."""
    settings = RuntimeSettings(store=f"sqlite:///{tmp_path / 'results.db'}")
    bus = Noting(tmp_path / "log.db", clock=SystemClock())
    runtime = Runtime(settings=settings, bus=bus, store=open_store(settings, SystemClock()), metrics=Metrics())
    name = str(request.param)
    service = BUILD[name](runtime)
    return name, service, getattr(bus, "followed", set())


def test_every_service_has_a_row() -> None:
    services = Path(__file__).parents[2] / "services"
    there = {path.name for path in services.iterdir() if (path / "pyproject.toml").exists()} - WITHOUT_A_BUS
    assert there | {"inference-echo", "trainer-echo"} == set(BUILD)
    assert set(BUILD) | {"upstream-crm"} == set(ROWS)


def test_a_service_s_groups_read_what_its_row_says(built: tuple[str, Service, set[str]]) -> None:
    name, service, _ = built
    assert service.name == name
    declared = {one.group: {*one.topics, names.retry(one.group)} for one in service.subscriptions}
    rows = {group: set(topics) for group, topics in ROWS[name].groups.items()}
    assert declared == {group: topics for group, topics in rows.items() if group in declared}
    # Who reads every group's dead letters learns from the bus which there are: no subscription says so.
    assert all(names.holds_set_aside(topic) for group in rows if group not in declared for topic in rows[group])


def test_a_service_follows_nothing_that_its_row_does_not_say(built: tuple[str, Service, set[str]]) -> None:
    name, service, followed = built
    if not service.routers:
        followed.discard(names.ACCESS)  # nobody calls it, so it looks at no keys
    assert followed <= set(ROWS[name].follows)
