"""What a model says about the hold-out is what inference would tell of it, its doubt included."""

import sys
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from prelabel_contract.projects import Project
from prelabel_provider.models.workspace import AnswerLine, ExampleLine
from prelabel_provider.training.evaluation import Evaluation, TooSlow
from prelabel_provider.worker.worker import WorkerLimits


async def answers(settings: Mapping[str, Any], *texts: str, seconds: float = 60.0) -> list[AnswerLine]:
    """What the ledger model says, which gives the text a choice with a score of a half; `seconds`: its limit."""
    project = Project.model_validate(
        {
            "id": "demo",
            "label_set": {"questions": [{"name": "seen", "kind": "choice", "field": "text", "labels": ["seen"]}]},
            "models": [{"name": "m", "provider": "ledger", "settings": settings}],
        }
    )
    limits = WorkerLimits(start_seconds=60.0, batch_seconds=60.0)
    evaluation = Evaluation("ledger", sys.executable, limits, 0, project, project.models[0], seconds)

    async def tasks() -> AsyncIterator[ExampleLine]:
        for text in texts:
            yield ExampleLine(task=text, data={"text": text})

    return [line async for line in evaluation.answers(settings, tasks())]


@pytest.mark.parametrize(("given", "doubt"), [(0.125, 0.125), (0.0, 0.0), (None, 0.5), (7.0, 0.5)])
async def test_a_providers_own_figure_counts_and_else_its_scores(given: float | None, doubt: float) -> None:
    (line,) = await answers({"uncertainty": given}, "hello")
    assert line.regions is not None
    assert [region.score for region in line.regions] == [0.5]
    assert line.uncertainty == doubt


async def test_a_figure_counts_where_nothing_is_said_and_what_failed_has_none() -> None:
    silent, failed = await answers({"uncertainty": 0.25, "choice": None, "fail_on": "bad"}, "good", "bad")
    assert silent == AnswerLine(task="good", regions=(), uncertainty=0.25)
    assert failed == AnswerLine(task="bad", regions=None)


async def test_a_model_that_loads_slowly_is_not_slow() -> None:
    (line,) = await answers({"load_seconds": 6.0}, "hello", seconds=5.0)
    assert line.regions


async def test_a_model_that_answers_for_longer_than_it_may_is_too_slow() -> None:
    with pytest.raises(TooSlow, match=r"^did not answer the hold-out within 0\.5 s$"):
        await answers({"seconds_per_task": 100.0}, "hello", seconds=0.5)
