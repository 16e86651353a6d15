"""Secrets: sealed at rest, bound to their purpose, and signatures that the reference library verifies."""

import base64
import json
import os
from datetime import UTC, datetime

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st
from prelabel_runtime.errors import Refused
from prelabel_runtime.testing.doubles import counted_bytes
from prelabel_webhooks.signing import ED25519, HMAC, new_secret, shown_secret, signatures
from prelabel_webhooks.vault import Unopenable, Vault
from standardwebhooks.webhooks import Webhook

OLD, NEW = (base64.b64encode(bytes([number]) * 32).decode() for number in (1, 2))


def vault(*keys: str) -> Vault:
    return Vault(keys, os.urandom)


@given(st.text(max_size=200))
def test_what_was_sealed_opens_for_its_purpose_only(secret: str) -> None:
    sealed = vault(OLD).seal(secret, purpose="a")
    assert vault(OLD).open(sealed, purpose="a") == secret
    with pytest.raises(Unopenable):
        vault(OLD).open(sealed, purpose="b")


def test_a_sealed_secret_shows_nothing_and_differs_every_time() -> None:
    one, two = (vault(OLD).seal("whsec_visible", purpose="a") for _ in range(2))
    assert one.sealed != two.sealed
    assert b"visible" not in base64.b64decode(one.sealed)


def test_a_changed_ciphertext_does_not_open() -> None:
    sealed = vault(OLD).seal("secret", purpose="a")
    raw = bytearray(base64.b64decode(sealed.sealed))
    for at in range(len(raw)):
        raw[at] ^= 1
        with pytest.raises(Unopenable):
            vault(OLD).open(sealed.model_copy(update={"sealed": base64.b64encode(raw).decode()}), purpose="a")
        raw[at] ^= 1


def test_keys_are_changed_in_three_steps_and_every_process_opens_everything_in_each() -> None:
    sealed = [vault(OLD).seal("secret", purpose="a")]
    for before, after in (((OLD,), (OLD, NEW)), ((OLD, NEW), (NEW, OLD))):
        for keys in (before, after):  # processes of both settings run side by side
            sealed.append(vault(*keys).seal("secret", purpose="a"))
            opened = {vault(*some).open(one, purpose="a") for some in (before, after) for one in sealed}
            assert opened == {"secret"}
    anew = [vault(NEW, OLD).anew(one, purpose="a") for one in sealed]
    assert {vault(NEW).open(one, purpose="a") for one in anew} == {"secret"}
    with pytest.raises(Unopenable):
        vault(NEW).open(sealed[0], purpose="a")


def test_an_end_stays_when_a_secret_is_sealed_anew() -> None:
    sealed = vault(OLD).seal("secret", purpose="a", expires_ms=17)
    assert vault(NEW, OLD).anew(sealed, purpose="a").expires_ms == 17


@pytest.mark.parametrize("key", ["", "short", "no base64!", base64.b64encode(b"x" * 31).decode()])
def test_a_key_that_is_none_is_refused_without_being_shown(key: str) -> None:
    with pytest.raises(Refused) as refused:
        vault(key)
    assert "PRELABEL_WEBHOOKS_KEYS" in str(refused.value)
    assert not key or key not in str(refused.value)


def test_the_published_vector_is_signed_as_published() -> None:
    signed = signatures(
        ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
    )
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_secrets_are_of_the_standard_form_and_never_the_same() -> None:
    random_bytes = counted_bytes()
    one, two = new_secret(HMAC, random_bytes), new_secret(HMAC, random_bytes)
    assert one != two
    assert one.startswith("whsec_")
    assert 24 <= len(base64.b64decode(one.removeprefix("whsec_"))) <= 64


@given(st.binary(max_size=300), st.integers(1, 4))
def test_every_active_secret_verifies_by_the_reference_library(noise: bytes, count: int) -> None:
    body = json.dumps({"noise": noise.hex(), "é": "👍"}, ensure_ascii=False).encode()
    secrets = [new_secret(HMAC, os.urandom) for _ in range(count)]
    seconds = int(datetime.now(UTC).timestamp())
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(seconds),
        "webhook-signature": signatures(secrets, "msg_1", seconds, body),
    }
    for secret in secrets:
        assert Webhook(secret).verify(body, headers) == json.loads(body)


@given(st.binary(max_size=300))
def test_an_ed25519_signature_is_verified_by_the_public_key_alone(body: bytes) -> None:
    private = new_secret(ED25519, os.urandom)
    shown = shown_secret(private)
    assert set(shown) == {"public_key"}
    assert shown["public_key"].startswith("whpk_")
    version, _, signature = signatures([private], "msg_1", 1614265330, body).partition(",")
    assert version == "v1a"
    public = Ed25519PublicKey.from_public_bytes(base64.b64decode(shown["public_key"].removeprefix("whpk_")))
    public.verify(base64.b64decode(signature), b"msg_1.1614265330." + body)
    with pytest.raises(InvalidSignature):
        public.verify(base64.b64decode(signature), b"msg_1.1614265331." + body)


def test_an_hmac_secret_is_shown_as_it_is() -> None:
    secret = new_secret(HMAC, os.urandom)
    assert shown_secret(secret) == {"secret": secret}
