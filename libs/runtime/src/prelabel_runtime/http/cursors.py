"""Where a page ends, as callers hand it back: opaque to them, and good for nothing but going on."""

import base64
import binascii

import orjson
from prelabel_contract.base import MAX_INT

from ..store.paging import PageKey
from .problems import Problem


def cursor_of(key: PageKey | None) -> str | None:
    """The cursor of a place; None for no more."""
    if key is None:
        return None
    return base64.urlsafe_b64encode(orjson.dumps([key.ms, key.id])).decode().rstrip("=")


def key_of(cursor: str | None) -> PageKey | None:
    """Where to go on. Raises a 400 for what is no cursor of ours."""
    if cursor is None:
        return None
    try:
        ms, last = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        key = PageKey(int(ms), str(last))
        if abs(key.ms) > MAX_INT:
            raise ValueError("no store counts so far")
    except (binascii.Error, orjson.JSONDecodeError, ValueError, TypeError):
        raise Problem(400, "bad_cursor", "that cursor is not one of ours; take `next` from the page before") from None
    return key
