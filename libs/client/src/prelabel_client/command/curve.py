"""`prelabel curve`: how good a model is, over what it learned from."""

from typing import TYPE_CHECKING, Any

from .models import figure_of
from .options import Json, Limit, Profile
from .output import Out, speaks_unicode
from .plot import ASCII, Point, Signs, drawn
from .session import meant, session
from .train import Named, OfModel, the_model

if TYPE_CHECKING:
    from ..models_learning import Version


def curve(
    project: Named = None, model: OfModel = None, limit: Limit = 40, profile: Profile = None, json: Json = False
) -> None:
    """Draw a model's learning curve.

    It shows the scores of its versions over the examples they learned from.

    A full point serves or has served, a hollow one was kept back; bars are 95 % intervals on the hold-out; the line
    across is what served before any of them. Below it: how well each label is found, in the newest version and in the
    one before. In a pipe it is a table.

    \b
    Example:
      prelabel curve mails
      prelabel curve mails --model topics --json
    """
    out = Out(json=json)
    with session(profile) as client:
        where = meant(client, project)
        name = the_model(client, where, model)
        listed = list(client.versions(where, name, limit=limit))
        versions = [client.version(where, name, one.version) for one in reversed(listed)]
    if json:
        for one in versions:
            out.value(one)
        return
    if not versions:
        out.note(f"no versions yet: prelabel train {where} --model {name}")
        return
    if out.terminal:
        _drawn(out, versions)
        out.line()
        _labels(out, versions)
        return
    rows = ((v.examples, v.version, v.state, f.value, f.low, f.high) for v in versions for f in (figure_of(v),))
    out.rows(("examples", "version", "state", "score", "low", "high"), rows)


def _drawn(out: Out, versions: "list[Version]") -> None:
    points = [
        Point(
            x=one.examples,
            value=figure.value,
            low=figure.value if figure.low is None else figure.low,
            high=figure.value if figure.high is None else figure.high,
            filled=one.state in ("serving", "served"),
        )
        for one in versions
        for figure in (figure_of(one),)
        if figure.value is not None
    ]
    signs = Signs() if speaks_unicode() else ASCII
    out.line(f"{versions[-1].verdict.metric or 'score'} on the hold-out")
    width = min(out.console.width - 12, 100)
    for line in drawn(points, width=width, level=_before(versions), signs=signs):
        out.line(line)


def _before(versions: "list[Version]") -> float | None:
    """What served before the first of them scored when that was judged."""
    compared = versions[0].verdict.compared
    return None if compared is None else float(compared["serving"])


def _labels(out: Out, versions: "list[Version]") -> None:
    reports = [one.report for one in versions if one.report is not None]
    if not reports:
        return
    older = {(one.question, one.label): one.f1.value for report in reports[-2:-1] for one in report.labels}
    rows: list[tuple[Any, ...]] = [
        (
            one.label,
            one.question,
            one.f1.value,
            older.get((one.question, one.label)),
            one.precision.value,
            one.recall.value,
        )
        for one in reports[-1].labels
    ]
    out.rows(("label", "question", "f1", "before", "precision", "recall"), rows)
