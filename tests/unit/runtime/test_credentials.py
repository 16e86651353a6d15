"""Credentials: what makes no sense is refused in one line that names the setting, and no secret is ever shown."""

from pathlib import Path
from typing import Any

import pytest
from prelabel_runtime.clock import SystemClock
from prelabel_runtime.credentials import KafkaCredentials, MongoCredentials
from prelabel_runtime.errors import Refused
from prelabel_runtime.run import open_bus, open_store
from prelabel_runtime.settings import RuntimeSettings
from prelabel_runtime.store.mongo_refusals import refusal
from pymongo.errors import AutoReconnect, OperationFailure

from deploy.local.certificates import Authority

SECRET = "s3cr3t-of-the-test"
SASL: dict[str, Any] = {"security_protocol": "SASL_SSL", "username": "u", "password": SECRET}


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"security_protocol": "SASL_SSL"}, "PRELABEL_KAFKA_USERNAME: set it or PRELABEL_KAFKA_USERNAME_FILE"),
        ({"security_protocol": "SASL_SSL", "username": "u"}, "PRELABEL_KAFKA_PASSWORD: set it or"),
        ({"password": SECRET}, "PRELABEL_KAFKA_PASSWORD is set, but PRELABEL_KAFKA_SECURITY_PROTOCOL is PLAINTEXT"),
        ({"security_protocol": "SSL", "username": "u"}, "PRELABEL_KAFKA_USERNAME is set, but .* is SSL: use SASL_SSL"),
        ({"sasl_mechanism": "PLAIN"}, "PRELABEL_KAFKA_SASL_MECHANISM is set, but"),
        ({"ca_file": "/x"}, "PRELABEL_KAFKA_CA_FILE is set, but .* is PLAINTEXT: use SSL"),
        ({**SASL, "security_protocol": "SASL_PLAINTEXT", "cert_file": "/x"}, "CERT_FILE is set, but .*: use SASL_SSL"),
        ({"verify_hostname": False}, "PRELABEL_KAFKA_VERIFY_HOSTNAME is set, but"),
        ({**SASL, "password_file": "/x"}, "set PRELABEL_KAFKA_PASSWORD or PRELABEL_KAFKA_PASSWORD_FILE, not both"),
        ({**SASL, "username_file": "/x"}, "set PRELABEL_KAFKA_USERNAME or PRELABEL_KAFKA_USERNAME_FILE, not both"),
        (
            {"security_protocol": "SSL", "key_file": "/x"},
            "PRELABEL_KAFKA_KEY_FILE is set, but PRELABEL_KAFKA_CERT_FILE",
        ),
        ({"security_protocol": "SSL", "ca_file": "/nowhere"}, "PRELABEL_KAFKA_CA_FILE: /nowhere cannot be read"),
        ({"security_protocol": "TLS"}, "PRELABEL_KAFKA_SECURITY_PROTOCOL: "),
        ({**SASL, "sasl_mechanism": "GSSAPI"}, "PRELABEL_KAFKA_SASL_MECHANISM: "),
    ],
)
def test_what_makes_no_sense_for_kafka_is_refused_with_the_setting(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(Refused, match=said) as refused:
        KafkaCredentials(**settings).check()
    assert SECRET not in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"username": "u"}, "PRELABEL_MONGO_PASSWORD: set it or PRELABEL_MONGO_PASSWORD_FILE"),
        ({"password": SECRET}, "PRELABEL_MONGO_USERNAME: set it or"),
        ({"auth_mechanism": "MONGODB-X509"}, "PRELABEL_MONGO_CERT_FILE: set it"),
        (
            {"auth_mechanism": "SCRAM-SHA-256"},
            "AUTH_MECHANISM is set, but PRELABEL_MONGO_USERNAME is not",
        ),
        ({"auth_source": "x"}, "PRELABEL_MONGO_AUTH_SOURCE is set, but"),
        ({"key_file": "/x"}, "PRELABEL_MONGO_KEY_FILE is set, but PRELABEL_MONGO_CERT_FILE is not"),
        ({"ca_file": "/nowhere"}, "PRELABEL_MONGO_CA_FILE: /nowhere cannot be read"),
        ({"auth_mechanism": "KERBEROS"}, "PRELABEL_MONGO_AUTH_MECHANISM: "),
    ],
)
def test_what_makes_no_sense_for_mongo_is_refused_with_the_setting(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(Refused, match=said) as refused:
        MongoCredentials(**settings).check("mongodb://host/db")
    assert SECRET not in str(refused.value)


def test_a_user_in_the_address_and_in_the_settings_is_refused() -> None:
    with pytest.raises(Refused, match="PRELABEL_STORE holds a user already") as refused:
        MongoCredentials(username="u", password=SECRET).check(f"mongodb://a:{SECRET}@host/db")
    assert SECRET not in str(refused.value)


def test_the_driver_gets_what_the_settings_say(authority: Authority, tmp_path: Path) -> None:
    ours = authority.issue("us")
    file = tmp_path / "password"
    file.write_text(f"{SECRET}\n")
    by_password = MongoCredentials(
        username="u", password_file=file, ca_file=authority.cert, auth_source="people", auth_mechanism="SCRAM-SHA-1"
    )
    with by_password.options() as given:
        assert given == {
            "username": "u",
            "password": SECRET,
            "authSource": "people",
            "authMechanism": "SCRAM-SHA-1",
            "tls": True,
            "tlsCAFile": str(authority.cert),
        }
    by_certificate = MongoCredentials(
        cert_file=ours.cert, key_file=ours.key, auth_mechanism="MONGODB-X509", verify_hostname=False
    )
    with by_certificate.options() as given:
        both = Path(given["tlsCertificateKeyFile"])
        assert both.read_text().count("BEGIN") >= 2
        assert both.stat().st_mode & 0o077 == 0
        assert (given["authSource"], given["tlsAllowInvalidHostnames"]) == ("$external", True)
    assert not both.exists()
    with MongoCredentials().options() as given:
        assert given == {}


def test_a_secret_in_a_file_is_read_for_each_attempt(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("first")
    kafka = KafkaCredentials(security_protocol="SASL_PLAINTEXT", username="u", password_file=file)
    assert kafka.secret("password") == "first"
    file.write_text("second\n")
    assert kafka.secret("password") == "second"


def test_no_text_of_credentials_holds_a_secret() -> None:
    kafka = KafkaCredentials(**SASL, key_password=SECRET)
    assert SECRET not in f"{kafka!r} {kafka}"


def test_a_locked_key_is_told_from_a_wrong_password_and_another_key(authority: Authority) -> None:
    locked, other = authority.issue("locked", password="opens it"), authority.issue("other")
    files: dict[str, Any] = {"security_protocol": "SSL", "cert_file": locked.cert, "ca_file": authority.cert}
    KafkaCredentials(**files, key_file=locked.key, key_password="opens it").check()
    KafkaCredentials(security_protocol="SSL", cert_file=other.both).check()
    with pytest.raises(Refused, match="PRELABEL_KAFKA_KEY_PASSWORD: the key asks for it"):
        KafkaCredentials(**files, key_file=locked.key).check()
    with pytest.raises(Refused, match="PRELABEL_KAFKA_KEY_PASSWORD: it does not open the private key"):
        KafkaCredentials(**files, key_file=locked.key, key_password="wrong").check()
    with pytest.raises(Refused, match="PRELABEL_KAFKA_KEY_FILE: this key is not the one of PRELABEL_KAFKA_CERT_FILE"):
        KafkaCredentials(**files, key_file=other.key).check()
    with pytest.raises(Refused, match=r"PRELABEL_KAFKA_CA_FILE: .* holds no certificates"):
        KafkaCredentials(security_protocol="SSL", ca_file=other.key).check()


def test_a_process_refuses_them_before_it_opens_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRELABEL_KAFKA_SECURITY_PROTOCOL", "SASL_SSL")
    monkeypatch.setenv("PRELABEL_MONGO_USERNAME", "u")
    with pytest.raises(Refused, match="PRELABEL_KAFKA_USERNAME"):
        open_bus(RuntimeSettings(bus="kafka://host:9092"), SystemClock())
    with pytest.raises(Refused, match="PRELABEL_MONGO_PASSWORD"):
        open_store(RuntimeSettings(store="mongodb://host/db"), SystemClock())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("SSL handshake failed: [SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] tlsv13 alert", "asks for a certificate: set"),
        ("SSL handshake failed: [SSL: TLSV1_ALERT_UNKNOWN_CA] tlsv1 alert unknown ca", "does not accept our cert"),
        ("SSL handshake failed: [SSL: SSLV3_ALERT_BAD_CERTIFICATE] bad certificate", "does not accept our cert"),
        ("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed", "that we do not trust"),
    ],
)
def test_what_the_driver_says_of_tls_becomes_a_line_with_a_setting(text: str, said: str) -> None:
    reason = refusal(AutoReconnect(text))
    assert reason is not None
    assert said in reason
    assert "PRELABEL_MONGO_C" in reason


def test_a_server_that_is_away_refuses_nothing_and_what_was_written_is_not_told() -> None:
    assert refusal(AutoReconnect("connection closed")) is None
    assert refusal(OperationFailure("duplicate", 11000)) is None
    said = refusal(OperationFailure('not authorized on db to execute command { insert: "tasks", body: "canary" }', 13))
    assert said is not None
    assert "not authorized on db" in said
    assert "canary" not in said
