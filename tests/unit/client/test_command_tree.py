"""What holds for every command, whatever it does."""

import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from prelabel_client.command.exits import MEANINGS, Ended, ending
from prelabel_client.command.main import application
from prelabel_client.command.output import cell, clean
from prelabel_client.errors import Defect, NoAccess, NotFound, Refused, TryLater, Unreachable


def commands() -> Iterator[tuple[str, Any]]:
    for name, command in typer.main.get_command(application()).commands.items():  # type: ignore[attr-defined]
        inner = getattr(command, "commands", None)
        if inner is None:
            yield name, command
        else:
            yield from ((f"{name} {word}", one) for word, one in inner.items())


COMMANDS = dict(commands())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_what_it_does_in_a_line_and_gives_an_example(name: str) -> None:
    said = COMMANDS[name].help
    assert len(said.splitlines()[0].partition(". ")[0]) <= 66, "it would be cut off in the list of commands"
    assert f"prelabel {name}" in said.partition("Example:")[2]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_speaks_json_and_explains_its_options(name: str) -> None:
    options = {word: parameter for parameter in COMMANDS[name].params for word in parameter.opts}
    assert "--json" in options
    for word, parameter in options.items():
        assert parameter.help, word


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Refused("no"), 2),
        (Unreachable("nobody"), 3),
        (TryLater("busy", after=3), 3),
        (NoAccess("no key"), 4),
        (NotFound("nothing"), 5),
        (Defect("ours"), 70),
        (ZeroDivisionError("ours too"), 70),
        (FileNotFoundError(2, "No such file or directory", "x.csv"), 2),
        (UnicodeEncodeError("utf-8", "\udcff", 0, 1, "surrogates not allowed"), 2),
        (KeyboardInterrupt(), 130),
        (Ended(1), 1),
    ],
)
def test_every_error_has_its_exit_code_and_one_line(
    error: BaseException, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    def command() -> None:
        raise error

    assert ending(command) == code
    assert code in MEANINGS
    said = capsys.readouterr().err
    assert said.count("\n") == (0 if isinstance(error, (KeyboardInterrupt, Ended)) else 1)
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("error", "code"), [(KeyboardInterrupt(), 130), (BrokenPipeError(errno.EPIPE, "Broken pipe"), 0)]
)
def test_an_interruption_and_a_pipe_that_is_closed_end_a_command_as_promised(
    error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = typer.Typer()

    @app.command()
    def one() -> None:
        raise error

    with Path(os.devnull).open("w") as nowhere:  # the command turns its own output off
        monkeypatch.setattr(sys, "stdout", nowhere)
        assert ending(lambda: app([], standalone_mode=False)) == code


@pytest.mark.parametrize("words", [[], ["project"]])
def test_the_command_alone_prints_its_help_line_by_line(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert ending(lambda: application()(words, standalone_mode=False, prog_name="prelabel")) == 2
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("Usage: prelabel")
    assert any(line.startswith(("  create", "  submit")) for line in said)


def test_what_others_wrote_does_not_steer_a_terminal() -> None:
    assert clean("a\x1b[31mb\r\nc\x07\x9b2J\u2028d") == "a [31mb c 2J d"
    assert cell(["x\x1b", 1, None, True, 0.5]) == "x, 1, , yes, 0.50"
