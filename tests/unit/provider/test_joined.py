"""What is under way is not asked again, nobody waits in vain for another's answer, and nothing stays behind."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest
from prelabel_contract.events import Outcome, PredictionCreated, PredictionFailed
from prelabel_contract.examples import examples
from prelabel_contract.regions import Choice, Mask, Region, Span
from prelabel_provider.joined import Alike, Joined
from prelabel_runtime.errors import Unavailable


class Model:
    """Answers with the questions in capitals, when it is let."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.go = asyncio.Event()
        self.error: Exception | None = None

    def about(self, questions: Sequence[str]) -> Callable[[Sequence[int]], Awaitable[Sequence[str]]]:
        async def ask(places: Sequence[int]) -> Sequence[str]:
            self.asked.append([questions[place] for place in places])
            await self.go.wait()
            if self.error is not None:
                raise self.error
            return [questions[place].upper() for place in places]

        return ask

    def each(self, alike: Alike[str, str], questions: str) -> "asyncio.Task[Sequence[str]]":
        """A letter is a question."""
        return asyncio.create_task(alike.each(list(questions), self.about(list(questions))))


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_equal_questions_are_asked_once_within_a_batch_and_across_batches_under_way() -> None:
    alike, model = Alike[str, str](), Model()
    batches = [model.each(alike, questions) for questions in ("abab", "bcb", "ca", "")]
    await settled()
    model.go.set()
    assert [list(said) for said in await asyncio.gather(*batches)] == [list("ABAB"), list("BCB"), list("CA"), []]
    assert model.asked == [["a", "b"], ["c"]]


async def test_what_was_answered_is_asked_anew_for_a_model_may_have_changed_since() -> None:
    alike, model = Alike[str, str](), Model()
    model.go.set()
    for _ in range(2):
        assert await model.each(alike, "a") == ["A"]
    assert model.asked == [["a"], ["a"]]


async def test_batches_that_wait_for_each_other_both_end() -> None:
    alike, model = Alike[str, str](), Model()
    first, second = model.each(alike, "ab"), model.each(alike, "bc")
    third = model.each(alike, "cda")
    await settled()
    model.go.set()
    async with asyncio.timeout(60):
        assert [list(await one) for one in (first, second, third)] == [list("AB"), list("BC"), list("CDA")]


async def test_who_waits_for_an_answer_that_never_comes_is_told_to_ask_again() -> None:
    alike, model = Alike[str, str](), Model()
    first, second = model.each(alike, "ab"), model.each(alike, "b")
    await settled()
    model.error = ValueError("broken")
    model.go.set()
    with pytest.raises(ValueError, match="broken"):
        await first
    with pytest.raises(Unavailable):
        await second
    model.error = None
    assert await model.each(alike, "b") == ["B"]


async def test_who_gives_up_waiting_takes_the_answer_from_nobody() -> None:
    alike, model = Alike[str, str](), Model()
    first, quitter, last = model.each(alike, "a"), model.each(alike, "a"), model.each(alike, "a")
    await settled()
    quitter.cancel()
    await settled()
    model.go.set()
    assert [await first, await last] == [["A"], ["A"]]


def outcome(request: str) -> Outcome:
    return PredictionFailed.model_validate(
        {"project": "p", "task": "t", "request": request, "revision": 1, "model": "m", "provider": "x", "config": "c",
         "input_hash": "h", "reason": "r"}
    )  # fmt: skip


async def test_an_urgent_request_does_not_wait_for_the_same_one_that_waits_and_answers_both() -> None:
    joined = Joined()
    bulk, first = joined.ask("r")
    urgent, again = joined.ask("r", urgent=True)
    assert (first, again) == (True, True)
    joined.end([("r", outcome("r"))])
    assert bulk.done()
    assert urgent.result() is bulk.result()
    assert joined.ask("r", urgent=True)[1] is False
    joined.end([("r", outcome("r"))])  # the batch that waited ends too
    joined.forget()
    assert joined.ask("r")[1] is True


async def test_an_urgent_request_that_fails_drops_nothing_that_another_has_answered() -> None:
    joined = Joined()
    joined.ask("r")
    answer, _ = joined.ask("r", urgent=True)
    joined.end([("r", outcome("r"))])
    joined.drop([("r", answer)])
    assert joined.ask("r")[1] is False


async def test_of_two_who_ask_for_the_same_one_that_fails_leaves_the_answer_to_the_other() -> None:
    joined = Joined()
    answer, _ = joined.ask("r")
    joined.ask("r", urgent=True)
    joined.drop([("r", answer)])
    assert not answer.done()
    joined.end([("r", outcome("r"))])
    assert answer.result() == outcome("r")
    joined.forget()
    again, _ = joined.ask("r")
    joined.ask("r", urgent=True)
    joined.drop([("r", again)])
    joined.drop([("r", again)])
    with pytest.raises(Unavailable):
        again.result()
    assert joined.ask("r")[1] is True


async def test_what_expired_is_told_to_who_waits_and_asked_anew_by_who_comes_later() -> None:
    joined = Joined()
    waiting, _ = joined.ask("r")
    expired = outcome("r").model_copy(update={"outcome": "expired"})
    joined.end([("r", expired)])
    assert waiting.result() is expired
    later, first = joined.ask("r")
    assert (later.done(), first) == (False, True)
    joined.forget()
    joined.end([("r", outcome("r"))])
    assert later.done()


MASK = Mask(question="area", field="image", labels=("car",), rle=(1,) * 4096)
WORDS = Span(question="names", field="text", start=0, end=8192, labels=("PER",), text="x" * 8192)
WORD = Choice(question="topic", field="text", labels=("a",))


@pytest.mark.parametrize(
    ("region", "kept"), [(WORD, 10), (WORDS, 5), (MASK, 0)], ids=lambda one: getattr(one, "kind", "")
)
async def test_answers_are_kept_as_far_as_there_is_room_for_what_they_hold(region: Region, kept: int) -> None:
    joined = Joined(kept=10, held=45)
    made = next(one.data for one in examples() if isinstance(one.data, PredictionCreated))
    for number in range(20):
        joined.ask(f"r{number}")
        joined.end([(f"r{number}", made.model_copy(update={"regions": (region,)}))])
        joined.forget()
    assert [joined.ask(f"r{number}")[1] for number in range(20)] == [True] * (20 - kept) + [False] * kept
