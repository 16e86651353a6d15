"""The loop over services: whether it comes to the versions of the one in memory, and how soon it is back at another."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.benchmarks.case import Case, Figure, Lost, Turn, Values
from tests.benchmarks.learning.amounts import Amounts
from tests.benchmarks.stage import Stage
from tests.learning_reference.streamed import Annotators, Plan, differences, in_memory
from tests.rig.processes import Prelabel


def case(amounts: Amounts) -> Case:
    """On each side that is wanted."""

    @contextmanager
    def start(stage: Stage) -> Iterator[list[Turn]]:
        with ExitStack() as stack:
            yield [_turn(stage, stack, side, amounts) for side in amounts.sides if stage.wants(f"streamed.{side}")]

    return Case("streamed", figures(amounts), start, rounds=1)


def _turn(stage: Stage, stack: ExitStack, side: str, amounts: Amounts) -> Turn:
    def measure(seed: int) -> Values:
        folder = stage.folder / "streamed" / side
        prelabel = stack.enter_context(_running(stage, stack, side, folder))
        annotators = Annotators(prelabel, Plan(f"streamed-{seed}", seed, batches=amounts.batches))
        versions = annotators.work()
        reference = in_memory(prelabel, annotators.plan.project, folder / "reference")
        found = differences(versions, reference)
        stage.note(f"streamed.{side}", {"versions": len(reference), "differences": found})
        return {
            f"streamed.{side}.versions": len(reference),
            f"streamed.{side}.differences": len(found),
            **{f"streamed.{side}.{name}": value for name, value in _rolled_back(annotators).items()},
        }

    return Turn(f"streamed.{side}", measure)


def _running(stage: Stage, stack: ExitStack, side: str, folder: Path) -> Prelabel:
    stage.say(f"streamed: starting on {side}")
    if side == "sqlite":
        return Prelabel.all_in_one(folder, providers=("spacy",))
    mongo = stack.enter_context(stage.mongo(folder))
    return Prelabel.separate(
        folder, kafka=stage.kafka().address, mongo=mongo.address, providers=("spacy",), trainers=("spacy",)
    )


def _rolled_back(annotators: Annotators) -> Values:
    """Seconds to what served before, and from there to the model of the settings, if that is another."""
    serving = annotators.serving()
    if serving == "settings":
        raise Lost("no version was promoted: there is nothing to go back from")
    _asked(annotators, lambda version: version == serving)  # a process that predicts hears of it a moment later
    began = time.monotonic()
    before = annotators.roll_back()
    _asked(annotators, lambda version: version != serving)
    took = {"rollback_s": time.monotonic() - began}
    if before != "settings":
        began = time.monotonic()
        annotators.roll_back(version="settings")
        _asked(annotators, lambda version: version != before)
        took["rollback_older_s"] = time.monotonic() - began
    return took


def _asked(annotators: Annotators, ready: Callable[[str], bool]) -> None:
    """Until a version answers that is as wanted; each time with a new text, which no prediction is known for.

    Raises Lost.
    """
    deadline = time.monotonic() + annotators.plan.patience
    while not ready(version := annotators.answered_by(f"{time.monotonic()}")):
        if time.monotonic() > deadline:
            raise Lost(f"{version} still answers")


def figures(amounts: Amounts) -> tuple[Figure, ...]:
    """Of each side."""
    return tuple(
        figure
        for side in amounts.sides
        for figure in (
            Figure(f"streamed.{side}.versions", "versions", f"on {side}: trained and judged while people annotate"),
            Figure(
                f"streamed.{side}.differences",
                "differences",
                f"on {side}: examples, fingerprints, seeds, artifacts, verdicts that differ from the loop in memory",
                at_most=0,
            ),
            Figure(
                f"streamed.{side}.rollback_s",
                "s",
                f"on {side}: from the wish to go back until a request is answered by what served before",
                at_most=5,
            ),
            Figure(
                f"streamed.{side}.rollback_older_s",
                "s",
                f"on {side}: the same to one that served earlier, and is no longer loaded; if there is one",
                at_most=5,
            ),
        )
    )
