"""Profiles: where Prelabel is, with which key, and who can read that."""

import stat
from pathlib import Path

import pytest
from prelabel_client import profiles
from prelabel_client.errors import Refused
from prelabel_client.profiles import Connection, connection

LOCAL = Connection("http://127.0.0.1:8080", "pl_local-key")
WORK = Connection("https://prelabel.example.org", "pl_work-key", project="mails")


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Profiles of this test only."""
    for name in ("PRELABEL_ADDRESS", "PRELABEL_KEY", "PRELABEL_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "config" / "prelabel" / "profiles.json"
    monkeypatch.setenv("PRELABEL_PROFILES", str(path))
    return path


def test_the_file_and_its_folder_are_their_owners_only(file: Path) -> None:
    profiles.keep("local", LOCAL, default=True)
    profiles.keep("work", WORK, default=False)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert [path.name for path in file.parent.iterdir()] == [file.name]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_file_that_others_can_read_is_refused(file: Path, mode: int) -> None:
    profiles.keep("local", LOCAL, default=True)
    file.chmod(mode)
    with pytest.raises(Refused, match="chmod 600"):
        connection()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"profiles": 7}', '{"profiles": {"a": {}}}'])
def test_a_broken_file_is_told_in_one_line(file: Path, content: str) -> None:
    file.parent.mkdir(parents=True)
    file.write_text(content)
    file.chmod(0o600)
    with pytest.raises(Refused, match="holds no profiles"):
        connection()


def test_the_default_profile_is_used_and_others_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    profiles.keep("local", LOCAL, default=True)
    profiles.keep("work", WORK, default=False)
    assert connection().address == LOCAL.address
    found = connection(profile="work")
    assert (found.address, found.key, found.project) == (WORK.address, WORK.key, "mails")
    monkeypatch.setenv("PRELABEL_PROFILE", "work")
    assert connection().address == WORK.address
    with pytest.raises(Refused, match="profiles are local, work"):
        connection(profile="home")


def test_the_environment_goes_before_the_default_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    profiles.keep("local", LOCAL, default=True)
    monkeypatch.setenv("PRELABEL_ADDRESS", "http://10.0.0.1:8080/")
    monkeypatch.setenv("PRELABEL_KEY", "pl_from-environment")
    assert connection() == Connection("http://10.0.0.1:8080", "pl_from-environment")
    assert connection("http://10.0.0.2", "pl_argument").key == "pl_argument"
    assert connection(profile="local").key == LOCAL.key


def test_a_profiles_key_is_never_sent_to_another_address(monkeypatch: pytest.MonkeyPatch) -> None:
    profiles.keep("local", LOCAL, default=True)
    monkeypatch.setenv("PRELABEL_ADDRESS", "https://elsewhere.example.org")
    with pytest.raises(Refused, match="no key for https://elsewhere"):
        connection()
    with pytest.raises(Refused, match="no key for https://argument"):
        connection("https://argument.example.org")
    monkeypatch.setenv("PRELABEL_ADDRESS", LOCAL.address + "/")
    assert connection().key == LOCAL.key


def test_who_knows_nothing_is_told_how_to_begin() -> None:
    with pytest.raises(Refused, match="prelabel up"):
        connection()


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("http://[::1", "pl_key"),
        ("http://127.0.0.1:99999", "pl_key"),
        ("http://", "pl_key"),
        ("http://x y", "pl_key"),
        ("127.0.0.1:8080", "pl_key"),
        ("ftp://host", "pl_key"),
        ("http://host", "two\nlines"),
        ("http://host", "schlüssel"),
    ],
)
def test_an_address_or_a_key_that_is_none_is_refused(address: str, key: str) -> None:
    with pytest.raises(Refused):
        connection(address, key)


def test_a_removed_profile_is_gone_and_another_becomes_the_default() -> None:
    profiles.keep("local", LOCAL, default=True)
    profiles.keep("work", WORK, default=False)
    profiles.drop("local")
    assert connection().address == WORK.address
    with pytest.raises(Refused, match="no profile 'local'"):
        profiles.drop("local")


def test_a_key_is_not_shown_by_accident() -> None:
    assert "pl_work-key" not in repr(WORK)
