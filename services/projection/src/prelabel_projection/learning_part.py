"""The part of the page that shows how models learn: the curve as a picture, what serves, labels, what people accept."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from prelabel_contract.limits import SCORED_TASKS

from .learning import LabelSeen, ModelLearning, TrainingSeen, TrainingTold, VersionSeen

Shown = Callable[[str | None], str]
"""Makes a stranger's text part of a page."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 30.0, 344.0, 8.0, 108.0


def learning_part(models: Sequence[ModelLearning], shown: Shown) -> str:
    """Panels, one per model that learns; nothing where none does."""
    return "".join(_panel(one, shown) for one in models)


def _panel(one: ModelLearning, shown: Shown) -> str:
    name = f"{shown(one.model)} <small>{shown(one.project)}</small>"
    serving = "as its settings say" if one.serving == "settings" else f"version <code>{shown(one.serving)}</code>"
    return (
        f'<section class="panel learning"><h2><span>Learning: {name}</span></h2>{picture(one)}'
        f"<p>Served by: {serving}.</p>{_training(one.training)}{_accepted(one, shown)}{_labels(one.labels, shown)}"
        f"{_trainings(one, shown)}</section>"
    )


# ----------------------------------------------------------------------------------------------------------- curve


def picture(one: ModelLearning) -> str:
    """Scores with their intervals over examples, as a picture that says the same in words."""
    points = [(version, version.score) for version in one.versions if version.score is not None]
    if not points:
        return ""
    values = [end for version, score in points for end in (version.low, version.high, score) if end is not None]
    bottom, top = max(0.0, min(values) - 0.05), min(1.0, max(values) + 0.05)
    first, last = min(v.examples for v, _ in points), max(v.examples for v, _ in points)

    def x(version: VersionSeen) -> float:
        share = (version.examples - first) / (last - first) if last > first else 0.5
        return _LEFT + 8 + share * (_RIGHT - _LEFT - 16)

    def y(value: float) -> float:
        return _TOP + (top - value) / (top - bottom) * (_BOTTOM - _TOP)

    bars = "".join(
        f'<line class="interval" x1="{x(v):.1f}" x2="{x(v):.1f}" y1="{y(v.low):.1f}" y2="{y(v.high):.1f}"/>'
        for v, _ in points
        if v.low is not None and v.high is not None
    )
    way = " ".join(f"{x(v):.1f},{y(score):.1f}" for v, score in points if v.served)
    dots = "".join(_dot(v, x(v), y(score)) for v, score in points)
    return (
        f'<svg viewBox="0 0 350 130" role="img" aria-label="{_said(one, points)}">'
        f'<line class="axis" x1="{_LEFT}" x2="{_RIGHT}" y1="{_BOTTOM}" y2="{_BOTTOM}"/>'
        f'<polyline class="way" points="{way}"/>{bars}{dots}'
        f'<text class="quiet" x="0" y="{_TOP + 6}">{top:.2f}</text>'
        f'<text class="quiet" x="0" y="{_BOTTOM}">{bottom:.2f}</text>'
        f'<text class="quiet" x="{_LEFT}" y="126">{first:,}</text>'
        f'<text class="quiet" x="{_RIGHT}" y="126" text-anchor="end">{last:,} examples</text></svg>{_few(points)}'
    )


def _dot(version: VersionSeen, x: float, y: float) -> str:
    """Full: it serves or has served; dotted: so few tasks scored it that it says little."""
    kind = "served" if version.served else "kept"
    if not version.few:
        return f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="4"/>'
    title = f"<title>few: scored on {version.tasks} held-out tasks</title>"
    return f'<circle class="{kind} few" cx="{x:.1f}" cy="{y:.1f}" r="4">{title}</circle>'


def _few(points: Sequence[tuple[VersionSeen, float]]) -> str:
    """What dotted points are, where there are any."""
    if not any(version.few for version, _ in points):
        return ""
    return f"<p>Dotted points: scored on fewer than {SCORED_TASKS} held-out tasks, which says little.</p>"


def _said(one: ModelLearning, points: Sequence[tuple[VersionSeen, float]]) -> str:
    """The picture in words; no word of a stranger's is in it."""
    told = ", ".join(
        f"{score:.2f} after {version.examples:,}{' (few tasks)' if version.few else ''}"
        for version, score in points[-6:]
    )
    return f"Score on the hold-out by examples learned from: {told}"


# ----------------------------------------------------------------------------------------------------------- words


def _training(training: TrainingSeen | None) -> str:
    if training is None:
        return ""
    steps = f", step {training.step} of {training.steps}" if training.steps else ""
    left = f", {training.seconds_left:.0f} s left" if training.seconds_left is not None else ""
    return f'<p class="now">Training {training.number} is under way{steps}{left}.</p>'


def _accepted(one: ModelLearning, shown: Shown) -> str:
    if not one.acceptance:
        return ""
    said = "; ".join(
        f"{share.share:.0%} of <code>{shown(share.version)}</code> "
        f"({_by(share.provider, shown)}{share.edited:.0%} edited, {share.refused:.0%} refused)"
        for share in one.acceptance[-4:]
    )
    return f"<p>Suggestions accepted as they were: {said}.</p>"


def _by(provider: str, shown: Shown) -> str:
    return f"{shown(provider)}: " if provider else ""


def _labels(labels: Sequence[LabelSeen], shown: Shown) -> str:
    if not labels:
        return ""
    rows = "".join(
        f"<tr><td>{shown(one.label or one.question)}</td><td>{_figure(one.f1)}</td><td>{_figure(one.before)}</td></tr>"
        for one in labels
    )
    head = "".join(f'<th scope="col">{name}</th>' for name in ("Label", "F1", "Before"))
    return (
        f'<details data-fold="labels"><summary>{len(labels):,} label{"" if len(labels) == 1 else "s"}</summary>'
        '<div class="scroll">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div></details>"
    )


def _trainings(one: ModelLearning, shown: Shown) -> str:
    """The latest trainings, and what the last one says of itself."""
    if not one.trainings:
        return ""
    head = "".join(f'<th scope="col">{name}</th>' for name in ("Training", "State", "Examples", "Came to"))
    rows = "".join(_row(training, shown) for training in one.trainings)
    log = "".join(f"<li>{shown(line)}</li>" for line in one.log)
    last = f'<p>Log of training {one.trainings[0].number}:</p><ol class="log">{log}</ol>' if log else ""
    return (
        '<details data-fold="trainings"><summary>Latest trainings</summary><div class="scroll">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>{last}</details>"
    )


def _row(training: TrainingTold, shown: Shown) -> str:
    came_to = f"<code>{shown(training.version)}</code>" if training.version else shown(training.why)
    asked = datetime.fromtimestamp(training.requested_ms / 1000, UTC)
    time = f'<time datetime="{asked:%Y-%m-%dT%H:%M:%S}Z">{asked:%Y-%m-%d %H:%M:%S} UTC</time>'
    return (
        f"<tr><td>{training.number}, {time}</td><td>{shown(training.state)}</td><td>{training.examples:,}</td>"
        f"<td>{came_to}</td></tr>"
    )


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
