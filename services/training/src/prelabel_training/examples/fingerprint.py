"""The name of a set of examples: what data a version learned from.

Two sets have one name exactly if they hold the same tasks with the same content. In which order they come does not
matter; an example that is changed, added or deleted gives another name. A content is hashed once, when it changes; the
name is made anew from all of them, since that costs little (100,000 examples: 0.2 s). So nothing is kept up to
date that could drift from what is stored.
"""

import hashlib
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Final

from prelabel_contract.base import Json
from prelabel_contract.names import canonical

_FORMAT: Final = b"examples/1\n"
"""Begins what is hashed. Whoever hashes anything else changes it: the names of old versions stay what they are."""
_DIGITS: Final = 64


def content(data: Mapping[str, Json], regions: Iterable[Mapping[str, Json]]) -> str:
    """The name of what is learned of a task: SHA-256, in hex, of its data and its regions (in their order) as JSON."""
    return hashlib.sha256(canonical([dict(data), [dict(one) for one in regions]])).hexdigest()


def fingerprint(examples: Iterable[tuple[str, str]]) -> str:
    """The name of a set of (task, content): SHA-256 in hex. An empty set has one, too.

    Raises ValueError for two examples of one task, and for a content that is not of `content`.
    """
    ordered = sorted(examples)
    for (task, _), (following, _) in pairwise(ordered):
        if task == following:
            raise ValueError(f"two examples of task {task}: a set has one of each")
    digest = hashlib.sha256(_FORMAT)
    for task, named in ordered:
        if len(named) != _DIGITS:
            raise ValueError(f"{named!r} is not the name of a content")
        raw = task.encode()
        digest.update(b"%d:%s%s" % (len(raw), raw, named.encode()))  # lengths are said: no two sets are one text
    return digest.hexdigest()


def differing(before: Mapping[str, str], now: Mapping[str, str]) -> int:
    """Tasks whose example came, went or changed between two sets (task -> content). 0 only if they are equal."""
    gone = sum(task not in now for task in before)
    return gone + sum(before.get(task) != named for task, named in now.items())
