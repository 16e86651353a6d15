"""What a training may use: what its project says, within what the operator allows."""

from pathlib import Path
from random import Random

import pytest
from prelabel_contract import names
from prelabel_contract.events import ConfigPublished
from prelabel_provider.models.settings import ModelsSettings
from prelabel_provider.training.settings import TrainerRoleSettings
from prelabel_provider.training.steps import Steps
from prelabel_provider.training.trainings import TrainingRecord
from prelabel_provider.worker.worker import WorkerLimits
from prelabel_runtime.bus.sqlite import SqliteBus
from prelabel_runtime.clock import SystemClock
from prelabel_runtime.metrics import Metrics
from prelabel_runtime.tables import Table


@pytest.mark.parametrize(
    ("project", "operator", "given"),
    [(None, None, None), (500, None, 500), (None, 800, 800), (500, 800, 500), (2000, 800, 800)],
    ids=["nobody-says", "project", "operator", "project-wants-less", "project-wants-more"],
)
def test_a_project_gets_no_more_memory_than_the_operator_allows(
    tmp_path: Path, project: int | None, operator: int | None, given: int | None
) -> None:
    clock, rng = SystemClock(), Random(1)
    kept = ModelsSettings(models=str(tmp_path / "models"), models_cache=tmp_path / "cache")
    steps = Steps(
        provider="ledger",
        python="python",
        settings=TrainerRoleSettings(memory_mib=operator),
        limits=WorkerLimits(),
        models=kept.store(),
        workspaces=kept.workspaces(),
        configs=Table(SqliteBus(tmp_path / "log.db", clock=clock), names.CONFIGS, ConfigPublished, rng=rng),
        clock=clock,
        metrics=Metrics(),
    )
    record = TrainingRecord(
        training="p/m/1",
        project="p",
        model="m",
        provider="ledger",
        number=1,
        config="c",
        memory_mib=project,
        requested_ms=0,
    )
    assert steps.launch(record).memory_mib == given
