"""The report of learning as pictures: curves, each with the band of its seeds."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tests.benchmarks.learning.cases.busy import SLICE_S
from tests.benchmarks.plots import COLOURS, FAINT, Plot, Report

_GOAL = 0.95
_ORDER = ("random", "uncertainty", "margin", "usual")
"""One colour for one strategy, in all pictures."""
_SHOWN = {
    "random": "at random",
    "uncertainty": "most uncertain first",
    "margin": "smallest margin first",
    "usual": "the usual mix",
}


def _curves(name: str, unit: str) -> Callable[[Any, Report], bool]:
    """Draws a case's curves: the median over the seeds, the lowest and the highest."""

    def draw(axes: Any, report: Report) -> bool:
        details = report["details"]
        drawn = False
        for place, strategy in enumerate(_ORDER):
            if runs := details.get(f"curve.{name}.{strategy}"):
                _band(axes, runs, COLOURS[place], _SHOWN[strategy])
                drawn = True
        if full := details.get(f"full.{name}"):
            axes.axhline(_GOAL * statistics.median(full), color=FAINT, linewidth=0.8, linestyle=":")
        if drawn:
            axes.legend(frameon=False, loc="lower right")
        axes.set_xlabel("annotated tasks")
        axes.set_ylabel(unit)
        return drawn

    return draw


def _band(axes: Any, runs: Sequence[Sequence[Sequence[float]]], colour: str, label: str) -> None:
    """Pools differ by some tasks from seed to seed, so the last points do: shown is what all have, by place."""
    points = list(zip(*runs, strict=False))
    labels = [statistics.median(one[0] for one in seeds) for seeds in points]
    scores = [[one[1] for one in seeds] for seeds in points]
    axes.plot(labels, [statistics.median(seeds) for seeds in scores], color=colour, label=label)
    axes.fill_between(
        labels,
        [min(seeds) for seeds in scores],
        [max(seeds) for seeds in scores],
        color=colour,
        alpha=0.15,
        linewidth=0,
    )


def _gate(axes: Any, report: Report) -> bool:
    """How many of the candidates were promoted."""
    shown = [one for one in report["results"] if one["name"].startswith("gate.")]
    if not shown:
        return False
    names = [".".join(one["name"].split(".")[1:3]) for one in shown]
    total = [float(one["unit"].removeprefix("of ")) for one in shown]
    promoted = [
        all_ - one["median"] if one["name"].endswith(".refused") else one["median"]
        for one, all_ in zip(shown, total, strict=True)
    ]
    places = range(len(shown))
    axes.barh(places, promoted, color=COLOURS[0], height=0.6, label="promoted")
    rest = [all_ - one for one, all_ in zip(promoted, total, strict=True)]
    axes.barh(places, rest, left=promoted, color=FAINT, height=0.6, label="refused")
    axes.set_yticks(places, [_named(name) for name in names])
    axes.invert_yaxis()
    axes.set_xlabel("seeds")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return True


def _busy(way: str) -> Callable[[Any, Report], bool]:
    """Draws the last round: what was answered, piece by piece, and what went on meanwhile."""

    def draw(axes: Any, report: Report) -> bool:
        rounds = report["details"].get(f"busy.{way}")
        if not rounds:
            return False
        last = rounds[-1]
        axes.plot([(place + 0.5) * SLICE_S for place in range(len(last["per_s"]))], last["per_s"], color=COLOURS[0])
        axes.axvspan(*last["training"], color=COLOURS[1], alpha=0.2, linewidth=0, label="a training")
        axes.axvspan(*last["swap"], color=COLOURS[3], alpha=0.3, linewidth=0, label="the swap")
        axes.set_ylim(bottom=0)
        axes.set_xlabel("seconds")
        axes.set_ylabel("predictions per second")
        axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
        return True

    return draw


_CANDIDATES: Mapping[str, str] = {
    "flipped": "20 % of {} labels wrong",
    "twice": "twice {} examples",
    "others": "{} other examples",
}


def _named(name: str) -> str:
    kind, _, count = name.partition(".")
    return _CANDIDATES.get(kind, kind + " {}").format(count)


PLOTS = (
    Plot("digits.svg", "Digits: accuracy on the hold-out", _curves("digits", "accuracy")),
    Plot("texts.svg", "Short texts: accuracy on the hold-out", _curves("texts", "accuracy")),
    Plot("names.svg", "Names in texts, by spaCy: F1 on the hold-out", _curves("names", "F1")),
    Plot("gate.svg", "What the gate lets through", _gate),
    Plot("busy-beside.svg", "Four people ask; the new version is loaded beside the old one", _busy("beside")),
    Plot("busy-in-place.svg", "Four people ask; the new version is loaded in the old one's place", _busy("in_place")),
)
