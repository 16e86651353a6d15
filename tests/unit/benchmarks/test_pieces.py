"""What the cases are made of measures what it says."""

import itertools
import os

import pytest
from prelabel_contract.events import TaskSubmitted
from prelabel_contract.projects import Project
from prelabel_inference_spacy.provider import SpacyProvider
from prelabel_ingestion.asking import Asks, Content, request
from prelabel_runtime.metrics import Metrics
from prelabel_runtime.store.base import Submission
from prometheus_client import generate_latest

from tests.benchmarks.case import Lost
from tests.benchmarks.cases import echo, ingest, interactive, remote
from tests.benchmarks.cases.encoder import of_many_lengths
from tests.benchmarks.inference_hop import request_of
from tests.benchmarks.pipeline import lines
from tests.benchmarks.processes import OthersUse, rss_of
from tests.benchmarks.report import number
from tests.benchmarks.slow_service import Quota
from tests.benchmarks.told import Worked

TWO_PIECES = 801


def test_the_hop_is_asked_what_the_dispatcher_would_ask() -> None:
    body = {"id": "bench", "label_set": {"questions": [echo.ASKED.question]}, "models": [echo.ASKED.model]}
    project = Project.model_validate(body)
    made = request_of(project, 3, "a text", now_ms=7)
    submitted = TaskSubmitted(project="bench", task=made.data.task, id="3", data={"text": "a text"})
    known = Submission(submitted.task, revision=3, content="", config=project.config_hash)
    (ask,) = Asks().of(project.config_hash, project)
    assert made.data == request(submitted, Content.of(submitted), ask, known, 7)
    assert made.id == made.data.request


@pytest.mark.parametrize("count", [1, 400, TWO_PIECES])
def test_an_upload_has_as_many_lines_as_it_says(count: int) -> None:
    assert b"".join(ingest.content(count)).count(b"\n") == count
    assert b"".join(lines(["x" * 1000] * count)).count(b"\n") == count


@pytest.mark.parametrize(("share", "value"), [(0.5, 51.0), (0.99, 100.0), (0.0, 1.0)])
def test_a_quantile_is_one_of_the_values(share: float, value: float) -> None:
    assert interactive.quantile([float(one) for one in range(100, 0, -1)], share) == value


def test_how_much_later_a_request_comes_is_told_in_calls_of_the_model() -> None:
    idle, beside = [0.010] * 99 + [0.030], [0.020] * 99 + [0.130]
    assert interactive.later(idle, beside, call=0.05) == pytest.approx(2.0)
    assert interactive.later(beside, idle, call=0.05) == 0.0


def test_a_call_is_what_the_provider_says() -> None:
    assert SpacyProvider.batch.records == interactive.CALL


def test_what_a_prediction_took_the_model_is_read_from_what_processes_tell() -> None:
    metrics = Metrics()
    metrics.predicted.labels("spacy", "created").inc(10)
    metrics.predicted.labels("spacy", "failed").inc(5)
    metrics.worker_seconds.labels("spacy", "busy").inc(2.0)
    metrics.worker_seconds.labels("spacy", "idle").inc(70.0)
    page = generate_latest(metrics.registry).decode()
    assert Worked.read([page, "", page]).each_since(Worked(10, 1.0)) == pytest.approx(0.3)
    with pytest.raises(Lost):
        Worked().each_since(Worked())


def test_a_quota_grants_a_second_at_once_and_then_as_time_goes_by() -> None:
    clock = itertools.chain([0.0], [0.0] * 51, [0.1] * 6)
    quota = Quota(50.0, lambda: next(clock))
    assert [quota.take() for _ in range(51)] == [True] * 50 + [False]
    assert [quota.take() for _ in range(6)] == [True] * 5 + [False]


def test_the_service_s_own_quota_is_what_the_goal_is_a_share_of() -> None:
    (calls,) = (figure for figure in remote.CASE.figures if figure.name == "remote.calls")
    assert calls.at_least == 47.5


def test_texts_of_the_encoder_are_the_same_every_time_and_of_different_lengths() -> None:
    texts = of_many_lengths([f"passage{n}" for n in range(9)], 50)
    assert texts == of_many_lengths([f"passage{n}" for n in range(9)], 50)
    assert {len(text.split()) for text in texts} == {1, 2, 3, 4}


def test_what_this_process_uses_is_nobody_else_s() -> None:
    others = OthersUse()
    sum(range(3_000_000))
    assert 0 <= others.cores() <= (os.cpu_count() or 1)


def test_a_process_that_has_gone_holds_nothing() -> None:
    assert list(rss_of({"here": os.getpid(), "gone": 2**22 + 1})) == ["here"]


@pytest.mark.parametrize(("value", "shown"), [(0.0123, "0.012"), (5.345, "5.34"), (1234.5, "1,234"), (-0.5, "-0.500")])
def test_numbers_are_as_long_as_they_mean_something(value: float, shown: str) -> None:
    assert number(value) == shown
