"""What is under way already is not asked again: requests that come twice, and equal questions to one model.

`Joined` knows requests by their id, also those that were answered lately. A bus that was away for a while delivers what
it was handed during that time more than once; without this, each copy would cost a call of the model. Only predictions
are kept: what failed may go better the next time, and what expired says nothing to who waits for longer.

`Alike` knows what a model is asked just now, whoever asks: two tasks of the same content, perhaps of two projects with
label sets of their own, cost one call. It joins what the model said, before that is aligned with anything.

Neither lets an interactive request wait for a place further behind than its own would be.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from typing import Generic, TypeVar

from prelabel_contract.events import Outcome, PredictionCreated, PredictionFailed
from prelabel_contract.regions import Choice, Mask, Message, Polygon, Ranking, Region, Span, Text, Track
from prelabel_runtime.errors import Unavailable

Q = TypeVar("Q", bound=Hashable)
A = TypeVar("A")

KEPT = 2048
"""Answers that are kept."""
HELD = 50_000
"""Regions in them: some tens of megabytes at most."""
_LARGE = 500
"""Regions that one stands for whose kind may hold very much."""
_MAY_BE_LARGE = (Mask, Message, Polygon, Ranking, Text, Track)


class Joined:
    """Answers by request id."""

    def __init__(self, kept: int = KEPT, held: int = HELD) -> None:
        self._kept = kept
        self._most = held
        self._answers: dict[str, asyncio.Future[Outcome]] = {}
        self._asking: dict[str, int] = {}
        """How many have to ask for it, of each request that is not answered."""
        self._predicted: deque[tuple[str, int]] = deque()
        """Requests that were answered, the latest last, and the regions of their answers."""
        self._held = 0
        self._failed: list[str] = []

    def ask(self, request: str, *, urgent: bool = False) -> tuple["asyncio.Future[Outcome]", bool]:
        """Where the answer will be, and whether the caller has to ask for it: then it must `end` or `drop` it.

        An urgent one does not wait for who may be waiting for a turn: it asks again, and answers both.
        The answer raises `Unavailable` if all who had to ask for it dropped it.
        """
        if (known := self._answers.get(request)) is not None:
            again = urgent and not known.done()
            if again:
                self._asking[request] += 1
            return known, again
        answer = self._answers[request] = asyncio.get_running_loop().create_future()
        self._asking[request] = 1
        return answer, True

    def end(self, answers: Iterable[tuple[str, Outcome]]) -> None:
        """Answers to requests that the caller had to ask for. An answer that was given meanwhile stays.

        One that expired is told to who waits for it, and to nobody who comes later: it was asked for by one in a hurry.
        """
        for request, outcome in answers:
            if (answer := self._answers.get(request)) is not None and not answer.done():
                answer.set_result(outcome)
                del self._asking[request]
                if isinstance(outcome, PredictionCreated):
                    regions = sum(map(_regions, outcome.regions))
                    self._predicted.append((request, regions))
                    self._held += regions
                elif has_expired(outcome):
                    del self._answers[request]
                else:
                    self._failed.append(request)

    def drop(self, answers: Iterable[tuple[str, "asyncio.Future[Outcome]"]]) -> None:
        """There will be no answer from the caller: who waits asks again, unless another is at it."""
        for request, answer in answers:
            if answer.done():
                continue
            self._asking[request] -= 1
            if not self._asking[request]:
                del self._answers[request], self._asking[request]
                answer.set_exception(Unavailable("the same request, which is under way"))
                answer.exception()  # perhaps nobody waits for it

    def forget(self) -> None:
        """Keep the latest predictions only, as many as there is room for."""
        for request in self._failed:
            del self._answers[request]
        self._failed.clear()
        while len(self._predicted) > self._kept or self._held > self._most:
            request, regions = self._predicted.popleft()
            self._held -= regions
            del self._answers[request]


def has_expired(outcome: Outcome) -> bool:
    """It came to nothing since its asker did not wait for long enough."""
    return isinstance(outcome, PredictionFailed) and outcome.outcome == "expired"


def _regions(one: Region) -> int:
    """What it takes in memory, in usual ones."""
    if type(one) is Choice:
        return 1
    if type(one) is Span:
        return 1 + len(one.text or "") // 1024
    return _LARGE if isinstance(one, _MAY_BE_LARGE) else 1


class Alike(Generic[Q, A]):
    """Equal questions that are being asked at once. It remembers no more than is under way."""

    def __init__(self) -> None:
        self._asked: dict[Q, tuple[asyncio.Future[Sequence[A]], int]] = {}
        """Where the answers to the batch will be that asks a question, and its place there."""

    async def each(self, questions: Sequence[Q], ask: Callable[[Sequence[int]], Awaitable[Sequence[A]]]) -> Sequence[A]:
        """An answer per question. `ask` gets the places of those that nobody asks yet, and answers them in order.

        Call it only when those would be asked at once: who asks an equal question waits for them. Raises what `ask`
        raises, and `Unavailable` where another one's did.
        """
        mine: dict[Q, int] = {}
        places: list[int] = []
        theirs: dict[Q, tuple[asyncio.Future[Sequence[A]], int]] = {}
        for place, question in enumerate(questions):
            if question in mine or question in theirs:
                continue
            if (asked := self._asked.get(question)) is not None:
                theirs[question] = asked
            else:
                mine[question] = len(places)
                places.append(place)
        said = await self._ask(mine, places, ask) if places else ()
        if len(places) == len(questions):
            return said
        joined = {question: (await asyncio.shield(answers))[place] for question, (answers, place) in theirs.items()}
        return [said[mine[q]] if q in mine else joined[q] for q in questions]

    async def _ask(
        self, mine: dict[Q, int], places: Sequence[int], ask: Callable[[Sequence[int]], Awaitable[Sequence[A]]]
    ) -> Sequence[A]:
        answers: asyncio.Future[Sequence[A]] = asyncio.get_running_loop().create_future()
        self._asked.update((question, (answers, place)) for question, place in mine.items())
        try:
            said = await ask(places)
        except BaseException:
            answers.set_exception(Unavailable("the same question, which is under way"))
            answers.exception()  # perhaps nobody waits for it
            raise
        finally:
            for question in mine:
                del self._asked[question]
        answers.set_result(said)
        return said
