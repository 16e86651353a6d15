"""Learning by command line: people annotate, a version is made, and what serves is looked at and changed."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.test_command import Command, until
from tests.rig.processes import ALL_IN_ONE, Prelabel

LABELS = ("urgent", "later")
TASKS = 60


@pytest.fixture(scope="module")
def prelabel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prelabel]:
    """Prelabel with a provider whose trainer learns in no time."""
    with Prelabel.all_in_one(tmp_path_factory.mktemp("prelabel"), providers=["ledger"]) as running:
        yield running


@pytest.fixture(scope="module")
def command(prelabel: Prelabel, tmp_path_factory: pytest.TempPathFactory) -> Command:
    """The command in a project whose tasks are annotated: the first word of each says what it is."""
    made = Command(tmp_path_factory.mktemp("command"))
    (made.folder / "key").write_text(prelabel.key)
    health = f"http://127.0.0.1:{prelabel.process(ALL_IN_ONE).health_port}"
    made("profile", "add", "here", "--address", prelabel.address, "--key-file", "key", "--health", health)
    question = {"name": "label", "kind": "choice", "field": "text", "labels": list(LABELS), "multiple": False}
    model = {"name": "first", "provider": "ledger", "settings": {"choice": LABELS[0]}}
    project = {"id": "mails", "label_set": {"questions": [question]}, "models": [model]}
    (made.folder / "project.json").write_text(json.dumps(project))
    made("project", "set", "project.json")
    tasks = [{"id": f"t{n}", "data": {"text": f"{'now' if n % 2 else 'soon'} {n}"}} for n in range(TASKS)]
    made("submit", "-", "--project", "mails", "--format", "jsonl", "--watch", stdin=_lines(tasks))
    choice = {"kind": "choice", "field": "text", "question": "label"}
    said = [
        {"task": f"t{n}", "annotator": who, "regions": [{**choice, "labels": [LABELS[n % 2]]}]}
        for n in range(TASKS)
        for who in (("ada", "eve") if n < 12 else ("ada",))
    ]
    made("annotate", "--project", "mails", "--file", "-", stdin=_lines(said))
    # Taken is not learned from yet.
    until(lambda: made("quality", "mails", "--json").values[0]["examples"] == TASKS)
    return made


def _lines(values: list[Any]) -> bytes:
    return "".join(json.dumps(value) + "\n" for value in values).encode()


def test_a_model_is_trained_watched_promoted_drawn_and_rolled_back(command: Command) -> None:
    [trained] = command("train", "mails", "--watch", "--json").values
    assert (trained["state"], trained["judged"]["state"]) == ("trained", "serving"), trained
    assert [one["state"] for one in trained["judged"]["loads"]] == ["serving"], "it was waited for"
    version = trained["version"]
    [row] = command("trainings", "mails").rows
    assert row[:2] == ["first/1", "trained"]
    assert "examples" in command("trainings", "mails", "--log", "first/1").out
    [model] = command("models", "mails", "--json").values
    assert model["serving"]["version"] == version
    assert [row[0] for row in command("models", "list", "mails").rows] == [version]
    shown = command("models", "show", version).out
    assert "verdict" in shown
    assert re.search(r"answers in\t\S+ \(after \d+\.\d s, \d+ MiB\)", shown), shown
    [curve] = command("curve", "mails", "--json").values
    assert [point["version"] for point in curve["points"]] == [version]
    assert curve["points"][0]["score"] == pytest.approx(1.0)
    assert (curve["stopping"]["stop"], curve["stopping"]["reason"]) == (True, "nothing_left")
    assert [row[1] for row in command("curve", "mails").rows] == [version]
    assert "settings" in command("models", "rollback", "--reason", "to see").out
    assert command("models", "mails", "--json").values[0]["serving"]["version"] == "settings"
    promoted = command("models", "promote", version)
    assert version in promoted.out
    hint = promoted.err.partition("could be loaded: prelabel ")[2].split()
    assert hint[2:] == [version, "--project", "mails", "--model", "first"]
    assert "answers in" in command(*hint).out


def test_the_quality_of_annotations_is_told_with_its_warnings(command: Command) -> None:
    [quality] = command("quality", "mails", "--json").values
    assert (quality["examples"], quality["annotators"]) == (TASKS, 2)
    assert quality["questions"][0]["agreement"]["value"] == pytest.approx(1.0)
    said = command("quality", "mails")
    assert f"{TASKS} tasks by 2 people" in said.out
    assert "warn" not in said.err


def test_what_makes_no_sense_is_refused_with_what_would(command: Command) -> None:
    assert "there is no model" in command("train", "mails", "--model", "none", code=5).err
    assert "MODEL/NUMBER" in command("trainings", "mails", "--log", "3", code=2).err
    assert "there is no version" in command("models", "promote", "9-none", "--project", "mails", code=5).err
    command("curve", "none-such", code=5)
    command("quality", "none-such", code=5)


def test_why_tasks_have_no_prediction_is_told_with_how_to_list_them(command: Command) -> None:
    question = {"name": "label", "kind": "choice", "field": "text", "labels": list(LABELS), "multiple": False}
    model = {"name": "picky", "provider": "ledger", "settings": {"choice": LABELS[0], "fail_on": "bad"}}
    project = {"id": "notes", "label_set": {"questions": [question]}, "models": [model]}
    (command.folder / "notes.json").write_text(json.dumps(project))
    command("project", "set", "notes.json")
    notes = _lines([{"id": f"n{n}", "data": {"text": f"{'bad' if n % 2 else 'good'} {n}"}} for n in range(6)])
    watch = ("submit", "-", "--project", "notes", "--format", "jsonl", "--watch")
    said = command(*watch, stdin=notes, code=1)
    assert "picky failed at 3 tasks: told" in said.err
    listing = said.err.partition("list them: prelabel ")[2].split()
    assert sorted(one["id"] for one in command(*listing, "--json").values) == ["n1", "n3", "n5"]
    (value,) = command(*watch, "--json", stdin=notes, code=1).values
    (failed,) = value["failures"]
    assert (failed["model"], failed["state"], failed["reason"], failed["tasks"]) == ("picky", "failed", "told", 3)
