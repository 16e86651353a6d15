"""Projects."""

from collections.abc import Mapping
from typing import Any

from prelabel_contract.projects import Project as ProjectSpec

from ..models import Counts, Project
from ..streams import Many, Page, pages
from ..wire import Call, get, path, send


def every() -> Many[Project]:
    """All projects that the key reaches."""
    return pages(get("/v1/projects", lambda found: Page([Project.of(p) for p in found["projects"]], found.get("next"))))


def one(project: str) -> Call[Project]:
    """One project as it is now."""
    return get(path("projects", project), Project.of)


def put(project: str, spec: ProjectSpec | Mapping[str, Any], *, version: int | None = None) -> Call[Project]:
    """Create or change a project; with `version`, only if it is still that one."""
    body = spec.model_dump(mode="json", exclude_defaults=True) if isinstance(spec, ProjectSpec) else dict(spec)
    body.pop("id", None)
    headers = {} if version is None else {"If-Match": f'"{version}"'}
    return send("PUT", path("projects", project), Project.of, body, headers=headers)


def counts(project: str) -> Call[Counts]:
    """Tasks of a project, and its requests by model and state."""
    return get(path("projects", project, "counts"), Counts.of)
