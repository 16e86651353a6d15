"""How long to wait before the next attempt."""

import random
from collections.abc import Iterator


def backoff(first: float, longest: float, rng: random.Random, *, factor: float = 2.0) -> Iterator[float]:
    """Seconds to wait, growing without end up to `longest`, each with up to 25 % of jitter taken off."""
    wait = first
    while True:
        yield wait * (1 - 0.25 * rng.random())
        wait = min(wait * factor, longest)
