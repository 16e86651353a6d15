"""Answers in JSON."""

from collections.abc import Mapping
from typing import Any

import orjson
from fastapi import Response


def answer(value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A value as it is: routes that build plain values need no second look at them."""
    return Response(
        orjson.dumps(value),
        status_code=status,
        headers=dict(headers) if headers else None,
        media_type="application/json",
    )
