"""The report as pictures, from its JSON: one small SVG per subject, of what was measured."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Report = Mapping[str, Any]
SERVERS = ("kafka", "mongo")
"""What they hold is a setting of theirs."""
_WORKER = "'s worker"
_OURS = ("prelabel",)
"""Among others."""
INK, FAINT = "#24292f", "#8c959f"
COLOURS = (
    "#0969da",
    "#bf8700",
    "#1a7f37",
    "#cf222e",
    "#8250df",
    "#57606a",
    "#bc4c00",
    "#0550ae",
    "#6e7781",
    "#953800",
)
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "prelabel",
    "font.size": 9.0,
    "font.family": "sans-serif",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": FAINT,
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


@dataclass(frozen=True, slots=True)
class Plot:
    """One picture."""

    file: str
    title: str
    draw: Callable[[Any, Report], bool]
    """Draws on matplotlib's axes; False where the report has nothing for it."""


def draw(report: Report, folder: Path, pictures: Sequence[Plot] | None = None) -> list[tuple[str, str]]:
    """Write the pictures (None: all of `PLOTS`) that the report has something for; title and file's name of each."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for plot in PLOTS if pictures is None else pictures:
        with rc_context(_STYLE):
            figure = Figure(figsize=(7.2, 3.2), layout="constrained")
            FigureCanvasSVG(figure)
            axes = figure.add_subplot()
            axes.set_title(plot.title, loc="left")
            if not plot.draw(axes, report):
                (folder / plot.file).unlink(missing_ok=True)  # of an earlier run: it would pass for one of this
                continue
            figure.savefig(folder / plot.file, metadata={"Date": None})
        drawn.append((plot.title, plot.file))
    return drawn


def _shares(axes: Any, report: Report) -> bool:
    """How much of the bare model's rate arrives at the end."""
    shown = [one for one in report["results"] if str(one["ratio_to"]).endswith(".bare") and one["ratio"] is not None]
    values = [one["ratio"] for one in shown]
    spread = [
        [one["ratio"] - one["ratio_low"] for one in shown],
        [one["ratio_high"] - one["ratio"] for one in shown],
    ]
    _bars(axes, [one["name"] for one in shown], values, spread)
    axes.axvline(1.0, color=INK, linewidth=0.8)
    for place, one in enumerate(shown):
        if goal := re.search(r"≥ ([\d.]+)", one["goal"]):
            axes.plot([float(goal[1])] * 2, [place - 0.4, place + 0.4], color=COLOURS[3], linewidth=1.5)
    axes.set_xlabel("share of the bare model's rate (median, lowest and highest round; the goal in red)")
    return bool(shown)


def _peers(axes: Any, report: Report) -> bool:
    shown = [one for one in report["results"] if one["name"].startswith("peers.")]
    values = [one["median"] for one in shown]
    spread = [
        [one["median"] - one["low"] for one in shown],
        [one["high"] - one["median"] for one in shown],
    ]
    _bars(axes, [one["name"].removeprefix("peers.") for one in shown], values, spread)
    axes.set_xlabel("docs/s, the same model and the same texts")
    return bool(shown)


def _bars(axes: Any, names: Sequence[str], values: Sequence[float], spread: Sequence[Sequence[float]]) -> None:
    if not names:
        return
    places = range(len(names))
    colours = [COLOURS[0] if name in _OURS or set(names).isdisjoint(_OURS) else FAINT for name in names]
    axes.barh(places, values, xerr=spread, color=colours, height=0.6, error_kw={"ecolor": INK, "linewidth": 0.8})
    axes.set_yticks(places, names)
    axes.invert_yaxis()


def _costs(axes: Any, report: Report) -> bool:
    """What a task costs in each process; the models' own, which cost what they cost anywhere, are left out."""
    return _stacks(axes, {name: one for name, one in _all_costs(report) if not name.startswith("hops.")})


def _hops(axes: Any, report: Report) -> bool:
    """What a task costs in each hop."""
    return _stacks(axes, {name: one for name, one in _all_costs(report) if name.startswith("hops.")})


def _all_costs(report: Report) -> Iterator[tuple[str, Mapping[str, float]]]:
    for name, costs in report["cpu_us_per_task"].items():
        yield name, {part: cost for part, cost in costs.items() if part != "all" and not part.endswith(_WORKER)}


def _stacks(axes: Any, costs: Mapping[str, Mapping[str, float]]) -> bool:
    left = [0.0] * len(costs)
    for number, part in enumerate(dict.fromkeys(part for one in costs.values() for part in one)):
        widths = [one.get(part, 0.0) for one in costs.values()]
        colour = COLOURS[number % len(COLOURS)]
        axes.barh(range(len(costs)), widths, left=left, height=0.6, label=part, color=colour)
        left = [before + width for before, width in zip(left, widths, strict=True)]
    if costs:
        axes.set_yticks(range(len(costs)), list(costs))
        axes.invert_yaxis()
        _legend_beside(axes)
    axes.set_xlabel("CPU µs per task")
    return bool(costs)


def _legend_beside(axes: Any) -> None:
    axes.legend(fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _latency(axes: Any, report: Report) -> bool:
    """How long one interactive request takes."""
    found = {one["name"]: one["median"] for one in report["results"]}
    names = [name for name in found if re.fullmatch(r"interactive\.[\w.]+\.p\d+_ms", name)]
    _bars(axes, [name.removesuffix("_ms") for name in names], [found[name] for name in names], [[0.0] * len(names)] * 2)
    axes.set_xlabel("ms, as an HTTP client sees it")
    return bool(names)


def _scaling(axes: Any, report: Report) -> bool:
    """What more workers bring."""
    found = {one["name"]: one["median"] for one in report["results"]}
    lines: dict[str, list[tuple[int, float]]] = {}
    for name, median in found.items():
        if match := re.fullmatch(r"workers(\.\w+)?\.(\d+)", name):
            lines.setdefault((match[1] or ".latency").removeprefix("."), []).append((int(match[2]), median))
    for number, (label, points) in enumerate(lines.items()):
        points.sort()
        workers, rates = zip(*points, strict=True)
        axes.plot(workers, [rate / rates[0] for rate in rates], "o-", label=f"bound by {label}", color=COLOURS[number])
    if lines:
        most = max(workers for points in lines.values() for workers, _ in points)
        axes.plot([1, most], [1, most], ":", color=FAINT, label="as many times as workers")
        axes.legend(frameon=False)
    axes.set_xlabel("workers")
    axes.set_ylabel("times the rate of one")
    return bool(lines)


def _memory(axes: Any, report: Report) -> bool:
    """What each process holds while tasks go through."""
    shown = {name: runs[-1] for name, runs in report["details"].items() if re.fullmatch(r"memory\.\w+", name)}
    number = 0
    for name, samples in shown.items():
        for process in dict.fromkeys(key for sample in samples for key in sample["mib"] if key not in SERVERS):
            points = [(sample["seconds"], sample["mib"][process]) for sample in samples if process in sample["mib"]]
            seconds, mib = zip(*points, strict=True)
            label = f"{name.removeprefix('memory.')}: {process}"
            axes.plot(seconds, mib, label=label, color=COLOURS[number % 10], linestyle=("-", "--")[number // 10 % 2])
            number += 1
    if shown:
        _legend_beside(axes)
    axes.set_xlabel("seconds since the upload began")
    axes.set_ylabel("MiB in RAM")
    axes.set_ylim(bottom=0)
    return bool(shown)


PLOTS = (
    Plot("shares.svg", "End to end, against the model alone", _shares),
    Plot("peers.svg", "The same model behind other programs", _peers),
    Plot("costs.svg", "What a task costs each process, beside the model", _costs),
    Plot("hops.svg", "What a task costs in each hop, alone", _hops),
    Plot("latency.svg", "One interactive request", _latency),
    Plot("scaling.svg", "More workers", _scaling),
    Plot("memory.svg", "Memory while tasks go through", _memory),
)
