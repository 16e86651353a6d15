"""What `prelabel train --watch` says of a version that was promoted: whether anything answers with it."""

import pytest
from prelabel_client.command.following import answers
from prelabel_client.command.output import counted
from prelabel_client.models_learning import Version

SERVES = {"host": "a", "state": "serving", "epoch": 3, "at_ms": 2}
REFUSES = {"host": "b", "state": "refused", "epoch": 3, "at_ms": 1, "detail": "pickle"}


def version(state: str, *loads: dict[str, object], refused: str | None = None) -> Version:
    verdict = {"outcome": "promote", "reason": "better"}
    about = {"version": "3-abc", "number": 3, "model": "topics", "provider": "spacy", "training": "mails/topics/3"}
    return Version.of(
        {**about, "verdict": verdict, "state": state, "judged_ms": 1, "loads": list(loads), "refused": refused}
    )


@pytest.mark.parametrize("runs", [True, False])
def test_a_version_that_any_process_has_loaded_answers(runs: bool) -> None:
    assert answers(version("serving", SERVES, REFUSES), runs=runs) == "topics now answers with version 3-abc"


def test_a_version_that_nobody_has_loaded_yet_is_waited_for_while_its_provider_runs() -> None:
    assert answers(version("serving"), runs=True) is None
    assert answers(version("serving", REFUSES), runs=True) is None, "of several, one may be broken"


def test_where_nothing_of_the_provider_runs_that_is_said_and_nobody_waits() -> None:
    said = answers(version("serving"), runs=False)
    assert said == "3-abc is promoted, and nothing answers with it: no process of the provider spacy runs"


def test_a_version_that_was_refused_or_replaced_meanwhile_is_not_waited_for() -> None:
    refused = answers(version("refused", REFUSES, refused="pickle"), runs=True)
    assert refused == "3-abc was refused where it was to be loaded: pickle"
    assert answers(version("served"), runs=True) == (
        "3-abc does not serve any more: something else was promoted meanwhile"
    )


@pytest.mark.parametrize(("number", "said"), [(0, "0 tasks"), (1, "1 task"), (2, "2 tasks"), (1200, "1,200 tasks")])
def test_one_thing_is_not_said_to_be_several(number: int, said: str) -> None:
    assert counted(number, "task") == said
    assert counted(number, "person", "people").endswith("person" if number == 1 else "people")
