"""`prelabel curve`: how good a model is, over what it learned from."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from .drawing import draw
from .models import few, interval
from .options import Json, Profile
from .output import Out, clean
from .session import meant, session
from .train import Named, OfModel, the_model

if TYPE_CHECKING:
    from ..client import Client
    from ..models_learning import Acceptance, AcceptedShare, Curve, LabelCurve

_RATES = ("suggestions", "accepted", "edited", "refused")


def curve(
    project: Named = None,
    model: OfModel = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=200, help="At most so many versions.")] = 100,
    profile: Profile = None,
    json: Json = False,
) -> None:
    """Draw a model's learning curve.

    It shows the scores of its versions over the examples they learned from. A full point serves or has served, a hollow
    one was kept back, a dotted one was scored on fewer than 10 held-out tasks, which says little; bars are 95 %
    intervals on the hold-out; the line across is what served before any of them. Below it: how well each label is
    found, in the newest version and in the one before, how often suggestions of each version were accepted, edited and
    refused, and whether it is worth going on annotating. In a pipe it is a table.

    \b
    Example:
      prelabel curve mails
      prelabel curve mails --model topics --json
    """
    out = Out(json=json)
    with session(profile) as client:
        where = meant(client, project)
        name = the_model(client, where, model)
        found, labels = client.curve(where, name, limit=limit), client.label_curves(where, name)
        accepted = client.acceptance(where)
        before = _before(client, where, name, found)
        stopping = client.stopping(where, model=name) if found.points else None
    if json:
        listed = [one.json_value() for one in labels]
        shares = [one.json_value() for one in accepted.versions if one.model == name]
        told = {"labels": listed, "acceptance": shares, "before": before}
        out.value({**found.json_value(), **told, "stopping": None if stopping is None else stopping.json_value()})
        return
    if not found.points:
        out.note(f"no versions yet: prelabel train {where} --model {name}")
        return
    if not out.terminal:
        rows = ((p.examples, p.version, p.state, p.score, p.low, p.high, p.tasks, few(p)) for p in found.points)
        out.rows(("examples", "version", "state", "score", "low", "high", "tasks", "few"), rows)
        return
    draw(out, found, before)
    _tabulate(out, labels, accepted, name)
    if stopping is not None:
        out.note(clean(stopping.text))


def _before(client: "Client", project: str, model: str, curve: "Curve") -> float | None:
    """What served before the first of them scored when that was judged."""
    if not curve.points:
        return None
    compared = client.version(project, model, curve.points[0].version).verdict.compared
    return None if compared is None else float(compared["serving"])


def _tabulate(out: Out, labels: "tuple[LabelCurve, ...]", accepted: "Acceptance", model: str) -> None:
    if any(one.points for one in labels):
        out.line()
        rows = (row for one in labels if (row := _row(one)))
        out.rows(("label", "question", "f1", "interval", "before", "precision", "recall"), rows)
    shares = [one for one in accepted.versions if one.model == model and one.shown]
    if shares:
        out.line()
        out.rows(("version", "provider", *_RATES), ((one.version, one.provider, *_rates(one)) for one in shares))
    if len(accepted.providers) > 1:
        out.line()
        out.rows(
            ("all of provider", *_RATES), ((one.provider, *_rates(one)) for one in accepted.providers if one.shown)
        )


def _rates(one: "AcceptedShare") -> tuple[Any, ...]:
    return one.shown, *(f"{count / one.shown:.0%}" for count in (one.accepted, one.corrected, one.rejected))


def _row(one: "LabelCurve") -> tuple[Any, ...] | None:
    if not one.points:
        return None
    last = one.points[-1]
    before = one.points[-2].f1.value if len(one.points) > 1 else None
    figures = (last.f1.value, interval(last.f1.low, last.f1.high), before, last.precision.value, last.recall.value)
    return one.label, one.question, *figures
