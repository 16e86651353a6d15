"""How the bus is let in by Kafka, and why it is not.

The client says "unable to bootstrap" whatever the reason. Here the brokers are asked once more, and what they refuse is
told in one line that names the setting: a wrong password, a mechanism they do not offer, a certificate that one of the
two does not trust, encryption where there is none. A broker that is merely away refuses nothing.
"""

import asyncio
import contextlib
import ssl
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aiokafka import errors
from aiokafka.conn import AIOKafkaConnection, create_conn
from aiokafka.protocol.metadata import MetadataRequest
from faststream.kafka.security import parse_security
from faststream.security import BaseSecurity, SASLPlaintext, SASLScram256, SASLScram512

from prelabel_runtime.credentials import KafkaCredentials

__all__ = ["NOT_ALLOWED", "KafkaSecurity"]

_BY_MECHANISM = {"PLAIN": SASLPlaintext, "SCRAM-SHA-256": SASLScram256, "SCRAM-SHA-512": SASLScram512}

NOT_ALLOWED = (
    errors.TopicAuthorizationFailedError,
    errors.GroupAuthorizationFailedError,
    errors.ClusterAuthorizationFailedError,
)
"""What a client raises that may come in, and may not do that."""

_ENDED = (errors.KafkaConnectionError, ConnectionError, asyncio.IncompleteReadError)

_CERTIFICATE_REFUSED = frozenset(
    {
        "TLSV13_ALERT_CERTIFICATE_REQUIRED", "SSLV3_ALERT_BAD_CERTIFICATE", "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
        "SSLV3_ALERT_CERTIFICATE_EXPIRED", "SSLV3_ALERT_CERTIFICATE_REVOKED", "SSLV3_ALERT_HANDSHAKE_FAILURE",
        "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE", "TLSV1_ALERT_UNKNOWN_CA",
    }
)  # fmt: skip

# ApiVersions, version 0: every broker answers it before it asks who comes.
_API_VERSIONS = struct.pack(">ihhih", 10, 18, 0, 1, -1)


@dataclass(frozen=True, slots=True)
class KafkaSecurity:
    """What is shown to the brokers. Secrets and certificates are read anew for every client that is made."""

    credentials: KafkaCredentials

    @classmethod
    def of(cls, credentials: KafkaCredentials) -> "KafkaSecurity":
        """Raises `Refused` for credentials that make no sense."""
        credentials.check()
        return cls(credentials)

    def for_faststream(self) -> BaseSecurity | None:
        """FastStream hands this to the producer, the admin client and every consumer alike. Raises `Refused`."""
        chosen = self.credentials
        context = chosen.context() if chosen.encrypted else None
        if chosen.by_password:
            kind = _BY_MECHANISM[chosen.sasl_mechanism]
            return kind(chosen.user(), chosen.secret("password"), ssl_context=context, use_ssl=chosen.encrypted)
        return BaseSecurity(ssl_context=context) if chosen.encrypted else None

    def for_client(self) -> dict[str, Any]:
        """The same as arguments of aiokafka's own clients. Raises `Refused`."""
        arguments: dict[str, Any] = parse_security(self.for_faststream())
        return arguments

    @property
    def who(self) -> str:
        """Whom the brokers see, for people."""
        chosen = self.credentials
        if chosen.by_password:
            return f"user {chosen.user()}"
        return "the user of this certificate" if chosen.cert_file is not None else "somebody without a name"

    async def refusal(self, servers: Sequence[str], *, timeout: float) -> str | None:
        """Why the brokers do not let us in, in one line; None where one does, or none refuses. Raises `Refused`.

        timeout: seconds for each server.
        """
        for server in servers:
            try:
                async with asyncio.timeout(timeout):
                    return await _Question(self, server).ask()
            except (errors.KafkaError, OSError, TimeoutError):
                continue  # away, or none of the brokers that were meant
        return None


class _Question:
    """One server, asked whether it lets us in."""

    def __init__(self, security: KafkaSecurity, server: str) -> None:
        self._security = security
        self._chosen = security.credentials
        self._server = server
        host, _, port = server.rpartition(":")
        self._host, self._port = host.strip("[]"), int(port)

    async def ask(self) -> str | None:
        """What it refuses, if it refuses. Raises the client's error where that is not known."""
        try:
            conn = await create_conn(self._host, self._port, **self._security.for_client())
        except (errors.BrokerResponseError, errors.AuthenticationFailedError) as error:
            return self._of_sasl(error)
        except ssl.SSLError as error:
            return self._of_tls(error)
        except _ENDED:
            return await self._why_ended()
        try:
            return await self._let_in(conn)
        finally:
            conn.close()

    async def _let_in(self, conn: AIOKafkaConnection) -> str | None:
        try:
            await conn.send(MetadataRequest([]))
        except _ENDED:
            # The first question it answers to anybody.
            if not self._chosen.by_password:
                return self._say("asks for a user and a password", "change", "security_protocol")
            raise
        return None

    async def _why_ended(self) -> str | None:
        """It took the connection and ended it: so does one that expects another protocol, or another certificate."""
        if not self._chosen.encrypted:
            if await self._shakes_hands():
                return self._say("uses TLS there", "change", "security_protocol")
        elif (alert := await self._alert()) is not None:
            return self._of_tls(alert)
        elif await self._speaks_plainly():
            return self._say("uses no TLS there", "change", "security_protocol")
        return None

    async def _shakes_hands(self) -> bool:
        anybody = ssl.create_default_context()
        anybody.check_hostname = False
        anybody.verify_mode = ssl.CERT_NONE  # nothing is sent but the greeting
        try:
            _, writer = await asyncio.open_connection(self._host, self._port, ssl=anybody)
        except OSError as error:
            return isinstance(error, ssl.SSLError) and error.reason in _CERTIFICATE_REFUSED
        writer.close()
        return True

    async def _alert(self) -> ssl.SSLError | None:
        """With TLS 1.3 a certificate is refused after the handshake: the next read is told."""
        try:
            await self._first_answer(self._chosen.context())
        except ssl.SSLError as error:
            return error
        except (OSError, asyncio.IncompleteReadError):
            pass
        return None

    async def _speaks_plainly(self) -> bool:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await self._first_answer(None)
            return True
        return False

    async def _first_answer(self, context: ssl.SSLContext | None) -> None:
        reader, writer = await asyncio.open_connection(self._host, self._port, ssl=context)
        try:
            writer.write(_API_VERSIONS)
            await reader.readexactly(4)
        finally:
            writer.close()

    def _of_sasl(self, error: errors.KafkaError) -> str:
        if isinstance(error, errors.UnsupportedSaslMechanismError):
            return self._say(f"does not take {self._chosen.sasl_mechanism}", "set", "sasl_mechanism")
        if isinstance(error, errors.IllegalSaslStateError):
            return self._say("asks for no password there", "change", "security_protocol")
        if isinstance(error, (errors.SaslAuthenticationFailed, errors.AuthenticationFailedError)):
            return self._say(
                f"does not accept {self._security.who} with this password", "check", "username", "password"
            )
        raise error

    def _of_tls(self, error: ssl.SSLError) -> str:
        if isinstance(error, ssl.SSLCertVerificationError):
            field = "verify_hostname" if "mismatch" in error.verify_message else "ca_file"
            return self._say(f"shows a certificate that we do not trust ({error.verify_message})", "see", field)
        reason = (error.reason or "no reason given").lower().replace("_", " ")
        if error.reason not in _CERTIFICATE_REFUSED:
            return self._say(f"does not speak TLS as we do ({reason})", "check", "security_protocol")
        if self._chosen.cert_file is None:
            return self._say("asks for a certificate", "set", "cert_file")
        return self._say(f"does not accept our certificate ({reason})", "see", "cert_file")

    def _say(self, trouble: str, what: str, *fields: str) -> str:
        settings = " and ".join(self._chosen.source(field) for field in fields)
        now = f" (now {self._chosen.security_protocol})" if "security_protocol" in fields else ""
        return f"Kafka at {self._server} {trouble}: {what} {settings}{now}"
