"""`prelabel status` and `prelabel runs`: what is going on."""

from itertools import islice
from typing import Annotated

import typer

from .exits import UNAVAILABLE, Ended
from .options import Json, Limit, Profile, Project
from .output import Out, clean, moment
from .session import meant, session


def status(profile: Profile = None, json: Json = False) -> None:
    """Say what runs, and how far every project is.

    \b
    Example:
      prelabel status
    """
    out = Out(json=json)
    with session(profile) as client:
        found = [(one, client.counts(one.id)) for one in client.projects()]
        lacking = missing(client.connection.health)
        if json:
            projects = [{"project": one.id, **counts.json_value()} for one, counts in found]
            out.value({"address": client.connection.address, "missing": lacking, "projects": projects})
        else:
            out.line(f"{client.connection.address}: {_state(lacking)}")
            rows = (
                (one.id, counts.tasks, model, *(states.get(s, 0) for s in ("created", "pending", "failed")))
                for one, counts in found
                for model, states in (counts.models or {"": {}}).items()
            )
            out.rows(("project", "tasks", "model", "created", "pending", "failed"), rows, nothing="no projects yet")
    if lacking:
        raise Ended(UNAVAILABLE)


def _state(lacking: dict[str, str] | None) -> str:
    if lacking is None:
        return "answers"
    return "; ".join(clean(f"{what} {why}") for what, why in lacking.items()) or "ready"


def missing(health: str | None) -> dict[str, str] | None:
    """What is not ready, from the probes; None where they cannot be asked."""
    if health is None:
        return None
    import httpx

    try:
        answer = httpx.get(f"{health}/readyz", timeout=5, trust_env=False)
        return dict(answer.json()["missing"])
    except (httpx.HTTPError, ValueError, KeyError):
        return {"probes": f"{health}/readyz does not answer"}


def runs(
    run: Annotated[str | None, typer.Argument(help="One run.")] = None,
    project: Project = None,
    errors: Annotated[bool, typer.Option("--errors", help="The lines of the run that were refused.")] = False,
    limit: Limit = 20,
    profile: Profile = None,
    json: Json = False,
) -> None:
    """List runs, newest first; show one, or what was refused.

    \b
    Example:
      prelabel runs
      prelabel runs RUN --errors --limit 1000
    """
    out = Out(json=json)
    with session(profile) as client:
        where = meant(client, project)
        if run is not None and errors:
            lines = client.run_errors(where, run, limit=limit)
            if json:
                for line in lines:
                    out.value(line)
            else:
                out.rows(("line", "reason", "why"), ((e.line, e.reason, e.why) for e in lines), nothing="none")
            return
        found = [client.run(where, run)] if run is not None else islice(client.runs(where, limit=limit), limit)
        if json:
            for one in found:
                out.value(one)
            return
        rows = (
            (r.run, r.state, moment(r.opened_ms), r.accepted, r.rejected, [f"{n} {s}" for s, n in r.outcomes.items()])
            for r in found
        )
        out.rows(("run", "state", "opened", "accepted", "refused", "outcomes"), rows, nothing="no runs yet")
