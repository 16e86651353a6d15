"""`prelabel key …`: who may come in."""

import re
from typing import Annotated

import typer

from ..errors import Refused
from .options import Json, Limit, Profile
from .output import Out, moment
from .session import session

key = typer.Typer(help="Keys to the API: made, listed, revoked.", no_args_is_help=True)
ROLES = ("admin", "reviewer", "labeler", "service")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


@key.command()
def create(
    name: Annotated[str, typer.Argument(help="What people call it.")],
    role: Annotated[str, typer.Option("--role", help="admin, reviewer, labeler or service.")],
    project: Annotated[
        list[str] | None, typer.Option("--project", "-p", help="A project it reaches; may be repeated; else all.")
    ] = None,
    expires: Annotated[
        str | None, typer.Option("--expires", help="When it ends: 12h, 90d; else never.", metavar="TIME")
    ] = None,
    profile: Profile = None,
    json: Json = False,
) -> None:
    """Make a key; it is shown this once.

    It stands alone on standard output.

    \b
    Example:
      prelabel key create "the mail system" --role service --project mails --expires 90d
      prelabel key create ci --role service > key
    """
    out = Out(json=json)
    if role not in ROLES:
        raise Refused(f"--role {role}: use {', '.join(ROLES)}")
    seconds = seconds_of(expires, "--expires") if expires is not None else None
    with session(profile) as client:
        made = client.create_key(name, role, projects=project, expires_in_seconds=seconds)  # type: ignore[arg-type]
    if json:
        out.value(made)
        return
    out.line(made.key)
    reach = ", ".join(made.projects) or "all projects"
    out.note(f"{made.prefix}… ({made.role}, {reach}); it is not shown again. Revoke it: prelabel key revoke {made.id}")


@key.command("list")
def list_(limit: Limit = 100, profile: Profile = None, json: Json = False) -> None:
    """List keys, without what opens anything.

    \b
    Example:
      prelabel key list
    """
    out = Out(json=json)
    with session(profile) as client:
        found = client.keys(limit=limit)
        if json:
            for one in found:
                out.value(one)
            return
        rows = (
            (k.id, k.name, k.role, k.projects or "all", moment(k.last_used_ms), moment(k.expires_ms), k.revoked)
            for k in found
        )
        out.rows(("key", "name", "role", "projects", "last used", "expires", "revoked"), rows, nothing="none yet")


@key.command()
def revoke(
    key_id: Annotated[str, typer.Argument(help="The key's id, from the list.", metavar="ID")],
    profile: Profile = None,
    json: Json = False,
) -> None:
    """Revoke a key: no service takes it from now on.

    \b
    Example:
      prelabel key revoke 4f9c1d2e
    """
    out = Out(json=json)
    with session(profile) as client:
        found = client.revoke_key(key_id)
    if json:
        out.value(found)
    else:
        out.line(f"{found.id} ({found.name}) is revoked")


def seconds_of(text: str, option: str) -> int:
    """90d as seconds. Raises `Refused`."""
    found = re.fullmatch(r"(\d{1,6})\s*([smhdw])", text.strip())
    if found is None:
        raise Refused(f"{option} {text}: write a number and s, m, h, d or w, such as 90d")
    return int(found.group(1)) * _UNITS[found.group(2)]
