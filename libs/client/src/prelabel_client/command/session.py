"""What commands begin with: a client, and the project that is meant."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..errors import Refused

if TYPE_CHECKING:
    from ..client import Client

PROJECT = "PRELABEL_PROJECT"


@contextmanager
def session(profile: str | None) -> Iterator["Client"]:
    """A client of the profile, or of what stands in for it."""
    from ..client import Client

    with Client(profile=profile) as client:
        yield client


def meant(client: "Client", project: str | None) -> str:
    """The project that is meant. Raises `Refused` where that is not clear."""
    named = project or os.environ.get(PROJECT) or client.connection.project
    if named:
        return named
    known = [one.id for one in client.projects()]
    match known:
        case [only]:
            return only
        case []:
            raise Refused("there is no project yet: `prelabel project create NAME --labels a,b,c` makes one")
        case _:
            listed = ", ".join(known[:10])
            raise Refused(f"which project? Say --project, or `prelabel project use ID`; there are {listed}")
