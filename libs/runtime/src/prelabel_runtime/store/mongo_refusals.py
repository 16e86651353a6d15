"""What a MongoDB refuses for good, told in one line that names the setting, and never shows what was stored."""

import asyncio
import contextlib
import ssl
import struct
from typing import Final

import bson
from pymongo.errors import ConnectionFailure, OperationFailure, PyMongoError
from pymongo.uri_parser import parse_uri

from prelabel_runtime.credentials import MongoCredentials

_WRONG_CREDENTIALS: Final = frozenset({18, 8000})
_NO_RIGHT: Final = 13

_TLS: Final = (
    ("Hostname mismatch", "shows a certificate for another name: see", "verify_hostname"),
    ("IP address mismatch", "shows a certificate for another address: see", "verify_hostname"),
    ("CERTIFICATE_VERIFY_FAILED", "shows a certificate that we do not trust: see", "ca_file"),
    ("ALERT_CERTIFICATE_REQUIRED", "asks for a certificate: set", "cert_file"),
    ("certificate required", "asks for a certificate: set", "cert_file"),
    ("ALERT_UNKNOWN_CA", "does not accept our certificate: see", "cert_file"),
    ("BAD_CERTIFICATE", "does not accept our certificate: see", "cert_file"),
    ("ALERT_CERTIFICATE", "does not accept our certificate: see", "cert_file"),
    ("WRONG_VERSION_NUMBER", "uses no TLS there: see", "tls"),
    ("RECORD_LAYER_FAILURE", "uses no TLS there: see", "tls"),
)


_PING: Final = struct.pack("<I", 0) + b"\0" + bson.encode({"ping": 1, "$db": "admin"})
_QUESTION: Final = struct.pack("<iiii", 16 + len(_PING), 1, 0, 2013) + _PING


async def refusal_of_tls(address: str, credentials: MongoCredentials, *, timeout: float) -> str | None:
    """Why a server's TLS and ours do not go together, asked once: the driver says it after its whole timeout only.

    None where they do, where no server answers, and where TLS is the address's own matter. timeout: seconds, for each
    server that the address names.
    """
    if not credentials.encrypted or not address.startswith("mongodb://"):
        return None
    for host, port in parse_uri(address, validate=False)["nodelist"]:
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
            return await _refused_by(host, port or 27017, credentials, timeout)
    return None


async def _refused_by(host: str, port: int, credentials: MongoCredentials, timeout: float) -> str | None:
    try:
        await _ask(host, port, credentials.context(), timeout)
    except ssl.SSLError as error:
        if (said := _of_tls(str(error))) is not None:
            return said
    except (ConnectionResetError, asyncio.IncompleteReadError, TimeoutError):
        pass  # as one does that expects no handshake
    else:
        return None
    await _ask(host, port, None, timeout)
    return _of_tls("WRONG_VERSION_NUMBER")


async def _ask(host: str, port: int, context: ssl.SSLContext | None, timeout: float) -> None:
    async with asyncio.timeout(timeout):
        reader, writer = await asyncio.open_connection(host, port, ssl=context)
        try:
            writer.write(_QUESTION)
            await reader.readexactly(4)
        finally:
            writer.close()


def refusal(error: PyMongoError) -> str | None:
    """Why MongoDB will not do it however often it is asked; None where it may yet."""
    setting = MongoCredentials.setting
    if isinstance(error, OperationFailure) and error.code in _WRONG_CREDENTIALS:
        where = " and ".join(map(setting, ("username", "password", "auth_source")))
        return f"MongoDB does not let us in: check PRELABEL_STORE, or {where}"
    if isinstance(error, OperationFailure) and error.code == _NO_RIGHT:
        # What follows the command's name is what was to be written.
        said = str(error).partition(" command")[0].partition(", full error")[0].partition("\n")[0]
        return f"MongoDB does not allow it: {said[:120]}; its user needs the role readWrite on the database"
    if isinstance(error, ConnectionFailure):
        return _of_tls(str(error))
    return None


def _of_tls(text: str) -> str | None:
    setting = MongoCredentials.setting
    return next((f"MongoDB {said} {setting(field)}" for words, said, field in _TLS if words in text), None)
