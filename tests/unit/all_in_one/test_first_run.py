"""The first start makes what must be secret, once, and for its owner only."""

import base64
from pathlib import Path

import pytest
from prelabel_all_in_one.first_run import make_webhook_key
from prelabel_all_in_one.settings import WEBHOOK_KEYS, AllInOneSettings
from prelabel_webhooks.settings import WebhooksSettings
from prelabel_webhooks.vault import Vault


def test_the_key_of_webhooks_secrets_is_made_once_and_can_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRELABEL_DATA", str(tmp_path))
    settings = AllInOneSettings()
    make_webhook_key(settings)
    file = tmp_path / WEBHOOK_KEYS
    written = file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    assert len(base64.b64decode(written)) == 32
    make_webhook_key(settings)
    assert file.read_text() == written
    keys = WebhooksSettings(keys_file=file).secret_keys()
    vault = Vault(keys, lambda count: b"n" * count)
    assert vault.open(vault.seal("secret", purpose="p"), purpose="p") == "secret"
