"""Keys at the door: who may make which, and how they look."""

from typing import Annotated, Any, Literal

from prelabel_contract.base import Name, Slug
from prelabel_contract.events import KeyChanged, KeyUsed
from prelabel_contract.sentences import Described
from prelabel_runtime.http.access import Caller
from prelabel_runtime.http.credentials import Credential, prefix_of
from prelabel_runtime.http.problems import Problem
from pydantic import ConfigDict, Field

LONGEST_SECONDS = 10 * 365 * 86_400


class KeyWanted(Described):
    """A key to be made."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: Name
    """What people call it."""
    role: Literal["admin", "reviewer", "labeler", "service"]
    """What it is for."""
    projects: Annotated[tuple[Slug, ...], Field(max_length=1000)] | None = None
    """The projects it reaches. Empty: all. Left out: those of the key that makes it."""
    expires_in_seconds: Annotated[int, Field(ge=1, le=LONGEST_SECONDS)] | None = None
    """When it ends; left out: never."""


def reach_of(wanted: KeyWanted, caller: Caller) -> tuple[str, ...]:
    """The projects of a new key; none means all. Raises a 403 for more than its maker reaches."""
    own = tuple(sorted(caller.projects or ()))
    if wanted.projects is None:
        return own
    if caller.projects is not None and not (wanted.projects and caller.projects.issuperset(wanted.projects)):
        raise Problem(403, "forbidden_reach", f"this key can make keys for its own projects only: {', '.join(own)}")
    return tuple(sorted(set(wanted.projects)))


def made_key(
    credential: Credential,
    *,
    kind: str,
    name: str,
    caller: Caller,
    reach: tuple[str, ...],
    role: str,
    now_ms: int,
    seconds: int | None,
) -> KeyChanged:
    """What is kept, and told to every service, of a new key, session or link."""
    return KeyChanged(
        id=credential.id,
        kind=kind,
        name=name,
        hash=credential.hash,
        role=role,
        projects=reach,
        created_ms=now_ms,
        created_by=caller.id,
        expires_ms=None if seconds is None else now_ms + seconds * 1000,
    )  # fmt: skip


def within(row: KeyChanged, caller: Caller) -> bool:
    """Whether the caller may know of a key: all that it opens is the caller's."""
    return caller.projects is None or (bool(row.projects) and caller.projects.issuperset(row.projects))


def shown_key(row: KeyChanged, used: KeyUsed | None) -> dict[str, Any]:
    """A key without what opens anything."""
    return {
        "id": row.id,
        "kind": row.kind,
        "prefix": prefix_of(row.id),
        "name": row.name,
        "role": row.role,
        "projects": list(row.projects),
        "created_ms": row.created_ms,
        "created_by": row.created_by,
        "expires_ms": row.expires_ms,
        "last_used_ms": used.at_ms if used else None,
        "revoked": row.revoked,
    }
