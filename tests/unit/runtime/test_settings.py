"""Settings: what makes no sense is refused in one line that names the variable and never shows a secret."""

from pathlib import Path
from typing import Any

import pytest
from prelabel_ingestion.settings import IngestionSettings
from prelabel_runtime.clock import SystemClock
from prelabel_runtime.errors import Refused
from prelabel_runtime.run import open_bus, open_store
from prelabel_runtime.settings import RuntimeSettings

KEY = "a-key-of-some-length"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("PRELABEL_PORT", "x", "PRELABEL_PORT: "),
        ("PRELABEL_PORT", "70000", "PRELABEL_PORT: "),
        ("PRELABEL_PARTITIONS", "0", "PRELABEL_PARTITIONS: "),
        ("PRELABEL_PREFIX", "a b", "PRELABEL_PREFIX: "),
        ("PRELABEL_LOG_LEVEL", "loud", "PRELABEL_LOG_LEVEL: "),
        ("PRELABEL_MONGO_DRIVER", "odbc", "PRELABEL_MONGO_DRIVER: "),
        ("PRELABEL_HOSTS", '["https://labels.example.org"]', "PRELABEL_HOSTS at /0: "),
        ("PRELABEL_HOSTS", "labels.example.org", "PRELABEL_HOSTS: write it as JSON"),
    ],
)
def test_a_setting_out_of_its_range_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(Refused, match=f"^{said}") as refused:
        RuntimeSettings()
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("not json", "PRELABEL_INGESTION_INBOUND: write it as JSON"),
        ('{"crm": {"project": ["a"]}}', "PRELABEL_INGESTION_INBOUND at /crm/project"),
        ('{"CRM": {"projects": ["a"]}}', "PRELABEL_INGESTION_INBOUND at /CRM"),
        ('{"crm": {"projects": ["a"], "lanes": ["quick"]}}', "PRELABEL_INGESTION_INBOUND at /crm/lanes/0"),
    ],
)
def test_a_setting_within_json_is_named_with_its_place(monkeypatch: pytest.MonkeyPatch, value: str, said: str) -> None:
    monkeypatch.setenv("PRELABEL_INGESTION_INBOUND", value)
    with pytest.raises(Refused, match=f"^{said}"):
        IngestionSettings()


def test_the_key_comes_from_the_environment_or_a_file(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(f"{KEY}\n")
    assert RuntimeSettings(api_key=KEY).key() == KEY
    assert RuntimeSettings(api_key_file=file).key() == KEY


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "no API key: set PRELABEL_API_KEY or PRELABEL_API_KEY_FILE"),
        ({"api_key": "short-key"}, "too short"),
        ({"api_key_file": Path("/nowhere/key")}, "PRELABEL_API_KEY_FILE cannot be read"),
    ],
)
def test_without_a_key_that_is_one_nothing_starts(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(Refused, match=said) as refused:
        RuntimeSettings(**settings).key()
    assert "short-key" not in str(refused.value)


def test_a_key_is_never_shown_by_the_settings_that_hold_it() -> None:
    assert KEY not in repr(RuntimeSettings(api_key=KEY))


@pytest.mark.parametrize("bus", ["", "kafka", "kafka://", "amqp://host", "sqlite://", "sqlite:///", "sqlite:relative"])
def test_a_bus_that_is_none_is_refused_with_what_would_be_one(bus: str) -> None:
    with pytest.raises(Refused, match="sqlite:///"):
        open_bus(RuntimeSettings(bus=bus), SystemClock())


@pytest.mark.parametrize("store", ["", "mongodb://", "postgres://user:hunter2hunter2@host/db", "sqlite:///"])
def test_a_store_that_is_none_is_refused_and_no_password_is_shown(store: str) -> None:
    with pytest.raises(Refused, match="sqlite:///") as refused:
        open_store(RuntimeSettings(store=store), SystemClock())
    assert "hunter2hunter2" not in str(refused.value)
