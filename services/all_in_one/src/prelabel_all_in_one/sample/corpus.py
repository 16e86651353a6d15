"""Passages of one or a few sentences, cut from the standard library's docstrings.

Modules are dealt out whole: the model trains on the passages of some modules, and every task comes from the
others, so what it finds in a task it has generalised, not remembered.
"""

import random
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from prelabel_all_in_one.sample.areas import area_of
from prelabel_all_in_one.sample.stdlib import Docstring, Names, read_library

FEWEST_WORDS = 11
ENOUGH_WORDS = 20
MOST_WORDS = 55
"""A passage's length in words: shorter pieces are left out, sentences are joined until there are enough."""

TRAINING_SHARE = 0.42
"""The part of all passages that training gets; the rest are tasks."""

_PARAGRAPH = re.compile(r"\n\s*\n")
_SENTENCE_END = re.compile(r"(?<=[.!?])(?<!e\.g\.)(?<!i\.e\.)(?<!etc\.)(?<!vs\.)(?<!cf\.)[\"')]*\s+(?=[\"'(`*]*[A-Z])")
_NOT_PROSE = re.compile(
    r"^\s*(>>>|\.\.\. |\$ |[|+=~^#<-]{2,}|\.\. |:\w+|@|import |from \S+ import|def |class \w+[(:])", re.M
)
_SIGNATURE = re.compile(r"^[\w.]+\([^)]*\)\s*(?:->|$)")
_BULLET = re.compile(r"^(?:[-*•]|\(?\d+[.)])\s+")
_WORD = re.compile(r"[A-Za-z]{2,}|[aAI]\b")
_CODE = re.compile(r" = |\w=\w|==|\.\.\.|\)\.\w|;$")
_MOST_CODE = 2
_FEWEST_LETTERS = 0.72
_FEWEST_REAL_WORDS = 0.7


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a docstring. `id` is the same on every run of one Python version; offsets are code points
    of `text`."""

    id: str
    text: str
    module: str
    area: str


@dataclass(frozen=True, slots=True)
class Corpus:
    """All passages, in two parts that share no module and no text, and the names that the library defines."""

    training: tuple[Passage, ...]
    tasks: tuple[Passage, ...]
    names: Names


def load_corpus(*, seed: int, root: Path | None = None) -> Corpus:
    """Read the standard library under `root` (default: this Python's) and deal its passages out, the same
    for the same seed.

    Takes a few seconds: hundreds of source files are parsed. Raises NoStandardLibrary where there are none.
    """
    library = read_library(root)
    passages = list(cut(library.docstrings))
    chance = random.Random(seed)
    training, tasks = _deal(passages, chance)
    chance.shuffle(training)
    chance.shuffle(tasks)
    return Corpus(tuple(training), tuple(tasks), library.names)


def cut(docstrings: Iterable[Docstring]) -> Iterator[Passage]:
    """Passages in the order of their docstrings; a text that came before, whatever its case or spacing, is
    left out."""
    seen: set[str] = set()
    counts: dict[str, int] = defaultdict(int)
    for docstring in docstrings:
        home = f"{docstring.module}:{docstring.name}" if docstring.name else docstring.module
        for text in _passages(docstring.text):
            key = " ".join(_WORD.findall(text.lower()))
            if key in seen:
                continue
            seen.add(key)
            # Counted per qualified name: a function defined twice (once per platform) has one name and two
            # docstrings.
            counts[home] += 1
            yield Passage(f"{home}#{counts[home]}", text, docstring.module, area_of(docstring.module))


def _deal(passages: Iterable[Passage], chance: random.Random) -> tuple[list[Passage], list[Passage]]:
    """Whole top-level modules to either side, so that a package's helpers do not give its tasks away."""
    by_module: dict[str, list[Passage]] = defaultdict(list)
    for passage in passages:
        # `_pydecimal` is what `decimal` is written in: the same sentences may stand in both.
        by_module[passage.module.partition(".")[0].lstrip("_").removeprefix("py")].append(passage)
    modules = sorted(by_module)
    chance.shuffle(modules)
    wanted = TRAINING_SHARE * sum(map(len, by_module.values()))
    training: list[Passage] = []
    tasks: list[Passage] = []
    for module in modules:
        fits = len(training) + len(by_module[module]) <= wanted * 1.02
        (training if fits else tasks).extend(by_module[module])
    return training, tasks


def _passages(docstring: str) -> Iterator[str]:
    for paragraph in _PARAGRAPH.split(docstring):
        if _NOT_PROSE.search(paragraph):
            continue
        prose = _BULLET.sub("", " ".join(paragraph.split()))
        if not _SIGNATURE.match(prose):
            yield from (text for text in _join(_SENTENCE_END.split(prose)) if _is_prose(text))


def _join(sentences: Iterable[str]) -> Iterator[str]:
    """Neighbouring sentences together until there are enough words; a sentence is never cut."""
    held: list[str] = []
    words = 0
    for sentence in sentences:
        length = len(sentence.split())
        if held and words + length > MOST_WORDS:
            yield " ".join(held)
            held, words = [], 0
        held.append(sentence)
        words += length
        if words >= ENOUGH_WORDS:
            yield " ".join(held)
            held, words = [], 0
    if held:
        yield " ".join(held)


def _is_prose(text: str) -> bool:
    words = text.split()
    if not FEWEST_WORDS <= len(words) <= MOST_WORDS or not text.isprintable() or len(_CODE.findall(text)) > _MOST_CODE:
        return False
    letters = sum(character.isalpha() or character == " " for character in text)
    real = sum(bool(_WORD.search(word)) for word in words)
    return letters >= _FEWEST_LETTERS * len(text) and real >= _FEWEST_REAL_WORDS * len(words)
