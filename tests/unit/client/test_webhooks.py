"""Receiving webhooks: what is genuine is read, everything else is not."""

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from prelabel_client.webhooks import NotVerified, WebhookEvent, verify
from prelabel_webhooks.signing import signatures

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
NOW = 1_800_000_000
BODY = json.dumps({"type": "task.accepted", "timestamp": "2027-01-15T08:00:00Z", "data": {"task": "1"}}).encode()


def headers(body: bytes = BODY, *, secrets: tuple[str, ...] = (SECRET,), at: int = NOW) -> dict[str, str]:
    signed = signatures(secrets, "msg_1", at, body)
    return {"Webhook-Id": "msg_1", "Webhook-Timestamp": str(at), "Webhook-Signature": signed}


def test_what_prelabel_signs_is_read() -> None:
    event = verify(BODY, headers(), SECRET, now=NOW)
    assert event == WebhookEvent("msg_1", "task.accepted", "2027-01-15T08:00:00Z", {"task": "1"})


def test_while_a_secret_is_rotated_either_will_do() -> None:
    for mine in (SECRET, OTHER, [OTHER, SECRET]):
        assert verify(BODY, headers(secrets=(OTHER, SECRET)), mine, now=NOW)


def test_the_reference_library_and_we_agree() -> None:
    from standardwebhooks.webhooks import Webhook

    signed = Webhook(SECRET).sign("msg_1", datetime.fromtimestamp(NOW, UTC), BODY.decode())
    given = {"webhook-id": "msg_1", "webhook-timestamp": str(NOW), "webhook-signature": signed}
    assert verify(BODY, given, SECRET, now=NOW).type == "task.accepted"


def test_what_is_signed_by_a_private_key_is_verified_by_its_public_one() -> None:
    private = Ed25519PrivateKey.generate()
    public = "whpk_" + base64.b64encode(private.public_key().public_bytes_raw()).decode()
    signed = base64.b64encode(private.sign(f"msg_1.{NOW}.".encode() + BODY)).decode()
    given = {"webhook-id": "msg_1", "webhook-timestamp": str(NOW), "webhook-signature": f"v1,AAAA v1a,{signed}"}
    assert verify(BODY, given, public, now=NOW).type == "task.accepted"
    for wrong in (f"v1,{signed}", "v1a,AAAA", "v1a,not-base64!", ""):
        with pytest.raises(NotVerified):
            verify(BODY, {**given, "webhook-signature": wrong}, public, now=NOW)


@pytest.mark.parametrize("seconds", [-301, 301])
def test_what_is_old_is_refused(seconds: int) -> None:
    with pytest.raises(NotVerified, match="clock"):
        verify(BODY, headers(), SECRET, now=NOW + seconds)


@pytest.mark.parametrize("name", ["Webhook-Id", "Webhook-Timestamp", "Webhook-Signature"])
def test_without_a_header_it_is_refused(name: str) -> None:
    given = headers()
    del given[name]
    with pytest.raises(NotVerified):
        verify(BODY, given, SECRET, now=NOW)


def test_another_secret_another_body_another_id_are_refused() -> None:
    changed: list[tuple[bytes, dict[str, str], str]] = [
        (BODY, headers(), OTHER),
        (BODY + b" ", headers(), SECRET),
        (BODY, {**headers(), "Webhook-Id": "msg_2"}, SECRET),
        (BODY, {**headers(), "Webhook-Timestamp": str(NOW + 1)}, SECRET),
        (BODY, {**headers(), "Webhook-Signature": ""}, SECRET),
        (BODY, {**headers(), "Webhook-Signature": headers()["Webhook-Signature"].replace("v1,", "v2,")}, SECRET),
    ]
    for body, given_headers, secret in changed:
        with pytest.raises(NotVerified):
            verify(body, given_headers, secret, now=NOW)


@given(
    st.dictionaries(st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature"]), st.text()), st.binary()
)
def test_nothing_that_is_sent_breaks_it(given_headers: dict[str, str], body: bytes) -> None:
    with pytest.raises(NotVerified):
        verify(body, given_headers, SECRET, now=NOW)


@pytest.mark.parametrize("value", [[], 7, {"type": "x"}, {"type": "x", "timestamp": "y", "data": 7}])
def test_a_signed_body_that_is_no_event_is_refused(value: Any) -> None:
    body = json.dumps(value).encode()
    with pytest.raises(NotVerified, match="no event"):
        verify(body, headers(body), SECRET, now=NOW)
