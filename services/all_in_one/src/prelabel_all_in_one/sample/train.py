"""A statistical named-entity model, trained on the spot, to the clock: a slow machine sees fewer examples,
not more seconds.

Needs spaCy; nothing else in `sample` does. Where spaCy has an environment of its own, its interpreter runs
this file as a module and reads one JSON object per line: {"fraction", "message"} while it trains,
{"report"} at the end.

    python -m prelabel_all_in_one.sample.train FOLDER --seconds 20 --seed 1
"""

import argparse
import json
import random
import re
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import spacy
from spacy.training import Example
from spacy.util import fix_random_seed

from prelabel_all_in_one.sample.corpus import Corpus, Passage, load_corpus
from prelabel_all_in_one.sample.gold import LABELS, MODULE, Gold

_T = TypeVar("_T")
Span = tuple[int, int, str]
Progress = Callable[[float, str], None]
"""Called with how much of the time is used up (0 to 1) and what is being done, a few times a second."""

HELD_OUT = 1500
"""At most so many held-out passages are scored; fewer where the time runs out first."""

_WITHOUT_NAMES = 0.5  # passages without a name, per passage with one: enough to learn restraint, few enough to be quick
_RARE_TIMES = 3  # how many more times a passage with a rare label is shown
_SWAPPED = 0.7  # the chance that a name is replaced by another of its label when its passage is shown again
_FIRST_BATCH, _LAST_BATCH, _GROWTH = 4, 32, 1.02  # many small steps first: half the words for the same F1
_LEARN_RATE = 0.006
_DROPOUT = 0.1
_RESERVED = 0.15  # the part of the time kept for saving and scoring
_WIDTH = 64
_ROWS = {
    "NORM": 2000,
    "PREFIX": 500,
    "SUFFIX": 1000,
    "SHAPE": 500,
    "SPACY": 10,
    "IS_TITLE": 10,
    "IS_LOWER": 10,
}

_MARK = r"[()\[\]{}<>`'\",;:=*/|!?+&^%$#@~\\-]"


@dataclass(frozen=True, slots=True)
class Score:
    """How well found names match the weak gold: exact offsets and label. Ratios are 0 to 1; `names` is how
    many there were."""

    precision: float
    recall: float
    f1: float
    names: int


@dataclass(frozen=True, slots=True)
class TrainingReport:
    """What was trained, for how long (seconds, all included) and how well it does on modules that it never
    saw."""

    overall: Score
    by_label: Mapping[str, Score]
    training_passages: int
    training_modules: int
    held_out_passages: int
    held_out_modules: int
    rounds: float
    words_per_second: float
    seconds: float
    seed: int

    def as_json(self) -> dict[str, Any]:
        """Plain values, ready for `json.dumps`."""
        return asdict(self)


def train(
    corpus: Corpus,
    folder: Path,
    *,
    seconds: float,
    seed: int,
    examples: int | None = None,
    progress: Progress = lambda _fraction, _message: None,
    clock: Callable[[], float] = time.perf_counter,
) -> TrainingReport:
    """Train on `corpus.training`, save the pipeline to `folder`, score it on `corpus.tasks`, all within
    `seconds`.

    The same seed shows the same examples in the same order; how far it gets depends on the machine, so two
    runs may differ a little. Below some 5 seconds the model is not worth having. Raises OSError when
    `folder` cannot be written. `clock` tells seconds, from any moment on.

    With `examples` it ends after that many were shown, if the time allows: a beginner, who can still be taught.
    """
    started = clock()
    learning_ends = started + seconds * (1 - _RESERVED)
    fix_random_seed(seed)
    chance = random.Random(seed)
    gold = Gold(corpus.names)

    progress(0.0, "reading the training passages")
    nlp = _blank_pipeline()
    lessons = _Lessons(nlp, corpus.training, gold, chance)
    optimizer = nlp.initialize(lambda: lessons.sample)
    recognizer = nlp.get_pipe("ner")
    words, shown = 0, 0
    learning_began = clock()
    for batch in lessons:
        now = clock()
        if now >= learning_ends or (examples is not None and shown >= examples):
            break
        used = max((now - learning_began) / (learning_ends - learning_began), shown / examples if examples else 0.0)
        optimizer.learn_rate = _LEARN_RATE * max(0.1, 1.0 - used)
        recognizer.update(batch, sgd=optimizer, drop=_DROPOUT)  # `nlp.update` would copy every example first
        words += sum(map(len, batch))
        shown += len(batch)
        progress(min((now - started) / seconds, 1.0), f"learning: {shown:,} examples")
    learned_for = clock() - learning_began

    progress(min((clock() - started) / seconds, 1.0), "saving")
    folder.mkdir(parents=True, exist_ok=True)
    nlp.to_disk(folder)
    tally = _Tally()
    longest = 0.0
    for some in _batches(corpus.tasks[:HELD_OUT], 50):
        before = clock()
        if tally.passages and before + longest > started + seconds:
            break
        tally.add(nlp, some, gold)
        longest = max(longest, clock() - before)
        used = min((clock() - started) / seconds, 1.0)
        progress(used, f"scoring on modules never trained on: {len(tally.passages):,} passages")
    progress(1.0, "trained")
    return TrainingReport(
        overall=tally.score(LABELS),
        by_label={label: tally.score([label]) for label in LABELS},
        training_passages=len(lessons.passages),
        training_modules=len({passage.module for passage in lessons.passages}),
        held_out_passages=len(tally.passages),
        held_out_modules=len({passage.module for passage in tally.passages}),
        rounds=round(shown / len(lessons.sample), 2) if lessons.sample else 0.0,
        words_per_second=round(words / learned_for, 1) if learned_for > 0 else 0.0,
        seconds=round(clock() - started, 2),
        seed=seed,
    )


def _blank_pipeline() -> Any:
    """An untrained pipeline: names such as `os.path.join` are one token, and whether a space follows is a
    feature."""
    nlp = spacy.blank("en")
    nlp.meta.update(name="stdlib_names", version="1.0.0", description="Names in Python's documentation")
    tokenizer = nlp.tokenizer
    tokenizer.rules = {}
    tokenizer.url_match = None
    tokenizer.prefix_search = re.compile(rf"^(?:{_MARK}|\.)").search
    tokenizer.suffix_search = re.compile(rf"(?:{_MARK}|\.)$").search
    tokenizer.infix_finditer = re.compile(rf"{_MARK}|\.\.+|(?<!\w)\.").finditer
    embed = {
        "@architectures": "spacy.MultiHashEmbed.v2",
        "width": _WIDTH,
        "attrs": list(_ROWS),
        "rows": list(_ROWS.values()),
        "include_static_vectors": False,
    }
    encode = {
        "@architectures": "spacy.MaxoutWindowEncoder.v2",
        "width": _WIDTH,
        "depth": 2,
        "window_size": 1,
        "maxout_pieces": 2,
    }
    parser = {
        "@architectures": "spacy.TransitionBasedParser.v2",
        "state_type": "ner",
        "extra_state_tokens": False,
        "hidden_width": 32,
        "maxout_pieces": 2,
        "use_upper": True,
        "nO": None,
        "tok2vec": {"@architectures": "spacy.Tok2Vec.v2", "embed": embed, "encode": encode},
    }
    nlp.add_pipe("ner", config={"model": parser})
    return nlp


class _Lessons:
    """Batches of examples without end. The first round shows the passages as they are; later ones swap
    their names.

    A name of the training part takes the place of another with its label: what is learned is the
    surroundings and the shape, not the list of names. `sample` (the first round) tells spaCy which labels
    there are.
    """

    def __init__(self, nlp: Any, passages: Iterable[Passage], gold: Gold, chance: random.Random) -> None:
        self._nlp = nlp
        self._chance = chance
        marked = [(passage, gold(passage)) for passage in passages]
        named = [(passage, spans) for passage, spans in marked if spans]
        plain = [(passage, spans) for passage, spans in marked if not spans][: int(len(named) * _WITHOUT_NAMES)]
        rare = [(passage, spans) for passage, spans in named if any(label == MODULE for *_, label in spans)]
        self.passages = [passage for passage, _ in (*named, *plain)]
        self._marked = [*named, *plain, *(rare * _RARE_TIMES)]
        self._names: dict[str, list[str]] = defaultdict(list)
        for passage, spans in named:
            for start, end, label in spans:
                self._names[label].append(passage.text[start:end])
        self.sample = [self._example(passage.text, spans) for passage, spans in self._marked]

    def __iter__(self) -> Iterator[list[Any]]:
        size = float(_FIRST_BATCH)
        batch: list[Any] = []
        for example in self._examples():
            batch.append(example)
            if len(batch) >= int(size):
                yield batch
                batch, size = [], min(size * _GROWTH, _LAST_BATCH)

    def _examples(self) -> Iterator[Any]:
        first_round = list(self.sample)
        self._chance.shuffle(first_round)
        yield from first_round
        while self._marked:
            self._chance.shuffle(self._marked)
            for passage, spans in self._marked:
                yield self._example(*self._swapped(passage.text, spans))

    def _swapped(self, text: str, spans: Sequence[Span]) -> tuple[str, list[Span]]:
        written, moved, at = "", [], 0
        for start, end, label in spans:
            name = text[start:end]
            if self._chance.random() < _SWAPPED:
                name = self._chance.choice(self._names[label])
            written += text[at:start]
            moved.append((len(written), len(written) + len(name), label))
            written += name
            at = end
        return written + text[at:], moved

    def _example(self, text: str, spans: Sequence[Span]) -> Any:
        reference = self._nlp.make_doc(text)
        found = (reference.char_span(*span) for span in spans)
        reference.set_ents([span for span in found if span is not None])
        return Example(self._nlp.make_doc(text), reference)


class _Tally:
    """Counts of names found, right and in the gold, by label."""

    def __init__(self) -> None:
        self.passages: list[Passage] = []
        self._right: Counter[str] = Counter()
        self._found: Counter[str] = Counter()
        self._gold: Counter[str] = Counter()

    def add(self, nlp: Any, passages: Sequence[Passage], gold: Gold) -> None:
        self.passages.extend(passages)
        for passage, doc in zip(passages, nlp.pipe(passage.text for passage in passages), strict=True):
            found = {(entity.start_char, entity.end_char, entity.label_) for entity in doc.ents}
            wanted = set(gold(passage))
            self._found.update(label for *_, label in found)
            self._gold.update(label for *_, label in wanted)
            self._right.update(label for *_, label in found & wanted)

    def score(self, labels: Iterable[str]) -> Score:
        labels = list(labels)
        right, found, wanted = (
            sum(count[label] for label in labels) for count in (self._right, self._found, self._gold)
        )
        precision = right / found if found else 0.0
        recall = right / wanted if wanted else 0.0
        f1 = 2 * right / (found + wanted) if found + wanted else 0.0
        return Score(round(precision, 4), round(recall, 4), round(f1, 4), wanted)


def _batches(items: Sequence[_T], size: int) -> Iterator[list[_T]]:
    for start in range(0, len(items), size):
        yield list(items[start : start + size])


def main() -> None:
    """Train into a folder and write progress and the report as JSON lines."""
    parser = argparse.ArgumentParser(description="Train the sample model on this Python's own documentation.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--examples", type=int, default=None)
    arguments = parser.parse_args()
    last = 0.0

    def say(line: dict[str, Any]) -> None:
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()

    def progress(fraction: float, message: str) -> None:
        nonlocal last
        if fraction == 0 or fraction - last >= 0.01:
            last = fraction
            say({"fraction": round(fraction, 3), "message": message})

    corpus = load_corpus(seed=arguments.seed)
    report = train(
        corpus,
        arguments.folder,
        seconds=arguments.seconds,
        seed=arguments.seed,
        examples=arguments.examples,
        progress=progress,
    )
    say({"report": report.as_json()})


if __name__ == "__main__":
    main()
