"""Small records that somebody decides on: a trigger's state, a training, which version serves, who holds which task.

Each is one JSON text under a kind and a key, changed by compare-and-set on its revision: whoever was slower hears so,
reads again and decides again. They are facts of their own, derived from no log: a rebuild leaves them alone.

Put into the body who writes it and why (a holder, a number, a token): of two who write the same body upon the same
revision both are told that it is done, since the second cannot be told from one who repeats after `Unavailable`. A key
that is deleted begins again at revision 1: do not delete what somebody may still hold a revision of.

One suite (prelabel_runtime.testing.documents) proves it on every implementation.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Document", "Documents", "behind", "place"]


@dataclass(frozen=True, slots=True)
class Document:
    """A record as it stands."""

    kind: str
    """Lower case letters and "_"."""
    key: str
    """Parts with "/" between them, so that a prefix names a group."""
    body: str
    """JSON."""
    revision: int
    """1 for the first one written, then one more at each change."""


class Documents(ABC):
    """Records by kind and key. Every method raises ValueError for a kind that is no word of lower case letters."""

    @abstractmethod
    async def get(self, kind: str, key: str) -> Document | None:
        """One; None if there is none."""

    @abstractmethod
    async def get_many(self, kind: str, keys: Sequence[str]) -> Mapping[str, Document]:
        """Those of the keys that are there, by key."""

    @abstractmethod
    async def put(self, kind: str, key: str, body: str, *, expected: int) -> Document | None:
        """Write the body if the revision that stands there is `expected` (0: nothing is there); the record then.

        None, and nothing written, if another one stands there, unless that is this body at `expected + 1`: a repeat
        after `Unavailable` meets no conflict. Raises ValueError below 0.
        """

    @abstractmethod
    async def page(
        self, kind: str, *, prefix: str = "", limit: int, after: str | None = None, newest: bool = False
    ) -> Sequence[Document]:
        """Those whose keys begin with `prefix`, by key in the order of code points, from behind the key `after`.

        newest: from the greatest key down, `after` being the least one seen.
        """

    @abstractmethod
    async def delete(self, kind: str, key: str, *, expected: int) -> bool:
        """Remove it if its revision is `expected`; True too if nothing is there, as a repeat finds it.

        False, and nothing removed, if another revision stands there.
        """


def place(kind: str, key: str = "") -> str:
    """Kind and key as one name; names of one kind are ordered as its keys are."""
    if not kind.isascii() or not kind.replace("_", "a").isalpha() or not kind.islower():
        raise ValueError(f"{kind!r} is no kind of documents: lower case letters and _")
    return f"{kind}:{key}"


def behind(prefix: str) -> str | None:
    """The least text that is greater than everything that begins with `prefix`; None if there is none."""
    for last in range(len(prefix) - 1, -1, -1):
        point = ord(prefix[last])
        if point < 0x10FFFF:
            return prefix[:last] + chr(0xE000 if point == 0xD7FF else point + 1)  # between them is no character
    return None
