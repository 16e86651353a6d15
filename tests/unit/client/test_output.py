"""What others wrote steers no terminal, whichever way a command prints it; as JSON it is still what they wrote."""

import json

import pytest
from prelabel_client.command.exits import say
from prelabel_client.command.output import Out

WRITTEN = "a\x1b[31m\x07b\x7f\x9b2J\x85c\u202etxt.exe\u2028d\re"
STEERING = {*map(chr, range(32)), *map(chr, range(127, 160)), "\u2028", "\u2029", "\u202d", "\u202e"} - {"\n", "\t"}


@pytest.mark.parametrize("how", ["line", "note", "value", "rows", "fields"])
def test_nothing_that_others_wrote_steers_a_terminal(how: str, capsys: pytest.CaptureFixture[str]) -> None:
    out = Out()
    match how:
        case "rows":
            out.rows(("column", WRITTEN), [(WRITTEN, [WRITTEN])])
        case "fields":
            out.fields({"field": WRITTEN})
        case _:
            getattr(out, how)(WRITTEN)
    said = capsys.readouterr()
    assert "txt.exe" in said.out + said.err
    assert not STEERING.intersection(said.out + said.err)


def test_an_error_steers_no_terminal_and_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    say(f"{WRITTEN}\n{WRITTEN}")
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert not STEERING.intersection(said)


def test_json_says_what_was_written(capsys: pytest.CaptureFixture[str]) -> None:
    Out(json=True).value({WRITTEN: [WRITTEN]})
    assert json.loads(capsys.readouterr().out) == {WRITTEN: [WRITTEN]}
