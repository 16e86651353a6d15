"""Short texts with one label each: passages of the standard library's docstrings by area, or a file of labelled lines.

The docstrings are those of the interpreter that runs: other versions of Python have a few others.
"""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from prelabel_all_in_one.sample.areas import OTHER
from prelabel_all_in_one.sample.corpus import Corpus
from prelabel_contract.projects import Question
from prelabel_contract.regions import Choice
from prelabel_provider.trainer import Example
from prelabel_provider.uncertainty import Measure, uncertainty

from tests.benchmarks.case import Lost
from tests.benchmarks.learning.curves import Answer, Subject, Taught, Teach

FIELD, QUESTION = "text", "topic"
_FEWEST = 2


def docstrings(corpus: Corpus, count: int) -> Subject:
    """So many passages, the same in every run on the same Python, labelled by the area of their modules."""
    passages = [one for one in (*corpus.training, *corpus.tasks) if one.area != OTHER]
    chosen = Random(1).sample(sorted(passages, key=lambda one: one.id), min(count, len(passages)))
    return _subject([(one.id, one.text, one.area) for one in chosen])


def from_file(path: Path, count: int) -> Subject:
    """Lines of JSON with a text and a label: {"text": "...", "label": "..."}. Raises Lost for anything else."""
    rows = []
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        if not line.strip():
            continue
        try:
            said = json.loads(line)
            text, label = said["text"], said["label"]
        except (ValueError, KeyError, TypeError):
            raise Lost(f"line {number} is no object with text and label") from None
        if not isinstance(text, str) or not isinstance(label, str) or not label:
            raise Lost(f"line {number}: text and label are texts")
        rows.append((f"line-{number:07}", text, label))
    if len({label for _, _, label in rows}) < _FEWEST:
        raise Lost("the lines have fewer than two labels: there is nothing to tell apart")
    return _subject(Random(1).sample(rows, min(count, len(rows))))


def _subject(rows: Sequence[tuple[str, str, str]]) -> Subject:
    labels = tuple({"value": label} for label in sorted(Counter(label for _, _, label in rows)))
    question = Question.model_validate(
        {"name": QUESTION, "kind": "choice", "field": FIELD, "labels": labels, "multiple": False}
    )
    return Subject(question, tuple(Example(task, {FIELD: text}, (_choice(label),)) for task, text, label in rows))


def _choice(label: str) -> Choice:
    return Choice(labels=(label,), question=QUESTION, field=FIELD)


def teach(measure: Measure) -> Teach:
    """Weights of words and a logistic regression, without what the provider's trainer adds: seconds count here.

    That one also looks at pieces of words and calibrates, which makes it a little better and fifty times slower.
    """

    def taught(examples: Sequence[Example], seed: int) -> Taught:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression

        words: Any = TfidfVectorizer(sublinear_tf=True, strip_accents="unicode")
        given = words.fit_transform([str(one.data[FIELD]) for one in examples])
        model: Any = LogisticRegression(C=10.0, max_iter=1000, random_state=seed)
        model.fit(given, [one.regions[0].labels[0] for one in examples])

        def say(asked: Sequence[Example]) -> Sequence[Answer]:
            shares = model.predict_proba(words.transform([str(one.data[FIELD]) for one in asked]))
            return [
                Answer((_choice(model.classes_[row.argmax()]),), uncertainty((), measure, distributions=[row.tolist()]))
                for row in shares
            ]

        return say

    return taught
