"""scikit-learn's handwritten digits as tasks, learned by the provider's trainer and answered by the provider."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import orjson
from prelabel_contract.projects import Question
from prelabel_contract.regions import Choice
from prelabel_inference_sklearn.files import load
from prelabel_inference_sklearn.provider import SklearnProvider
from prelabel_inference_sklearn.settings import SklearnLimits, SklearnSettings
from prelabel_inference_sklearn.trained import FILE
from prelabel_inference_sklearn.trainer import SklearnTrainer
from prelabel_provider.base import Failed, Input, PredictedJson
from prelabel_provider.trainer import Example, Job
from prelabel_provider.uncertainty import Measure, uncertainty

from tests.benchmarks.case import Lost
from tests.benchmarks.learning.curves import Answer, Subject, Taught, Teach

FIELD = "pixels"
QUESTION = Question(
    name="digit",
    kind="choice",
    field=FIELD,
    labels=tuple({"value": str(one)} for one in range(10)),
    multiple=False,
)


def subject() -> Subject:
    """1,797 pictures of 8 by 8 pixels, which come with scikit-learn."""
    from sklearn.datasets import load_digits

    pixels, digits = load_digits(return_X_y=True)
    return Subject(
        QUESTION,
        tuple(
            Example(f"digit-{place:04}", {FIELD: [int(one) for one in row]}, (choice(str(digit)),))
            for place, (row, digit) in enumerate(zip(pixels, digits, strict=True))
        ),
    )


def choice(label: str) -> Choice:
    """An answer."""
    return Choice(labels=(label,), question=QUESTION.name, field=FIELD)


def teach(measure: Measure | None) -> Teach:
    """A model as it would serve. Doubt by a measure over all classes; None: by the score alone, as a prediction is."""

    def taught(examples: Sequence[Example], seed: int) -> Taught:
        with tempfile.TemporaryDirectory(prefix="prelabel-bench-") as folder:
            job = Job(tuple(examples), (QUESTION,), Path(folder), seed, {"input": "vector"})
            SklearnTrainer().train(job, lambda _: None)
            provider = SklearnProvider.load(SklearnSettings(path=folder))
            model = load(str(Path(folder) / FILE), SklearnLimits()).model

        def say(asked: Sequence[Example]) -> Sequence[Answer]:
            said = provider.predict([Input(one.task, one.data, FIELD) for one in asked])
            shares = model.predict_proba([one.data[FIELD] for one in asked]).tolist() if measure else [()] * len(asked)
            return [_answer(one, row, measure) for one, row in zip(said, shares, strict=True)]

        return say

    return taught


def _answer(said: object, shares: Sequence[float], measure: Measure | None) -> Answer:
    if not isinstance(said, PredictedJson):
        raise Lost(f"a digit was not predicted: {said.reason if isinstance(said, Failed) else said}")
    (one,) = orjson.loads(said.regions)
    region = choice(one["labels"][0]).model_copy(update={"score": one["score"]})
    if measure is None:
        return Answer((region,), uncertainty([region]))
    return Answer((region,), uncertainty([region], measure, distributions=[shares]))
