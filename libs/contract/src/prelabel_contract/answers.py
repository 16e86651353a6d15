"""What regions say, whoever says it and however they are written: people's and models' answers are compared by it."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from .base import Json
from .names import canonical


def answer(regions: Iterable[Mapping[str, Json]]) -> bytes:
    """What regions (as JSON) say, in one form: the same in another order, under other ids or with other scores.

    The words that a span covers are left out too, since its offsets say them; so is the size of the picture.
    """
    regions = list(regions)
    bare = sorted((_bare(one, {}), str(one.get("id") or "")) for one in regions)
    # Ids are anybody's choice, but relations name regions by them, and regions that share one are about one thing. So
    # those are numbered, in the order of what they say; an id that nothing refers to says nothing.
    times = Counter(name for _, name in bare)
    said = {one[pointer] for one in regions for pointer in _POINTERS - {"id"} if isinstance(one.get(pointer), str)}
    numbers: dict[str, str] = {}
    for _, name in bare:
        if name and (times[name] > 1 or name in said):
            numbers.setdefault(name, str(len(numbers)))
    return b"\n".join(sorted(_bare(one, numbers) for one in regions))


_SAYS_NOTHING: Final = frozenset(("id", "score", "below_threshold", "picture"))
_COVERING: Final = frozenset(("span", "html_span", "paragraph_span"))
_POINTERS: Final = frozenset(("id", "from_id", "to_id", "of"))


def _bare(region: Mapping[str, Json], numbers: Mapping[str, str]) -> bytes:
    """A region without what says nothing; ids, and what points to them, by their numbers, if there are any."""
    said: dict[str, Json] = {}
    for key, value in region.items():
        if key in _POINTERS:
            if isinstance(value, str) and value in numbers:
                said[key] = numbers[value]
        elif key not in _SAYS_NOTHING and not (key == "text" and region.get("kind") in _COVERING):
            said[key] = sorted(value, key=str) if key == "labels" and isinstance(value, list) else value
    return canonical(said)
