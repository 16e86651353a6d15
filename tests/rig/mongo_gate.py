"""A gate before a MongoDB-wire server that has none: TLS, client certificates, and users with passwords.

It speaks SCRAM-SHA-256 (RFC 7677) and MONGODB-X509 as MongoDB does, and hands on what comes after. It stands in for
a real server's own; what that does beyond these exchanges is not shown by tests that use it.
"""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import os
import ssl
import struct
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import bson

from deploy.local.ports import LOOPBACK, free_port

_HEADER = struct.Struct("<iiii")
_OP_REPLY, _OP_QUERY, _OP_MSG = 1, 2004, 2013
_ITERATIONS = 4096
_BEFORE = frozenset({"hello", "ismaster", "ping"})

Document = dict[str, Any]


@dataclass
class MongoGate:
    """Listens at `port`; `backend` is mongodb://HOST:PORT. users: passwords by name; None: everybody may come in."""

    backend: str
    users: dict[str, str] | None = None
    tls: ssl.SSLContext | None = None
    readers: frozenset[str] = frozenset()
    """Users who may read, and not write."""
    port: int = field(default_factory=free_port)
    mechanisms: list[str] = field(default_factory=list)
    """Those by which somebody came in, in order."""
    sources: list[str] = field(default_factory=list)
    """The databases that were asked about users."""

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator["MongoGate"]:
        """Listen."""
        server = await asyncio.start_server(self._serve, LOOPBACK, self.port, ssl=self.tls)
        try:
            yield self
        finally:
            server.close()

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"mongodb://{LOOPBACK}:{self.port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = self.backend.removeprefix("mongodb://").partition(":")
        behind, before = await asyncio.open_connection(host, int(port))
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await _Talk(self, reader, writer, behind, before).run()
        finally:
            writer.close()
            before.close()


@dataclass
class _Talk:
    """One connection."""

    gate: MongoGate
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    behind: asyncio.StreamReader
    before: asyncio.StreamWriter
    user: str | None = None
    scram: "_Scram | None" = None

    async def run(self) -> None:
        while True:
            header, body = await _message(self.reader)
            _, request, _, operation = header
            command = _command(operation, body)
            answer = self._answer(command) if self.gate.users is not None else None
            if answer is not None:
                payload = struct.pack("<I", 0) + b"\0" + bson.encode(answer)
                self.writer.write(_HEADER.pack(16 + len(payload), 0, request, _OP_MSG) + payload)
            else:
                self.before.write(_HEADER.pack(*header) + body)
                reply, back = await _message(self.behind)
                self.writer.write(_HEADER.pack(16 + len(back), *reply[1:]) + back)
            await self.writer.drain()

    def _answer(self, command: Document) -> Document | None:
        """What the gate says itself; None: let the server answer."""
        name = next(iter(command))
        match name:
            case "saslStart" | "saslContinue":
                self.gate.sources.append(str(command["$db"]))
                return self._sasl(name, command)
            case "authenticate":
                return self._certificate(command)
        if name.lower() in _BEFORE:
            return None
        if self.user is None:
            return _error(13, f"command {name} requires authentication")
        if self.user in self.gate.readers and name in ("insert", "update", "delete"):
            said = f"not authorized on {command['$db']} to execute command {command}"
            return _error(13, said)
        return None

    def _sasl(self, name: str, command: Document) -> Document:
        try:
            if name == "saslStart":
                if command["mechanism"] != "SCRAM-SHA-256":
                    raise ValueError
                self.scram = _Scram(self.gate.users or {})
                return _step(self.scram.first(bytes(command["payload"])), done=False)
            assert self.scram is not None
            if self.scram.proved:
                return _step(b"", done=True)
            payload = self.scram.final(bytes(command["payload"]))
        except (KeyError, ValueError):
            return _error(18, "Authentication failed.")
        self.user = self.scram.user
        self.gate.mechanisms.append("SCRAM-SHA-256")
        return _step(payload, done=False)

    def _certificate(self, command: Document) -> Document:
        shown: Mapping[str, Any] = self.writer.get_extra_info("peercert") or {}
        subject = {name: value for part in shown.get("subject", ()) for name, value in part}
        if command.get("mechanism") != "MONGODB-X509" or subject.get("commonName") not in (self.gate.users or {}):
            return _error(18, "Authentication failed.")
        self.user = subject["commonName"]
        self.gate.mechanisms.append("MONGODB-X509")
        return {"ok": 1.0}


class _Scram:
    """The server's side of SCRAM-SHA-256."""

    def __init__(self, users: Mapping[str, str]) -> None:
        self._users = users
        self._salt = os.urandom(16)
        self.user = ""
        self.proved = False

    def first(self, message: bytes) -> bytes:
        bare = message.decode().removeprefix("n,,")
        said = dict(part.split("=", 1) for part in bare.split(","))
        self.user = said["n"].replace("=2C", ",").replace("=3D", "=")
        self._nonce = said["r"] + base64.b64encode(os.urandom(18)).decode()
        answer = f"r={self._nonce},s={base64.b64encode(self._salt).decode()},i={_ITERATIONS}"
        self._said = f"{bare},{answer}"
        return answer.encode()

    def final(self, message: bytes) -> bytes:
        without, _, proof = message.decode().rpartition(",p=")
        salted = hashlib.pbkdf2_hmac("sha256", self._users[self.user].encode(), self._salt, _ITERATIONS)
        client = hmac.digest(salted, b"Client Key", "sha256")
        stored = hashlib.sha256(client).digest()
        said = f"{self._said},{without}".encode()
        signature = hmac.digest(stored, said, "sha256")
        expected = bytes(a ^ b for a, b in zip(client, signature, strict=True))
        if f"r={self._nonce}" not in without or not hmac.compare_digest(expected, base64.b64decode(proof)):
            raise ValueError
        self.proved = True
        server = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), said, "sha256")
        return b"v=" + base64.b64encode(server)


def _step(payload: bytes, *, done: bool) -> Document:
    return {"conversationId": 1, "done": done, "payload": payload, "ok": 1.0}


def _error(code: int, text: str) -> Document:
    return {
        "ok": 0.0,
        "errmsg": text,
        "code": code,
        "codeName": "AuthenticationFailed" if code == 18 else "Unauthorized",
    }


def _command(operation: int, body: bytes) -> Document:
    if operation == _OP_MSG:
        return dict(bson.decode_all(body[5 : 5 + struct.unpack_from("<i", body, 5)[0]])[0])
    if operation == _OP_QUERY:
        at = body.index(b"\0", 4) + 9
        return dict(bson.decode_all(body[at : at + struct.unpack_from("<i", body, at)[0]])[0])
    return {"unknown": operation}


async def _message(reader: asyncio.StreamReader) -> tuple[tuple[int, int, int, int], bytes]:
    length, request, answers, operation = _HEADER.unpack(await reader.readexactly(_HEADER.size))
    return (length, request, answers, operation), await reader.readexactly(length - _HEADER.size)
