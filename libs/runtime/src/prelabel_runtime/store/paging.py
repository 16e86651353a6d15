"""Pages of what a store lists."""

from typing import NamedTuple


class PageKey(NamedTuple):
    """Where a page ends: the moment (ms since 1970) and id of its last item."""

    ms: int
    id: str
