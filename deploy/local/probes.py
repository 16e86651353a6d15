"""Health by protocol: one question in the server's own wire format over a raw socket, no driver needed."""

import socket
import struct

_TIMEOUT_S = 1.0
_CORRELATION = 7
_OP_MSG = 2013


def kafka_answers(host: str, port: int) -> bool:
    """True when the broker answers ApiVersions (key 18, version 0) without an error: then it serves."""
    body = struct.pack(">hhih", 18, 0, _CORRELATION, -1)
    try:
        answer = _ask(host, port, struct.pack(">i", len(body)) + body, length=struct.Struct(">i"), counts_itself=False)
    except OSError:
        return False
    if len(answer) < 6:
        return False
    correlation, error = struct.unpack_from(">ih", answer)
    return bool(correlation == _CORRELATION and error == 0)


def mongo_answers(host: str, port: int) -> bool:
    """True when the server answers the command `ping` with ok = 1 (one kind of server here lacks `hello`)."""
    elements = b"\x10ping\x00" + struct.pack("<i", 1) + b"\x02$db\x00" + struct.pack("<i", 6) + b"admin\x00"
    document = struct.pack("<i", len(elements) + 5) + elements + b"\x00"
    message = struct.pack("<I", 0) + b"\x00" + document
    header = struct.pack("<iiii", 16 + len(message), _CORRELATION, 0, _OP_MSG)
    try:
        answer = _ask(host, port, header + message, length=struct.Struct("<i"), counts_itself=True)
    except OSError:
        return False
    if len(answer) < 12:
        return False
    _, answers_to, operation = struct.unpack_from("<iii", answer)
    return bool(answers_to == _CORRELATION and operation == _OP_MSG and _says_ok(answer))


def _says_ok(answer: bytes) -> bool:
    # `ok` may come as a double or as an integer.
    return b"\x01ok\x00" + struct.pack("<d", 1.0) in answer or b"\x10ok\x00" + struct.pack("<i", 1) in answer


def _ask(host: str, port: int, question: bytes, *, length: struct.Struct, counts_itself: bool) -> bytes:
    """The answer without its length field. Raises OSError when nobody answers in a second."""
    with socket.create_connection((host, port), timeout=_TIMEOUT_S) as connection:
        connection.sendall(question)
        (size,) = length.unpack(_read(connection, length.size))
        if counts_itself:
            size -= length.size
        if not 0 <= size <= 1 << 20:
            raise ConnectionError("not the protocol that was asked")
        return _read(connection, size)


def _read(connection: socket.socket, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        part = connection.recv(size - len(parts))
        if not part:
            raise ConnectionError("closed before the answer was complete")
        parts += part
    return bytes(parts)
