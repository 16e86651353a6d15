"""`prelabel profile …`: where Prelabel is, and with which key."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from .. import profiles
from ..errors import Refused
from ..profiles import Connection
from .options import Json, Profile
from .output import Out

profile = typer.Typer(help="Profiles: where Prelabel is, and with which key.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="The profile's name.", metavar="NAME")]


@profile.command()
def add(
    name: Name,
    address: Annotated[str, typer.Option("--address", help="http://HOST:PORT or https://HOST.")],
    key_file: Annotated[str, typer.Option("--key-file", help="A file that holds the key; - for standard input.")] = "-",
    health: Annotated[str | None, typer.Option("--health", help="Where /readyz is, for status and doctor.")] = None,
    project: Annotated[str | None, typer.Option("--project", help="The project that is meant by default.")] = None,
    json: Json = False,
) -> None:
    """Keep an address and a key, and use them from now on.

    The key is read from a file, or typed: a command line can be seen by others.

    \b
    Example:
      prelabel profile add work --address https://prelabel.example.org --key-file ~/key
    """
    if key_file == "-" and sys.stdin.isatty():
        import getpass

        key = getpass.getpass("key: ")
    else:
        key = (sys.stdin.read() if key_file == "-" else Path(key_file).read_text()).strip()
    found = profiles.connection(address, key)
    path = profiles.keep(name, Connection(found.address, key, health, project), default=True)
    _tell(Out(json=json), name, f"kept in {path}")


@profile.command("list")
def list_(json: Json = False) -> None:
    """List the profiles; keys are not shown.

    \b
    Example:
      prelabel profile list
    """
    out, known = Out(json=json), profiles.read()
    rows = [(name, one.address, one.project, name == known.default) for name, one in sorted(known.profiles.items())]
    if json:
        for name, address, project, used in rows:
            out.value({"name": name, "address": address, "project": project, "default": used})
        return
    shown = (("*" if used else "", name, address, project) for name, address, project, used in rows)
    out.rows(("", "profile", "address", "project"), shown, nothing="none yet: `prelabel up` writes one")


@profile.command()
def show(name: Profile = None, json: Json = False) -> None:
    """Show the address and the beginning of the key that are used.

    \b
    Example:
      prelabel profile show
    """
    out, found = Out(json=json), profiles.connection(profile=name)
    said = {
        "profile": found.profile or "(environment)",
        "address": found.address,
        "key": f"{found.key[:6]}…",
        "project": found.project,
        "health": found.health,
        "file": str(profiles.file()),
    }
    if json:
        out.value(said)
    else:
        out.fields(said)


@profile.command()
def use(name: Name, json: Json = False) -> None:
    """Use another profile from now on.

    \b
    Example:
      prelabel profile use work
    """
    known = profiles.read()
    if name not in known.profiles:
        raise Refused(f"there is no profile {name!r}; profiles are {', '.join(sorted(known.profiles)) or '(none)'}")
    profiles.keep(name, known.profiles[name], default=True)
    _tell(Out(json=json), name, "is used")


@profile.command()
def remove(name: Name, json: Json = False) -> None:
    """Forget an address and a key.

    \b
    Example:
      prelabel profile remove work
    """
    profiles.drop(name)
    _tell(Out(json=json), name, "is forgotten")


def _tell(out: Out, name: str, what: str) -> None:
    if out.json:
        out.value({"profile": name})
    else:
        out.line(f"{name} {what}")
