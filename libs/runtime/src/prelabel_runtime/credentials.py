"""How to be let in by an existing Kafka and an existing MongoDB: names, passwords and certificates, from files.

The settings say where a secret is; it is read when a connection is being made, so that a process that connects anew
uses what the file holds then. No secret is part of any message or of any object's text.
"""

import contextlib
import ssl
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import SecretStr
from pydantic_settings import SettingsConfigDict

from .errors import Refused
from .settings import Frozen

SecurityProtocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
SaslMechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]


class Credentials(Frozen):
    """What Kafka's and MongoDB's settings have in common."""

    username: str = ""
    """The user name."""
    username_file: Path | None = None
    """A file that holds the user name."""
    password: SecretStr | None = None
    """The password."""
    password_file: Path | None = None
    """A file that holds the password; read again for each attempt to connect."""
    ca_file: Path | None = None
    """PEM with the authorities that may have signed the server's certificate; those of the system where not set."""
    cert_file: Path | None = None
    """PEM with our own certificate (and those between it and its authority), for mutual TLS."""
    key_file: Path | None = None
    """PEM with its private key; where not set, `cert_file` holds it too."""
    key_password: SecretStr | None = None
    """The password of the private key."""
    key_password_file: Path | None = None
    """A file that holds the password of the private key."""
    verify_hostname: bool = True
    """Whether the server's certificate must be for the name that was called."""

    @classmethod
    def setting(cls, field: str) -> str:
        """The environment variable of a field."""
        return f"{cls.model_config.get('env_prefix', '')}{field.upper()}"

    def source(self, field: str) -> str:
        """The environment variable that a value comes from: a file's, where that is set."""
        file = f"{field}_file"
        return self.setting(file if getattr(self, file, None) is not None else field)

    def user(self) -> str:
        """The user name; empty where there is none. Raises `Refused`."""
        if self.username and self.username_file is not None:
            raise Refused(f"set {self.setting('username')} or {self.setting('username_file')}, not both")
        return self.username or self._read("username_file")

    def secret(self, field: Literal["password", "key_password"]) -> str:
        """A secret; empty where there is none. Raises `Refused`."""
        value: SecretStr | None = getattr(self, field)
        if value is not None and getattr(self, f"{field}_file") is not None:
            raise Refused(f"set {self.setting(field)} or {self.setting(field + '_file')}, not both")
        return value.get_secret_value() if value is not None else self._read(f"{field}_file")

    def _read(self, field: str) -> str:
        file: Path | None = getattr(self, field)
        if file is None:
            return ""
        try:
            text = file.read_text().strip()
        except OSError as error:
            raise Refused(f"{self.setting(field)}: {file} cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise Refused(f"{self.setting(field)}: {file} holds no text") from None
        if not text:
            raise Refused(f"{self.setting(field)}: {file} is empty")
        return text

    def refuse_set(self, fields: tuple[str, ...], why: str) -> None:
        """Raises `Refused` for a field that is set and would have no effect."""
        for field in fields:
            if getattr(self, field) != type(self).model_fields[field].default:
                raise Refused(f"{self.setting(field)} is set, but {why}")

    def check_files(self) -> None:
        """Raises `Refused` for a key without its certificate, and for files that cannot be read."""
        if self.cert_file is None:
            why = f"{self.setting('cert_file')} is not: name the certificate"
            self.refuse_set(("key_file", "key_password", "key_password_file"), why)
        for field in ("ca_file", "cert_file", "key_file"):
            self._read(field)

    def context(self) -> ssl.SSLContext:
        """A context for connections to the server, from the files as they are now. Raises `Refused`."""
        self.check_files()
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
        except (ssl.SSLError, ValueError):
            raise Refused(f"{self.setting('ca_file')}: {self.ca_file} holds no certificates in PEM form") from None
        context.check_hostname = self.verify_hostname
        if self.cert_file is not None:
            password = self.secret("key_password")
            try:
                # Never None: OpenSSL would ask at the terminal.
                context.load_cert_chain(self.cert_file, self.key_file, password=lambda: password)
            except (ssl.SSLError, ValueError) as error:
                raise Refused(self._key_trouble(error, bool(password))) from None
        return context

    def _key_trouble(self, error: Exception, has_password: bool) -> str:
        reason = getattr(error, "reason", None) or ""
        if reason == "KEY_VALUES_MISMATCH":
            return f"{self.setting('key_file')}: this key is not the one of {self.setting('cert_file')}"
        holder = "cert_file" if self.key_file is None else "key_file"
        if reason in ("BAD_DECRYPT", "BAD_PASSWORD_READ", "PEM_LIB", "") and self._is_encrypted(holder):
            setting = self.setting("key_password")
            return f"{setting}: it does not open the private key" if has_password else f"{setting}: the key asks for it"
        return f"{self.setting(holder)}: {getattr(self, holder)} holds no certificate or no key in PEM form"

    def _is_encrypted(self, field: str) -> bool:
        return "ENCRYPTED" in self._read(field)


class KafkaCredentials(Credentials):
    """An existing Kafka that asks who comes. See docs/existing-kafka-and-mongodb.md."""

    model_config = SettingsConfigDict(env_prefix="PRELABEL_KAFKA_")

    security_protocol: SecurityProtocol = "PLAINTEXT"
    """PLAINTEXT, SSL (TLS, mutual where a certificate is named), SASL_PLAINTEXT (no encryption) or SASL_SSL."""
    sasl_mechanism: SaslMechanism = "SCRAM-SHA-512"
    """How the password is shown, with a SASL_ protocol: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512."""

    @property
    def encrypted(self) -> bool:
        """Whether connections use TLS."""
        return self.security_protocol in ("SSL", "SASL_SSL")

    @property
    def by_password(self) -> bool:
        """Whether a user name and a password are shown."""
        return self.security_protocol.startswith("SASL_")

    def check(self) -> None:
        """Raises `Refused` for what makes no sense together, and for secrets that cannot be read."""
        chosen = f"{self.setting('security_protocol')} is {self.security_protocol}"
        if not self.by_password:
            better = "SASL_SSL" if self.encrypted else "SASL_SSL or SASL_PLAINTEXT"
            fields = ("username", "username_file", "password", "password_file", "sasl_mechanism")
            self.refuse_set(fields, f"{chosen}: use {better}")
        else:
            for field, value in (("username", self.user()), ("password", self.secret("password"))):
                if not value:
                    raise Refused(f"{self.setting(field)}: set it or {self.setting(field + '_file')}, since {chosen}")
        if self.encrypted:
            self.context()
        else:
            tls = ("ca_file", "cert_file", "key_file", "key_password", "key_password_file", "verify_hostname")
            self.refuse_set(tls, f"{chosen}: use {'SASL_SSL' if self.by_password else 'SSL'}")


MongoMechanism = Literal["", "SCRAM-SHA-1", "SCRAM-SHA-256", "MONGODB-X509", "PLAIN"]
_EXTERNAL = ("MONGODB-X509", "PLAIN")


class MongoCredentials(Credentials):
    """An existing MongoDB that asks who comes. What PRELABEL_STORE's address says itself is kept."""

    model_config = SettingsConfigDict(env_prefix="PRELABEL_MONGO_")

    tls: bool = False
    """Encrypt connections; so does naming an authority or a certificate, or tls=true in the address."""
    auth_source: str = ""
    """The database that knows the user: admin where not set, $external for MONGODB-X509 and PLAIN (LDAP)."""
    auth_mechanism: MongoMechanism = ""
    """SCRAM-SHA-256, SCRAM-SHA-1, MONGODB-X509 (our certificate) or PLAIN (LDAP); empty: agreed with the server."""

    @property
    def encrypted(self) -> bool:
        """Whether connections use TLS; the address may say so as well."""
        return self.tls or self.ca_file is not None or self.cert_file is not None

    def check(self, address: str) -> None:
        """Raises `Refused` for what makes no sense together or with the store's address."""
        user, password = self.user(), self.secret("password")
        if (user or password) and "@" in address.partition("://")[2].partition("/")[0]:
            raise Refused(f"PRELABEL_STORE holds a user already: remove it there, or {self.setting('username')}")
        if self.auth_mechanism == "MONGODB-X509":
            if self.cert_file is None:
                raise Refused(
                    f"{self.setting('cert_file')}: set it, since {self.setting('auth_mechanism')} is MONGODB-X509"
                )
            self.refuse_set(("password", "password_file"), "MONGODB-X509 shows a certificate, no password")
        elif bool(user) != bool(password):
            missing = "password" if user else "username"
            raise Refused(f"{self.setting(missing)}: set it or {self.setting(missing + '_file')}, a user needs both")
        elif not user:
            self.refuse_set(("auth_mechanism", "auth_source"), f"{self.setting('username')} is not")
        if self.encrypted:
            self.context()
        else:
            self.check_files()

    @contextlib.contextmanager
    def options(self) -> Iterator[dict[str, Any]]:
        """The driver's options, with the secrets as they are now. The client is to be made inside: a file may go."""
        chosen: dict[str, Any] = {
            "username": self.user(),
            "password": self.secret("password"),
            "authSource": self.auth_source or ("$external" if self.auth_mechanism in _EXTERNAL else ""),
            "authMechanism": self.auth_mechanism,
        }
        if self.encrypted:
            chosen |= {"tls": True, "tlsCAFile": str(self.ca_file or ""), **self._unverified()}
        with self._certificate_and_key() as file:
            if file is not None:
                chosen |= {"tlsCertificateKeyFile": file, "tlsCertificateKeyFilePassword": self.secret("key_password")}
            yield {name: value for name, value in chosen.items() if value != ""}

    def _unverified(self) -> dict[str, bool]:
        return {} if self.verify_hostname else {"tlsAllowInvalidHostnames": True}

    @contextlib.contextmanager
    def _certificate_and_key(self) -> Iterator[str | None]:
        """One file with both, as the driver wants it."""
        if self.cert_file is None or self.key_file is None:
            yield str(self.cert_file) if self.cert_file else None
            return
        # Readable by us alone, and gone as soon as the driver has read it.
        with tempfile.NamedTemporaryFile("w", suffix=".pem") as both:
            both.write(self._read("cert_file") + "\n" + self._read("key_file") + "\n")
            both.flush()
            yield both.name
