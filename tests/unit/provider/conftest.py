"""Workers of the ledger provider, which are ended whatever a test does to them."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import pytest_asyncio
from prelabel_provider.base import Failed, Input
from prelabel_provider.predictor import Told
from prelabel_provider.worker.worker import Backoff, ModelWorker, WorkerLimits

MakeWorker = Callable[..., ModelWorker]


@pytest_asyncio.fixture
async def make_worker() -> AsyncIterator[MakeWorker]:
    """A worker of the ledger provider with the given limits."""
    made: list[ModelWorker] = []

    def make(
        *,
        provider: str = "ledger",
        sleep: Callable[[float], Awaitable[None]] | None = None,
        python: str | None = None,
        environment: dict[str, str] | None = None,
        **limits: Any,
    ) -> ModelWorker:
        more: dict[str, Any] = {}
        if sleep is not None:
            more["sleep"] = sleep
        if python is not None:
            more["python"] = python
        worker = ModelWorker(
            provider,
            limits=WorkerLimits(**{"start_seconds": 60.0, "batch_seconds": 60.0} | limits),
            environment=environment,
            backoff=Backoff(),
            **more,
        )
        made.append(worker)
        return worker

    yield make
    for worker in made:
        await worker.stop(grace=0.5)


def texts(*said: str) -> list[Input]:
    """Inputs with these texts, named t0, t1, …"""
    return [Input(f"t{number}", {"text": text}, "text") for number, text in enumerate(said)]


def reasons(outcomes: Sequence[bytes | Told | Failed]) -> list[str | None]:
    """Why each failed; None where it did not."""
    return [one.reason if isinstance(one, Failed) else None for one in outcomes]
