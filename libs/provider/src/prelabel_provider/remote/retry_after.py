"""What a target's `Retry-After` asks for."""

from datetime import UTC
from email.utils import parsedate_to_datetime

LONGEST = 24 * 3600.0
"""Seconds that are believed."""


def retry_after(asked: str | None, now_ms: int) -> float | None:
    """Seconds from 0 to `LONGEST`, written as a number of them or as a date; None for what is neither."""
    if asked is None:
        return None
    asked = asked.strip()
    if asked.isascii() and asked.replace(".", "", 1).isdigit():
        return min(float(asked[:9]), LONGEST)
    try:
        moment = parsedate_to_datetime(asked)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return min(max(moment.timestamp() - now_ms / 1000, 0.0), LONGEST)
