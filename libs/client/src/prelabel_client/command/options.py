"""Options that many commands share."""

from typing import Annotated

import typer

Profile = Annotated[
    str | None,
    typer.Option("--profile", help="The profile to use (see `prelabel profile list`).", metavar="NAME"),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON: one value per line.")]
Project = Annotated[
    str | None,
    typer.Option(
        "--project", "-p", help="The project; else PRELABEL_PROJECT, the profile's, or the only one.", metavar="ID"
    ),
]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, help="At most so many.")]
