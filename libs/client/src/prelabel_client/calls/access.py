"""Keys, oneself, providers, the audit."""

from collections.abc import Sequence
from typing import Any, Literal

from ..models_access import AuditEntry, Key, Link, Me, NewKey, Provider
from ..streams import Many, Page, pages
from ..wire import Call, get, path, send

Role = Literal["admin", "reviewer", "labeler", "service"]


def me() -> Call[Me]:
    """Who calls, by the key."""
    return get("/v1/me", Me.of)


def keys(*, limit: int | None = None) -> Many[Key]:
    """Keys, oldest first; revoked and expired ones too."""
    return pages(
        get("/v1/keys", lambda found: Page([Key.of(k) for k in found["keys"]], found.get("next"))), limit=limit
    )


def key(key_id: str) -> Call[Key]:
    """What is known of a key, by its id."""
    return get(path("keys", key_id), Key.of)


def create_key(
    name: str, role: Role, *, projects: Sequence[str] | None = None, expires_in_seconds: int | None = None
) -> Call[NewKey]:
    """Make a key, which is shown this once. `projects`: those it reaches; none means all that yours reaches."""
    body: dict[str, Any] = {"name": name, "role": role}
    if projects is not None:
        body["projects"] = list(projects)
    if expires_in_seconds is not None:
        body["expires_in_seconds"] = expires_in_seconds
    return send("POST", "/v1/keys", NewKey.of, body)


def revoke_key(key_id: str) -> Call[Key]:
    """Revoke a key, by its id."""
    return send("DELETE", path("keys", key_id), Key.of)


def create_link() -> Call[Link]:
    """An address that opens the pages once, in a browser."""
    return send("POST", "/v1/links", Link.of, {})


def providers() -> Many[Provider]:
    """Providers that have announced themselves."""
    return pages(
        get("/v1/providers", lambda found: Page([Provider.of(p) for p in found["providers"]], found.get("next")))
    )


def audit(
    *,
    project: str | None = None,
    actor: str | None = None,
    action: str | None = None,
    since: int | None = None,
    limit: int | None = None,
) -> Many[AuditEntry]:
    """Who changed what. `since`: milliseconds since 1970."""
    asked = get("/v1/audit", _audited, project=project, actor=actor, action=action, since=since)
    return pages(asked, limit=limit)


def _audited(found: Any) -> Page[AuditEntry]:
    return Page([AuditEntry.of(one) for one in found["audit"]], found.get("next"))
