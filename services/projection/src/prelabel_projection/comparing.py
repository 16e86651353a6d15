"""Two generations compared: by a hash per repository that does not depend on any order, and by the rows that differ.

While events flow, two generations are never at the same place of the log at the same moment. So rows that differ are
looked at again after both have passed what was in the log by then: what an event on its way explained is gone, what is
left differs.
"""

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from prelabel_runtime.store.base import Projected
from prelabel_runtime.store.generations import Contents

PAGE = 1000
LOOKED_AT_AGAIN = 10_000
"""Rows of a repository that are looked at again; more differ for good."""
_SHOWN = 5
_MODULUS = 1 << 256

Beat = Callable[[], Awaitable[None]]
"""Called between pages: whoever compares is still there."""


@dataclass(slots=True)
class Side:
    """One generation's share: how many rows, and their hash."""

    rows: int = 0
    total: int = 0

    def add(self, row: str, digest: bytes | None, sign: int = 1) -> None:
        """A row more, or less."""
        if digest is not None:
            self.rows += sign
            named = hashlib.sha256(row.encode() + b"\0" + digest).digest()
            self.total = (self.total + sign * int.from_bytes(named, "big")) % _MODULUS

    @property
    def hash(self) -> str:
        """The hash, as people compare it."""
        return f"{self.total:064x}"[:32]


@dataclass(slots=True)
class Repository:
    """How one repository compares."""

    kind: str
    live: Side = field(default_factory=Side)
    rebuilt: Side = field(default_factory=Side)
    differ: dict[str, tuple[bytes | None, bytes | None]] = field(default_factory=dict)
    """Rows that differ: what the live and the rebuilt generation had when they were looked at last."""
    beyond: int = 0
    """More of them than are remembered."""

    def note(self, row: str, live: bytes | None, rebuilt: bytes | None) -> None:
        """A row of either."""
        self.live.add(row, live)
        self.rebuilt.add(row, rebuilt)
        if live != rebuilt:
            if len(self.differ) < LOOKED_AT_AGAIN:
                self.differ[row] = (live, rebuilt)
            else:
                self.beyond += 1

    def again(self, row: str, live: bytes | None, rebuilt: bytes | None) -> None:
        """A row that differed, looked at once more."""
        before_live, before_rebuilt = self.differ.pop(row)
        self.live.add(row, before_live, -1)
        self.rebuilt.add(row, before_rebuilt, -1)
        self.note(row, live, rebuilt)

    @property
    def equal(self) -> bool:
        """Whether both have the same rows."""
        return self.live.total == self.rebuilt.total and not self.differ and not self.beyond

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        states = list(self.differ.values())
        return {
            "equal": self.equal,
            "live": {"rows": self.live.rows, "hash": self.live.hash},
            "rebuilt": {"rows": self.rebuilt.rows, "hash": self.rebuilt.hash},
            "different": sum(1 for live, rebuilt in states if live is not None and rebuilt is not None) + self.beyond,
            "only_live": sum(1 for _, rebuilt in states if rebuilt is None),
            "only_rebuilt": sum(1 for live, _ in states if live is None),
            "first": sorted(self.differ)[:_SHOWN],
        }


async def compared(live: Projected, rebuilt: Projected, beat: Beat) -> list[Repository]:
    """Both generations as they are now."""
    return [await _compared(kind, live.contents, rebuilt.contents, beat) for kind in rebuilt.contents.kinds]


async def looked_at_again(repositories: Sequence[Repository], live: Projected, rebuilt: Projected, beat: Beat) -> None:
    """The rows that differed, as they are now."""
    for one in repositories:
        rows = list(one.differ)
        for at in range(0, len(rows), PAGE):
            await beat()
            some = rows[at : at + PAGE]
            there = await live.contents.of(one.kind, some)
            anew = await rebuilt.contents.of(one.kind, some)
            for row in some:
                one.again(row, there.get(row), anew.get(row))


async def _compared(kind: str, live: Contents, rebuilt: Contents, beat: Beat) -> Repository:
    found = Repository(kind)
    left, right = _rows(live, kind, beat), _rows(rebuilt, kind, beat)
    a, b = await anext(left, None), await anext(right, None)
    while a is not None or b is not None:
        if b is None or (a is not None and a[0] < b[0]):
            assert a is not None  # noqa: S101 - one of them is there
            found.note(a[0], a[1], None)
            a = await anext(left, None)
        elif a is None or b[0] < a[0]:
            found.note(b[0], None, b[1])
            b = await anext(right, None)
        else:
            found.note(a[0], a[1], b[1])
            a, b = await anext(left, None), await anext(right, None)
    return found


async def _rows(contents: Contents, kind: str, beat: Beat) -> AsyncIterator[tuple[str, bytes]]:
    after: str | None = None
    while page := await contents.page(kind, after=after, limit=PAGE):
        await beat()
        for row in page:
            yield row
        after = page[-1][0]
