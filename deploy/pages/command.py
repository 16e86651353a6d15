"""docs/command.md: every command of `prelabel`, from its own help."""

import contextlib
import io
import os
from collections.abc import Iterator, Sequence

import typer.main
from prelabel_client.command.exits import MEANINGS
from prelabel_client.command.main import application

WIDTH = 100
_HEAD = """# The command `prelabel`

Made by `make golden` from the command's own help. `prelabel --install-completion` completes it in your shell.

- `prelabel up` starts Prelabel here and writes a profile; for one that runs elsewhere, `prelabel profile add`. Or set
  `PRELABEL_ADDRESS` and `PRELABEL_KEY`. Profiles are kept in your configuration folder, for your eyes only.
- `--project` names the project; else `PRELABEL_PROJECT`, the profile's (`prelabel project use`), or the only one.
- `--json` prints a JSON value per line. In a pipe, tables are lines with tabs between cells, without colours.
- What was asked for goes to standard output, everything else to standard error. `-` is standard input.
"""


def page() -> str:
    """The page."""
    os.environ.pop("PRELABEL_DATA", None)  # a default that is read from the environment would be shown
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    yield _HEAD
    yield "| exit code | means |"
    yield "| --- | --- |"
    yield from (f"| {code} | {meaning} |" for code, meaning in MEANINGS.items())
    for words in _commands():
        yield ""
        yield f"{'#' * (min(len(words), 2) + 1)} prelabel {' '.join(words)}"
        yield ""
        yield "```"
        yield _help(words)
        yield "```"
    yield ""


def _commands() -> Iterator[tuple[str, ...]]:
    for name, command in typer.main.get_command(application()).commands.items():  # type: ignore[attr-defined]
        yield (name,)
        yield from ((name, inner) for inner in getattr(command, "commands", ()))


def _help(words: Sequence[str]) -> str:
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        application()([*words, "--help"], prog_name="prelabel", standalone_mode=False, terminal_width=WIDTH)
    return "\n".join(line.rstrip() for line in said.getvalue().strip("\n").splitlines())
