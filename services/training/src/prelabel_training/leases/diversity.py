"""Texts that are unlike each other, and unlike those already annotated: greedy k-center over hashed TF-IDF.

Each next text is the one that is farthest from its nearest neighbour among all chosen before it, so that every text of
the pool comes to lie near an annotated one. Far is one minus the cosine: 0 for the same words, 1 for none in common.

Words are hashed, so that no vocabulary is kept and the same texts give the same order in every process. Plain Python:
0.6 to 1 s of CPU for 2,000 texts of which 100 are chosen, 2 to 4 s for 500, so not on an event loop. Pools are bounded
by who calls, and what is not taken costs nothing: each text is chosen when it is asked for.
"""

import math
import re
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Final

WORDS: Final = 100
"""Of a text, those at its beginning: a book costs no more than a paragraph."""
_CHARACTERS: Final = 20 * WORDS
"""Of a text, those in which they are looked for."""
_BUCKETS: Final = 1 << 20
"""Of two thousand pages' words few share one."""
_NOTHING: Final = -1
"""In the place of words, of a text without any that tells it from the others."""
_WORD: Final = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W\u3040-\u30ff\u3400-\u9fff]+")
"""What is written without spaces (Chinese, Japanese) by the character."""

Vector = Mapping[int, float]
"""Weights by hashed word, of length 1 together."""


def spread(texts: Sequence[str], done: Sequence[str] = ()) -> Iterator[int]:
    """The places of all texts, each as unlike those before it as can be had.

    `done` have been chosen earlier. Without any, the first is the one that has most in common with all others. Of
    equals the first in `texts` is chosen: who wants no such preference shuffles them.
    """
    vectors = weighted([*texts, *done])
    pool, earlier = vectors[: len(texts)], vectors[len(texts) :]
    index = _index(pool)
    # Of each to the nearest of the chosen. Those that are chosen themselves are left out of `open_places`.
    nearness = [0.0] * len(pool)
    open_places = dict.fromkeys(range(len(pool)))
    for vector in earlier:
        _come_near(nearness, index, vector)
    while open_places:
        first = len(open_places) == len(pool) and not earlier
        place = _most_typical(pool, index) if first else min(open_places, key=nearness.__getitem__)
        del open_places[place]
        yield place
        _come_near(nearness, index, pool[place])


def weighted(texts: Sequence[str]) -> list[Vector]:
    """A vector for each text. A word weighs by how often it is said there, and nothing when every text says it."""
    counted = [Counter(_words(text)) for text in texts]
    spoken = Counter(word for words in counted for word in words)
    rare = {word: math.log(len(texts) / times) for word, times in spoken.items()}
    return [_of_length_1({word: (1 + math.log(n)) * rare[word] for word, n in words.items()}) for words in counted]


def _words(text: str) -> Iterable[int]:
    found = islice(_WORD.finditer(text[:_CHARACTERS]), WORDS)
    # The built-in hash differs from process to process. Lone surrogates are in texts, too.
    return (zlib.crc32(each[0].lower().encode(errors="surrogatepass")) % _BUCKETS for each in found)


def _of_length_1(weights: Mapping[int, float]) -> Vector:
    length = math.sqrt(math.fsum(weight * weight for weight in weights.values()))
    if length == 0:
        return {_NOTHING: 1.0}
    return {word: weight / length for word, weight in weights.items() if weight}


def _index(pool: Sequence[Vector]) -> Mapping[int, Sequence[tuple[int, float]]]:
    """By word: the places of the vectors that have it, and its weight there."""
    index: defaultdict[int, list[tuple[int, float]]] = defaultdict(list)
    for place, vector in enumerate(pool):
        for word, weight in vector.items():
            index[word].append((place, weight))
    return index


def _come_near(nearness: list[float], index: Mapping[int, Sequence[tuple[int, float]]], vector: Vector) -> None:
    """Take one more chosen vector into account. Looks only at those that share a word with it."""
    for place, common in _products(index, vector).items():
        nearness[place] = max(nearness[place], common)


def _products(index: Mapping[int, Sequence[tuple[int, float]]], vector: Vector) -> Mapping[int, float]:
    products: defaultdict[int, float] = defaultdict(float)
    for word, weight in vector.items():
        for place, other in index.get(word, ()):
            products[place] += weight * other
    return products


def _most_typical(pool: Sequence[Vector], index: Mapping[int, Sequence[tuple[int, float]]]) -> int:
    together = {word: math.fsum(weight for _, weight in found) for word, found in index.items()}
    products = _products(index, together)
    return max(range(len(pool)), key=lambda place: products.get(place, 0.0))
