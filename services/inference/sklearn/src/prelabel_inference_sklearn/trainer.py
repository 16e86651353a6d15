"""Trains classifiers of texts, or of rows of numbers, out of examples: one choice, or any number of choices.

Texts become TF-IDF weights of words and of pieces of words, rows are scaled; a logistic regression says how likely each
label is. It is trained on all examples, and measured on models of parts of them (cross-validation); what those say
of examples they have not seen also tells how sure the whole may be. A version is never trained further: all examples
are seen anew, which takes seconds, and what was deleted is gone.

scikit-learn itself is imported with the first training: who only draws the form of the settings does not pay for it.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Self

from prelabel_contract.base import Name
from prelabel_contract.projects import Question
from prelabel_provider.base import Input
from prelabel_provider.trainer import CannotTrain, Example, Job, Progress, Trained, Trainer, TrainerSettings
from pydantic import Field, model_validator

from .settings import Encoding, InputKind
from .trained import FILE, READS, Reads, describe

if TYPE_CHECKING:
    from .features import Given

_TOO_LARGE = 1e100
"""A number whose square could still be summed up."""


class SklearnTrainerSettings(TrainerSettings):
    """What the model reads, as the provider's settings say it, and how it is trained."""

    input: InputKind = "text"
    """text: the field is a text. vector: it is a list of numbers, or such numbers in Base64."""
    columns: tuple[Name, ...] = ()
    """With vector: the fields that hold one number each, where no single field holds all."""
    encoding: Encoding = "float32"
    """With vector: what numbers in Base64 are, little endian."""
    max_length: Annotated[int, Field(ge=1)] = 1_000_000
    """Characters. Longer texts are not learned from, as they are not predicted."""
    minimum: Annotated[int, Field(ge=4)] = 10
    """Examples that can be used, at least."""
    folds: Annotated[int, Field(ge=2, le=20)] = 5
    """Parts that the examples are measured in."""
    calibrate_from: Annotated[int, Field(ge=20)] = 50
    """Examples from which on scores are calibrated; on fewer that would be a guess."""
    features: Annotated[int, Field(ge=100, le=200_000)] = 20_000
    """With text: the most frequent words, and the most frequent pieces of words, that count, each."""
    c: Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)] | None = None
    """How much the examples count against simplicity. Empty: 10 for texts, 1 for vectors."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        of_other = ("max_length", "features") if self.input == "vector" else ("columns", "encoding")
        for name in of_other:
            if name in self.model_fields_set and getattr(self, name) != ():
                raise ValueError(f"{name} has no effect with input = {self.input}")
        return self


class SklearnTrainer(Trainer[SklearnTrainerSettings]):
    """Writes a file of types that skops trusts, and beside it what the model reads."""

    name = "sklearn"
    kinds = frozenset({"choice"})
    Settings = SklearnTrainerSettings
    writes = frozenset({".skops", ".json"})
    source_settings = frozenset({"path", "input", "columns", "encoding", "labels", "emit"})

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock`: seconds, for the time that is left."""
        self._clock = clock

    def train(self, job: Job, report: Callable[[Progress], None]) -> Trained:
        """Measure, fold by fold, then train on everything. Raises `CannotTrain`.

        Reasons: questions, settings, unknown_label, no_text, no_vector, numbers, too_few, single_class.
        """
        settings = self.settings(job)
        question = _question(job)
        _check_labels(job.examples, question)
        if len(job.examples) < settings.minimum:
            raise _too_few(len(job.examples), settings)
        given, kept = _given(job.examples, question, settings)
        answered = [one for one in kept if question.multiple or len(_labels(job.examples[one])) == 1]
        if len(answered) < settings.minimum:
            raise _too_few(len(answered), settings)
        return self._trained(job, report, settings, question, given, kept, answered)

    def _trained(
        self,
        job: Job,
        report: Callable[[Progress], None],
        settings: SklearnTrainerSettings,
        question: Question,
        given: "Given",
        kept: Sequence[int],
        answered: Sequence[int],
    ) -> Trained:
        from .learning import Lesson, Plan, learn, part
        from .saved import libraries, save
        from .truths import truth_of

        chosen = set(answered)
        places = [place for place, one in enumerate(kept) if one in chosen]
        examples = [job.examples[one] for one in answered]
        lesson = Lesson(
            part(given, places),
            truth_of([_labels(one) for one in examples], question),
            [one.weight for one in examples],
        )
        plan = Plan(settings.input, settings.c, settings.features, settings.folds, settings.calibrate_from, job.seed)
        model, metrics = learn(lesson, plan, self._timed(report))
        save(model, job.folder / FILE)
        counts = {"examples": float(len(examples)), "examples_skipped": float(len(job.examples) - len(examples))}
        describe(job.folder, Reads(input=settings.input, columns=settings.columns, encoding=settings.encoding))
        return Trained((FILE, READS), {**counts, **metrics}, libraries())

    def _timed(self, report: Callable[[Progress], None]) -> Callable[[int, int, float | None], None]:
        """The whole is larger than any part: what is left is told as if it were not."""
        start = self._clock()

        def told(step: int, steps: int, score: float | None) -> None:
            left = (self._clock() - start) / step * (steps - step) if step else None
            report(Progress(step, steps, score=score, seconds_left=left))

        return told


def _question(job: Job) -> Question:
    if len(job.label_set) != 1 or job.label_set[0].kind != "choice":
        raise CannotTrain("questions", "a model of scikit-learn answers one question, of choice: train one for each")
    return job.label_set[0]


def _labels(example: Example) -> frozenset[str]:
    return frozenset(label for region in example.regions for label in region.labels)


def _check_labels(examples: Sequence[Example], question: Question) -> None:
    allowed = {label.value for label in question.labels}
    wrong = sum(
        any(region.question != question.name for region in one.regions) or not _labels(one) <= allowed
        for one in examples
    )
    if wrong:
        raise CannotTrain(
            "unknown_label", f"{wrong} of {len(examples)} examples answer what question {question.name!r} does not ask"
        )


def _too_few(found: int, settings: SklearnTrainerSettings) -> CannotTrain:
    return CannotTrain(
        "too_few",
        f"{found} examples can be used, {settings.minimum} are needed: annotate {settings.minimum - found} more",
    )


def _given(
    examples: Sequence[Example], question: Question, settings: SklearnTrainerSettings
) -> tuple["Given", list[int]]:
    """What the model is given, and of which examples: by their places."""
    batch = [Input(one.task, one.data, question.field) for one in examples]
    return _texts(batch, settings) if settings.input == "text" else _rows(batch, settings)


def _texts(batch: Sequence[Input], settings: SklearnTrainerSettings) -> tuple["Given", list[int]]:
    from .features import Texts

    given, unfit = Texts(settings.max_length).read(batch)
    fit = [place for place in range(len(batch)) if place not in unfit]
    told = [(text, place) for text, place in zip(given, fit, strict=True) if str(text).strip()]
    if not told:
        raise CannotTrain(
            "no_text", f"no example has a text in its field: give texts, or set input = vector{_most(batch)}"
        )
    return [text for text, _ in told], [place for _, place in told]


def _most(batch: Sequence[Input]) -> str:
    found = Counter(type(one.data.get(one.field)).__name__ for one in batch).most_common(1)
    return f" (most hold a {found[0][0]})" if found else ""


def _rows(batch: Sequence[Input], settings: SklearnTrainerSettings) -> tuple["Given", list[int]]:
    import numpy as np

    from .features import Vectors, usual_length

    count = len(settings.columns) or usual_length(batch, settings.encoding)
    given, unfit = Vectors(count, settings.encoding, settings.columns).read(batch)
    if not count or not len(given):
        raise CannotTrain(
            "no_vector", "no example has numbers where the settings say: look at input, columns, encoding"
        )
    if np.abs(np.asarray(given)).max() > _TOO_LARGE:
        raise CannotTrain("numbers", f"some numbers are beyond {_TOO_LARGE:g}: give them in another unit")
    return given, [place for place in range(len(batch)) if place not in unfit]
