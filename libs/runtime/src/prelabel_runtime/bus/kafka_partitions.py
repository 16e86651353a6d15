"""Which partition a key belongs to: murmur2, as all Kafka clients count, for many keys at once.

aiokafka's own is a loop over bytes, 8 µs for a task's key: as much as all the rest of publishing a record. Here the
keys of one length are hashed together: each has 64 bits of one large integer, which hold a product of 32 bits by 32,
and an operation on that integer is one on every key.
"""

import struct
from collections.abc import Sequence
from typing import Final

__all__ = ["partitions_of"]

_SEED: Final = 0x9747B28C
_M: Final = 0x5BD1E995
_MASK: Final = 0xFFFFFFFF
_POSITIVE: Final = 0x7FFFFFFF
_LANES: Final = 256
"""Keys in one integer: it stays in the nearest cache."""


def partitions_of(keys: Sequence[bytes], count: int) -> list[int]:
    """The partition of each key in a topic that has `count` of them, at least 1."""
    by_length: dict[int, list[int]] = {}
    for at, key in enumerate(keys):
        by_length.setdefault(len(key), []).append(at)
    found = [0] * len(keys)
    for length, places in by_length.items():
        for start in range(0, len(places), _LANES):
            some = places[start : start + _LANES]
            for at, number in zip(some, _hashes([keys[at] for at in some], length), strict=True):
                found[at] = (number & _POSITIVE) % count
    return found


def _hashes(keys: list[bytes], length: int) -> Sequence[int]:
    """Murmur2 of keys that all have this length."""
    size = len(keys)
    lanes = struct.Struct(f"<{size}Q")
    low = int.from_bytes(b"\xff\xff\xff\xff\0\0\0\0" * size, "little")
    number = (low // _MASK) * (_SEED ^ length)
    padding = bytes(-length % 4)
    blob = b"".join([key + padding for key in keys]) if padding else b"".join(keys)
    step = (length + 3) // 4
    words = struct.unpack(f"<{size * step}I", blob)
    for at in range(step):
        word = int.from_bytes(lanes.pack(*words[at::step]), "little")
        if padding and at == step - 1:  # what is left of a key that ends within a word
            number = (number ^ word) * _M & low
        else:
            word = word * _M & low
            number = ((number * _M & low) ^ (((word ^ word >> 24) & low) * _M)) & low
    number = ((number ^ number >> 13) & low) * _M & low
    number = (number ^ number >> 15) & low
    return lanes.unpack(number.to_bytes(lanes.size, "little"))
