"""Inference while a model of the same project is trained beside it, and while the version that serves is swapped.

Four people ask for one prediction after the other, as fast as they are answered, before a training, through it, until
what was trained has been promoted and has answered, and a little longer. All in one on SQLite, once for each way of
swapping: beside (a second process gets the version ready) and in place (it is loaded where the others are).
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import sleep, time
from typing import Any

from tests.benchmarks.case import Case, Figure, Lost, Turn, Values
from tests.benchmarks.learning.amounts import Amounts
from tests.benchmarks.learning.people import Asked, Asking, People
from tests.benchmarks.stage import Stage
from tests.learning_reference.streamed import MODEL, Plan
from tests.rig.processes import Prelabel

WAYS = ("beside", "in_place")
PEOPLE = 4
_WARM_UP = 40
SLICE_S = 0.5
"""A dip is looked for in pieces of so many seconds."""
DIP = 0.8
"""A piece is of it in which fewer were answered than this share of what is usual."""
_AFTER_S = 2.0


def case(amounts: Amounts) -> Case:
    """For so many examples."""

    @contextmanager
    def start(stage: Stage) -> Iterator[list[Turn]]:
        yield [_turn(stage, amounts, way) for way in WAYS if stage.wants(f"busy.{way}")]

    return Case("busy", FIGURES, start, rounds=amounts.timed)


def _turn(stage: Stage, amounts: Amounts, way: str) -> Turn:
    def measure(seed: int) -> Values:
        plan = Plan(f"busy-{seed}", seed, batches=1, batch=amounts.busy)
        training = {"every_n": None, "quiet_seconds": None, "settings": {"epochs": amounts.busy_epochs}}
        environment = {"PRELABEL_INFERENCE_SWAP": way}
        folder = stage.folder / f"busy-{way}-{seed}"
        with Prelabel.all_in_one(folder, providers=("spacy",), environment=environment) as prelabel:
            seen = _watch(People(prelabel, plan, training), amounts.idle_s)
        stage.note(f"busy.{way}", seen.timeline())
        return {f"busy.{way}.{name}": value for name, value in seen.values().items()}

    return Turn(f"busy.{way}", measure)


@dataclass(frozen=True, slots=True)
class Span:
    """From one moment to another, in seconds of the system's clock."""

    begin: float
    end: float

    @property
    def seconds(self) -> float:
        """How long."""
        return self.end - self.begin

    def slices(self) -> list["Span"]:
        """Cut into pieces of `SLICE_S`, the last of which may reach beyond the end; at least one."""
        count = max(1, -int(-self.seconds // SLICE_S))
        return [Span(self.begin + one * SLICE_S, self.begin + (one + 1) * SLICE_S) for one in range(count)]


@dataclass(frozen=True, slots=True)
class Seen:
    """All requests, and what went on when."""

    answers: Sequence[Asked]
    idle: Span
    training: Span
    swap: Span
    """From the promotion until the new version answered first."""

    def rate(self, span: Span) -> float:
        """Predictions per second."""
        made = sum(span.begin <= one.answered < span.end for one in self.answers if not one.failure)
        return made / span.seconds

    def values(self) -> Values:
        """The figures."""
        usual = self.rate(self.idle)
        rates = [self.rate(piece) for piece in self.swap.slices()]
        during = [one for one in self.answers if one.answered >= self.swap.begin and one.sent <= self.swap.end]
        return {
            "idle": usual,
            "training": self.rate(self.training),
            "swap.seconds": self.swap.seconds,
            "swap.lowest": min(rates),
            "swap.dip_s": SLICE_S * sum(rate < DIP * usual for rate in rates),
            "swap.longest_ms": max((one.answered - one.sent for one in during), default=0.0) * 1000,
            "failed": sum(bool(one.failure) for one in self.answers),
        }

    def timeline(self) -> dict[str, list[float]]:
        """For the report: predictions per second, piece by piece, and when what went on, in seconds from the begin."""
        begin = self.idle.begin
        whole = Span(begin, max(one.answered for one in self.answers))
        return {
            "per_s": [round(self.rate(piece), 1) for piece in whole.slices()[:-1]],
            "training": [round(self.training.begin - begin, 2), round(self.training.end - begin, 2)],
            "swap": [round(self.swap.begin - begin, 2), round(self.swap.end - begin, 2)],
        }


def _watch(people: People, idle_s: float) -> Seen:
    people.set_up()
    with Asking(people, PEOPLE) as asking:
        while len(asking.answers) < _WARM_UP:
            sleep(SLICE_S)
        idle = Span(time(), time() + idle_s)
        sleep(idle_s)
        people.annotate(range(len(people.texts)))
        people.all_heard()
        if not people.trainings():  # one that was asked for in vain before may have begun
            people.train()
        ended = _until_ended(people)
        serving = _until_promoted(people, ended["version"])
        asking.until_answered_by(serving["version"])
        sleep(_AFTER_S)
    first = min(one.answered for one in asking.answers if one.version == serving["version"])
    if ended["requested_ms"] / 1000 < idle.end:
        raise Lost("a training began while nothing else was to go on")
    trained = Span(ended["started_ms"] / 1000, ended["ended_ms"] / 1000)
    return Seen(asking.answers, idle, trained, Span(serving["at_ms"] / 1000, first))


def _until_ended(people: People) -> Mapping[str, Any]:
    ends = ("trained", "failed", "refused", "cancelled")
    seen = people.until(
        f"/trainings?model={MODEL}", lambda said: bool(said["trainings"]) and said["trainings"][0]["state"] in ends
    )
    newest: Mapping[str, Any] = seen["trainings"][0]
    if newest["state"] != "trained":
        raise Lost(f"the training ended as {newest['state']}: {newest['detail']}")
    return newest


def _until_promoted(people: People, version: str) -> Mapping[str, Any]:
    people.until(f"/models/{MODEL}/versions", lambda _: version in people.judged())
    serving: Mapping[str, Any] = people.until(f"/models/{MODEL}/serving", lambda _: True)
    if serving["version"] != version:
        raise Lost(f"{version} was not promoted: it is {people.judged()[version]}")
    return serving


FIGURES = tuple(
    figure
    for way, how in (("beside", "loaded beside the old one"), ("in_place", "loaded in its place"))
    for figure in (
        Figure(f"busy.{way}.idle", "requests/s", f"swap {way}: {PEOPLE} people ask, nothing else goes on"),
        Figure(
            f"busy.{way}.training",
            "requests/s",
            "the same while a pipeline is trained on this machine, with one thread",
            ratio_to=f"busy.{way}.idle",
        ),
        Figure(f"busy.{way}.swap.seconds", "s", f"from a promotion until the version, {how}, gives its first answer"),
        Figure(
            f"busy.{way}.swap.lowest",
            "requests/s",
            "in the slowest half second of that",
            ratio_to=f"busy.{way}.idle",
        ),
        Figure(f"busy.{way}.swap.dip_s", "s", f"of that, in half seconds with under {DIP:.0%} of what is usual"),
        Figure(f"busy.{way}.swap.longest_ms", "ms", "the longest that a request took that met the swap"),
        Figure(f"busy.{way}.failed", "requests", "of all of these, without a prediction", at_most=0),
    )
)
