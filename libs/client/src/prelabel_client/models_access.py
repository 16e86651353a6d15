"""Who may come in: keys, oneself, the audit."""

from typing import Any

from .models import Result


class Me(Result):
    """Who calls, by the key."""

    id: str
    kind: str | None = None
    name: str
    role: str
    projects: tuple[str, ...] | None = None
    """The projects it reaches; None: all."""
    expires_ms: int | None = None
    now_ms: int | None = None
    """The time at the server."""


class Key(Result):
    """A key without what opens anything."""

    id: str
    prefix: str
    name: str
    role: str
    projects: tuple[str, ...] = ()
    """The projects it reaches; none: all."""
    created_ms: int | None = None
    expires_ms: int | None = None
    last_used_ms: int | None = None
    revoked: bool = False


class NewKey(Key):
    """A key that was made: `key` is what is sent, and is never shown again."""

    key: str

    def __repr_args__(self) -> Any:
        return [(name, "…" if name == "key" else value) for name, value in super().__repr_args__()]


class Link(Result):
    """An address that opens the pages once."""

    url: str
    expires_ms: int | None = None


class Provider(Result):
    """A provider that has announced itself."""

    provider: str
    state: str = "running"
    """running, or gone: not heard of for longer than it promised."""
    seen_ms: int | None = None
    """When it was heard of last, by its own clock."""
    package: str
    kinds: tuple[str, ...]
    settings_schema: dict[str, Any] = {}
    trains: bool | None = None
    """Whether its models can learn; None: it does not say."""


class AuditEntry(Result):
    """Who changed what."""

    id: str | None = None
    action: str
    actor: str | None = None
    project: str | None = None
    subject: str | None = None
    at_ms: int | None = None
