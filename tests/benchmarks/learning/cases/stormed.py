"""A thousand annotations in ten seconds, on the services: all in one on SQLite, by a project's usual rules.

What `storm` computes of the trigger's decisions, with everything around it: the API, the bus, a trainer, the gate.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tests.benchmarks.case import Case, Figure, Lost, Turn, Values
from tests.benchmarks.learning.amounts import Amounts
from tests.benchmarks.learning.people import People
from tests.benchmarks.stage import Stage
from tests.learning_reference.streamed import MODEL, Plan
from tests.rig.processes import Prelabel

STORM_S = 10.0
QUIET_S = 30.0
_AT_ONCE = 10
"""Annotations in one request."""
_OVER = ("trained", "failed", "refused", "cancelled")


def case(amounts: Amounts) -> Case:
    """For so many annotations."""

    @contextmanager
    def start(stage: Stage) -> Iterator[list[Turn]]:
        yield [Turn("stormed", lambda seed: _measure(stage, amounts, seed))]

    return Case("stormed", FIGURES, start, rounds=amounts.timed)


def _measure(stage: Stage, amounts: Amounts, seed: int) -> Values:
    plan = Plan(f"stormed-{seed}", seed, batches=1, batch=amounts.storms)
    training = {"every_n": 20, "quiet_seconds": QUIET_S, "settings": {"epochs": 2}}
    with Prelabel.all_in_one(stage.folder / plan.project, providers=("spacy",)) as prelabel:
        people = People(prelabel, plan, training)
        people.set_up()
        said = _storm(people)
        last = time.time()
        newest = _with_all(people)
        people.until(f"/models/{MODEL}/versions", lambda _: newest["version"] in people.judged())
        evaluated = time.time() - last
        made = people.trainings()
    stage.note("stormed", [{name: one[name] for name in ("number", "state", "examples", "holdout")} for one in made])
    longest = max(one["ended_ms"] - one["requested_ms"] for one in made) / 1000
    return {
        "stormed.said_s": said,
        "stormed.trainings": len(made),
        "stormed.lost": amounts.storms - newest["examples"] - newest["holdout"],
        "stormed.evaluated_s": evaluated,
        "stormed.allowed_s": QUIET_S + longest,
    }


def _storm(people: People) -> float:
    """All of them, evenly; the seconds that it took."""
    count = len(people.texts)
    began = time.monotonic()
    for first in range(0, count, _AT_ONCE):
        people.annotate(range(first, min(first + _AT_ONCE, count)))
        rest = began + STORM_S * (first + _AT_ONCE) / count - time.monotonic()
        time.sleep(max(0.0, rest))
    return time.monotonic() - began


def _with_all(people: People) -> Mapping[str, Any]:
    """The training after which there is nothing more to learn. Raises Lost."""
    people.all_heard()

    def settled(seen: Any) -> bool:
        made = seen["trainings"]
        return bool(made) and made[0]["state"] in _OVER and _all_in(people, made[0])

    newest: Mapping[str, Any] = people.until(f"/trainings?model={MODEL}", settled)["trainings"][0]
    if newest["state"] != "trained":
        raise Lost(f"the last training ended as {newest['state']}: {newest['detail']}")
    return newest


def _all_in(people: People, training: Mapping[str, Any]) -> bool:
    return int(training["examples"]) + int(training["holdout"]) == len(people.texts)


FIGURES = (
    Figure("stormed.said_s", "s", "on SQLite, all in one: how long it took to hand in 1,000 annotations, 10 at once"),
    Figure("stormed.trainings", "trainings", "of them, by the usual rules, of a small spaCy pipeline", at_most=3),
    Figure("stormed.lost", "annotations", "neither learned from nor held out by the last training", at_most=0),
    Figure(
        "stormed.evaluated_s",
        "s",
        "from the last annotation's acknowledgement until a version that knows it is judged",
        ratio_to="stormed.allowed_s",
        at_most=1,
    ),
    Figure("stormed.allowed_s", "s", "the quiet period, 30 s, and the longest of these trainings"),
)
