"""Requests that are under way or were answered lately: who asks again gets the same answer, not another prediction.

A bus that was away for a while delivers what it was handed during that time more than once; without this, each copy
would cost a call of the model. Only predictions are kept: what failed may go better the next time.
"""

import asyncio
from collections.abc import Iterable

from prelabel_contract.events import Outcome, PredictionCreated
from prelabel_runtime.errors import Unavailable

KEPT = 2048
"""Answers that are kept."""


class Joined:
    """Answers by request id."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._answers: dict[str, asyncio.Future[Outcome]] = {}

    def ask(self, request: str) -> tuple["asyncio.Future[Outcome]", bool]:
        """Where the answer will be, and whether the caller is the first to ask: then it must `end` or `drop` it.

        The answer raises `Unavailable` if it was dropped.
        """
        if (known := self._answers.get(request)) is not None:
            return known, False
        answer = self._answers[request] = asyncio.get_running_loop().create_future()
        return answer, True

    def end(self, answers: Iterable[tuple[str, Outcome]]) -> None:
        """Answers to requests that the caller was the first to ask for."""
        for request, outcome in answers:
            self._answers[request].set_result(outcome)

    def drop(self, requests: Iterable[str]) -> None:
        """There will be no answer from the caller: who waits asks again."""
        for request in requests:
            answer = self._answers.pop(request)
            if not answer.done():
                answer.set_exception(Unavailable("the same request, which is under way"))
                answer.exception()  # perhaps nobody waits for it

    def forget(self) -> None:
        """Keep the latest predictions only."""
        done = [request for request, answer in self._answers.items() if answer.done()]
        failed = [request for request in done if not isinstance(self._answers[request].result(), PredictionCreated)]
        for request in {*failed, *done[: max(0, len(done) - self._kept)]}:
            del self._answers[request]
