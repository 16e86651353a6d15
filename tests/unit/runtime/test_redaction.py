"""No secret reaches a log: in a field, a sentence, an error, a library's words."""

import base64
import json
import logging
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prelabel_runtime import log
from prelabel_runtime.http.credentials import new_credential
from prelabel_runtime.redaction import HIDDEN, Redaction, secrets_given

KEY = new_credential(random.Random(7).randbytes).key
PLAIN = "the-canary-that-nothing-tells-by-its-form"
_JWT = ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in (b'{"alg":"none"}', b'{"sub":1}', b"x"))

FORMS = [
    KEY,
    "pl_" + "aB3-_" * 8,
    "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
    "sk-proj-abcdefghijklmnop",
    "hf_abcdefghijklmnopqrstuvwx",
    "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
    "AKIAIOSFODNN7EXAMPLE",
    _JWT,
    "-----BEGIN PRIVATE KEY-----\nMIIEvQ\n-----END PRIVATE KEY-----",
]
"""Secrets that are known by their form, wherever they stand."""

WITHIN = [
    "Authorization: Bearer {}",
    "authorization={}",
    '{{"password": "{}"}}',
    "{{'api_key': '{}'}}",
    "(b'authorization', b'{}')",
    "Cookie: a=b; session={}; c=d",
    "mongodb://user:{}@host:27017/prelabel",
    "kafka sasl_password='{}' was refused",
    "client-secret={}&grant=x",
    "webhook-signature: v1,{}",
    "token: {}",
]
"""Places that tell that something is a secret, whatever it looks like."""


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """What was logged since."""
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", list(root.handlers))
    monkeypatch.setattr(root, "level", root.level)
    return lambda: capsys.readouterr().err


@pytest.mark.parametrize("secret", FORMS)
@pytest.mark.parametrize("around", ["{}", "see {} there", "url?token={}&x=1", "[{}]", "'{}'", "a\n{}\nb"])
def test_what_has_the_form_of_a_secret_is_hidden_wherever_it_stands(secret: str, around: str) -> None:
    assert secret[12:] not in Redaction().text(around.format(secret))


@pytest.mark.parametrize("place", WITHIN)
def test_what_stands_behind_a_telling_name_is_hidden(place: str) -> None:
    shown = Redaction().text(place.format("hunter2hunter2"))
    assert "hunter2" not in shown
    assert HIDDEN in shown


def test_of_a_key_its_id_stays_so_that_it_can_be_found_and_revoked() -> None:
    assert Redaction().text(f"who sent {KEY}?") == f"who sent {KEY[:16]}{HIDDEN}?"


@pytest.mark.parametrize(
    "said",
    [
        "no API key: set PRELABEL_API_KEY or PRELABEL_API_KEY_FILE (at least 16 characters)",
        "http://127.0.0.1:8080/v1/projects/mails/tasks?limit=3",
        "prelabel.retry.inference-spacy-bulk",
        "hf-internal-testing/tiny-random-bert",
        "0191d4a8-7a0e-7cc3-98c4-dc0c0c07398f",
        "a basic authentication scheme, or bearer tokens",
        "tokens: 3 of 4 left",
        "mongodb://host:27017/prelabel",
        "task-list at /v1/projects/desk-lamps",
    ],
)
def test_what_is_no_secret_stays_readable(said: str) -> None:
    assert Redaction().text(said) == said


@pytest.mark.parametrize("pretty", [False, True])
@pytest.mark.parametrize("secret", [*FORMS[:4], PLAIN])
def test_no_line_shows_a_secret_in_any_of_its_parts(logged: Callable[[], str], secret: str, pretty: bool) -> None:
    log.configure(pretty=pretty, hidden=[PLAIN])
    ours, theirs = log.get("prelabel.test"), logging.getLogger("a.library")
    ours.warning("a field", reason=f"was {secret}", nested={"a": [f"x {secret}", {"b": secret}]}, raw=secret.encode())
    ours.warning(f"a sentence with {secret}")
    theirs.warning("theirs: %s", f"x {secret}")
    try:
        try:
            raise ValueError(f"inner {secret}")
        except ValueError as inner:
            raise RuntimeError(f"outer {secret}") from inner
    except RuntimeError as error:
        ours.error("failed", exc_info=error, error=error)
        theirs.exception("theirs failed")
    said = logged()
    assert said.count("RuntimeError") >= 2
    assert secret[12:] not in said


def test_a_field_is_hidden_by_its_name_whatever_it_holds(logged: Callable[[], str]) -> None:
    log.configure()
    names = ["password", "api_key", "apiKey", "sasl_password", "Authorization", "set-cookie", "client_secret", "token"]
    log.get("prelabel.test").info("said", keys=3, partition_key="mails", **dict.fromkeys(names, "hunter2"))
    line: dict[str, Any] = json.loads(logged())
    assert {name: line[name] for name in names} == dict.fromkeys(names, HIDDEN)
    assert (line["keys"], line["partition_key"]) == (3, "mails")


def test_a_secret_that_a_long_field_is_cut_through_is_hidden_before(logged: Callable[[], str]) -> None:
    log.configure()
    log.get("prelabel.test").info("said", detail="x" * (log.MAX_FIELD - 20) + " " + KEY)
    assert KEY[16:19] not in json.loads(logged())["detail"]


def test_secrets_that_the_process_was_given_are_known_from_its_environment(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("first-secret\nsecond-secret\n")
    environment = {
        "PRELABEL_API_KEY": "a-secret",
        "PRELABEL_KAFKA_PASSWORD_FILE": str(file),
        "PRELABEL_WEBHOOKS_KEY_FILE": str(tmp_path / "missing"),
        "PRELABEL_PORT": "8080",
        "PRELABEL_OIDC_CLIENT_SECRET": "",
        "PRELABEL_SECRET_NER": "third-secret",
        "PRELABEL_SECRET_NER_HOSTS": '["ner.example.org"]',
        "PATH": "/bin",
    }
    assert secrets_given(environment) == ["a-secret", "first-secret", "second-secret", "third-secret"]


def test_a_short_given_secret_does_not_hide_half_of_what_is_said() -> None:
    assert Redaction(["a", "", "run"]).text("a run was run") == "a run was run"


@pytest.mark.parametrize(
    "said", ["a-" * 500_000, "token" * 200_000, "://a:" * 200_000, "eyJaaaaaaaa." * 80_000, "x" * 1_000_000]
)
def test_what_a_stranger_sends_does_not_make_it_slow(said: str) -> None:
    Redaction().text(said)  # a million characters: were it not linear, it would take hours


@given(st.text())
def test_any_text_comes_through_and_hiding_again_changes_nothing(text: str) -> None:
    once = Redaction().text(text)
    assert Redaction().text(once) == once
