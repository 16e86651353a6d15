"""Following a training: until it has begun, has ended, its version is judged, and answers."""

import time
from typing import TYPE_CHECKING, Any

from ..errors import NotFound
from .exits import DATA, Ended
from .output import Out, clean, progress

if TYPE_CHECKING:
    from ..client import Client
    from ..models_learning import Training, Version

LOOK_EVERY = 0.3
FOLLOWS_WITHIN = 60.0
"""Seconds from the end of a training until the one that waited for it has surely begun."""
JUDGED_WITHIN = 120.0
"""Seconds from the end of a training until the gate has surely decided about it."""
LOADED_WITHIN = 60.0
"""Seconds from a promotion until those who predict have surely said what became of it."""


def newest(client: "Client", project: str, model: str) -> int:
    """The number of a model's newest training; 0 where it has none."""
    return max((one.number for one in client.trainings(project, model=model, limit=1)), default=0)


def later(out: Out, client: "Client", project: str, model: str, before: int, why: str) -> "Training":
    """The training that follows the one that is under way. Ends the command where none does."""
    out.note(clean(why))
    until = float("inf")
    while time.monotonic() < until:
        for one in client.trainings(project, model=model, limit=1):
            if one.number > before:
                return one
            if one.over:
                until = min(until, time.monotonic() + FOLLOWS_WITHIN)
        time.sleep(LOOK_EVERY)
    out.note(f"training {before} has ended, and none has followed it in {FOLLOWS_WITHIN:.0f} s: ask again")
    raise Ended(DATA)


def ended(out: Out, client: "Client", training: "Training") -> "Training":
    """A training, once it has ended; how far it is is shown meanwhile."""
    with progress(quiet=out.json) as bar:
        shown = bar.add_task(training.state, total=None, said="")
        while not training.over:
            time.sleep(LOOK_EVERY)
            training = client.training(training.project, training.model, training.number)
            now = training.progress
            bar.update(
                shown, description=state_of(training), completed=now.step, total=now.steps or None, said=_said(now)
            )
    return training


def judged(client: "Client", training: "Training") -> "Version | None":
    """Its version with the gate's verdict; None where there is none, or the gate takes too long."""
    if training.version is None:
        return None
    until = time.monotonic() + JUDGED_WITHIN
    while time.monotonic() < until:
        try:
            return client.version(training.project, training.model, training.version)
        except NotFound:
            time.sleep(LOOK_EVERY)
    return None


def loaded(out: Out, client: "Client", project: str, version: "Version") -> tuple["Version", str]:
    """A version that is to serve, once those who predict have said what became of it; and a sentence about that."""
    runs = any(one.provider == version.provider and one.state == "running" for one in client.providers())
    if answers(version, runs=runs) is None:
        out.note(f"{clean(version.version)} is promoted; inference loads it now")
    until = time.monotonic() + LOADED_WITHIN
    while (said := answers(version, runs=runs)) is None and time.monotonic() < until:
        time.sleep(LOOK_EVERY)
        version = client.version(project, version.model, version.version)
    return version, said or f"nobody has said within {LOADED_WITHIN:.0f} s that {version.version} is loaded"


def answers(version: "Version", *, runs: bool) -> str | None:
    """Whether a version that was promoted answers; None: not yet. `runs`: some process of its provider does."""
    if any(one.state == "serving" for one in version.loads):
        return f"{version.model} now answers with version {version.version}"
    if version.state == "refused":
        return f"{version.version} was refused where it was to be loaded: {version.refused}"
    if version.state != "serving":
        return f"{version.version} does not serve any more: something else was promoted meanwhile"
    if not runs:
        return (
            f"{version.version} is promoted, and nothing answers with it: no process of the provider "
            f"{version.provider} runs"
        )
    return None


def state_of(training: "Training") -> str:
    """How far it is, in a word."""
    return "cancelling" if training.cancelling else training.state


def _said(now: Any) -> str:
    told = []
    if now.loss is not None:
        told.append(f"loss {now.loss:.3g}")
    if now.score is not None:
        told.append(f"score {now.score:.2f}")
    if now.seconds_left is not None:
        told.append(f"{now.seconds_left:.0f} s left")
    return ", ".join(told)
