"""Trainings, versions of models, quality of annotations."""

from typing import Any

from ..models_learning import (
    Acceptance,
    AskedTraining,
    Curve,
    LabelCurve,
    LogLine,
    Model,
    Quality,
    Serving,
    Training,
    Version,
)
from ..streams import Many, Page, pages
from ..wire import Call, get, path, query, send


def train(project: str, model: str) -> Call[AskedTraining]:
    """Ask for a training of a model, on all there is to learn from now. Answered when it is decided, or soon after."""
    where = path("projects", project, "trainings")
    return send("POST", where, AskedTraining.of, {"model": model}, patience=60.0)


def trainings(project: str, *, model: str | None = None, limit: int | None = None) -> Many[Training]:
    """Trainings, by model, the newest of each first."""
    size = 50 if limit is None else max(1, min(limit, 200))
    asked = get(path("projects", project, "trainings"), _trainings, model=model, limit=size)
    return pages(asked, limit=limit)


def _trainings(found: Any) -> Page[Training]:
    return Page([Training.of(one) for one in found["trainings"]], found.get("next"))


def training(project: str, model: str, number: int) -> Call[Training]:
    """One training."""
    return get(path("projects", project, "trainings", model, str(number)), Training.of)


def training_log(project: str, model: str, number: int) -> Call[tuple[LogLine, ...]]:
    """What was done and said in a training: its last lines, oldest first."""
    where = path("projects", project, "trainings", model, str(number), "log")
    return get(where, lambda found: tuple(LogLine.of(one) for one in found["lines"]))


def cancel_training(project: str, model: str, number: int) -> Call[Training]:
    """Cancel a training."""
    return send("DELETE", path("projects", project, "trainings", model, str(number)), Training.of)


def models(project: str) -> Many[Model]:
    """The models of a project, and what serves each of them."""
    where = path("projects", project, "models")
    return pages(get(where, lambda found: Page([Model.of(one) for one in found["models"]], found.get("next"))))


def versions(project: str, model: str, *, limit: int | None = None) -> Many[Version]:
    """The versions of a model, the newest first, with what was decided about them; without reports."""
    where = path("projects", project, "models", model, "versions")
    size = 50 if limit is None else max(1, min(limit, 200))
    return pages(get(where, _versions, limit=size), limit=limit)


def _versions(found: Any) -> Page[Version]:
    return Page([Version.of(one) for one in found["versions"]], found.get("next"))


def version(project: str, model: str, name: str) -> Call[Version]:
    """One version with its report."""
    return get(path("projects", project, "models", model, "versions", name), Version.of)


def promote(project: str, model: str, name: str, *, reason: str = "") -> Call[Serving]:
    """Let a version serve, whatever the gate decided."""
    where = path("projects", project, "models", model, "versions", name, "promote")
    return send("POST", where, Serving.of, {"reason": reason}, repeatable=True)


def rollback(
    project: str, model: str, *, version: str | None = None, reason: str = "", epoch: int | None = None
) -> Call[Serving]:
    """Let an older version serve again: the one before, or the one that is named.

    With `epoch` (what `serving` said) only if nothing has changed since; it may be repeated then.
    """
    headers = {} if epoch is None else {"If-Match": f'"{epoch}"'}
    body = {"reason": reason, **({"version": version} if version else {})}
    where = path("projects", project, "models", model, "rollback")
    return send("POST", where, Serving.of, body, headers=headers, repeatable=version is not None)


def curve(project: str, model: str, *, limit: int = 100) -> Call[Curve]:
    """The learning curve of a model: examples against score, by version."""
    return get(path("projects", project, "models", model, "curve"), Curve.of, limit=limit)


def label_curves(project: str, model: str, *, limit: int = 20) -> Call[tuple[LabelCurve, ...]]:
    """How well each label was found by the newest versions."""
    where = path("projects", project, "models", model, "labels")
    return get(where, lambda found: tuple(LabelCurve.of(one) for one in found["labels"]), limit=limit)


def acceptance(project: str) -> Call[Acceptance]:
    """How often people took suggestions as they were, by version and by provider."""
    return get(path("projects", project, "acceptance"), Acceptance.of)


def quality(project: str) -> Call[Quality]:
    """Whether what people submit is good to learn from."""
    return get(path("projects", project, "quality"), Quality.of)


def reject(project: str, task: str, request: str, *, annotator: str | None = None) -> Call[dict[str, Any]]:
    """Refuse a prediction, by the id of its request: nothing of it was of use. `annotator`: the key's unless said."""
    where = path("projects", project, "tasks", task, "predictions", request, "rejection")
    return send("POST", where, dict, asked=query(annotator=annotator), repeatable=True)
