"""Training spaCy pipelines: entities, spans that overlap, categories."""

import importlib.util
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import spacy
import thinc
from prelabel_contract.projects import Question
from prelabel_provider.pace import Pace
from prelabel_provider.trainer import CannotTrain, Job, Progress, Trained, Trainer
from pydantic import JsonValue
from spacy.util import fix_random_seed

from .components import component, pipeline
from .fitting import Fitted, fit
from .folders import FILES
from .lessons import Lessons, lessons
from .trainer_settings import SpacyTrainerSettings

_PACKAGE = re.compile(r"[A-Za-z0-9_]+")


class SpacyTrainer(Trainer[SpacyTrainerSettings]):
    """One question about spans, one about the whole text, or both: each a component of its own in one pipeline.

    Trains on one core, whatever the job's threads are. A component of the base is trained further where it has the
    labels of the label set, and made anew where it does not; the base's others are not in the new pipeline.
    """

    name = "spacy"
    kinds = frozenset({"span", "choice"})
    Settings = SpacyTrainerSettings
    writes = FILES
    source_settings = frozenset({"pipeline", "path", "blank", "patterns", "emit", "spans_key"})

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` tells seconds, from any moment on."""
        self._clock = clock

    def base_of(self, settings: Mapping[str, JsonValue]) -> Path | None:
        """The folder of the pipeline that a model's settings name; None: it is empty, and there is nothing to train."""
        path, package = settings.get("path"), settings.get("pipeline")
        if isinstance(path, str):
            return Path(path)
        return _installed(package) if isinstance(package, str) else None

    def train(self, job: Job, report: Callable[[Progress], None]) -> Trained:
        """Train and save a pipeline."""
        settings = self.settings(job)
        questions = _questions(job.label_set)
        nlp = pipeline(job.base, settings)
        parts = [lessons(nlp, question, job.examples, settings, job.seed) for question in questions]
        fix_random_seed(job.seed)  # what spaCy and thinc draw is drawn from the process's own generators
        chance = random.Random(job.seed)
        pace = Pace(report, self._clock)
        steps = settings.epochs * sum(len(part.shown) for part in parts)
        pace(0, steps)
        before = 0
        metrics: Counter[str] = Counter()
        names = []
        for part in parts:
            name, knows = component(nlp, part, settings)
            names.append(name)

            def done(step: int, before: int = before) -> None:
                pace(before + step, steps)

            fitted = fit(nlp, name, part, settings, chance, pace, done, knows=knows)
            before += settings.epochs * len(part.shown)
            metrics.update(part.left_out)
            metrics.update(_metrics(part, fitted, knows=knows))
        pace(steps, steps)
        _save(nlp, names, job.folder)
        return Trained(
            files=tuple(sorted(p.relative_to(job.folder).as_posix() for p in job.folder.rglob("*") if p.is_file())),
            metrics={name: float(value) for name, value in metrics.items()},
            libraries={"spacy": spacy.__version__, "thinc": thinc.__version__},
        )


def _installed(package: str) -> Path:
    """Where an installed pipeline's files lie; its code is its operator's, and is not run. Raises `CannotTrain`."""
    found = importlib.util.find_spec(package) if _PACKAGE.fullmatch(package) else None
    for place in (found.submodule_search_locations or ()) if found is not None else ():
        for config in sorted(Path(place).glob("*/config.cfg")):
            return config.parent
    raise CannotTrain("base", f"there is no pipeline {package[:100]!r} here")


def _questions(label_set: Sequence[Question]) -> tuple[Question, ...]:
    """What can be learned together: one question of each kind, about one field. Raises `CannotTrain`."""
    for question in label_set:
        if not SpacyTrainer.kinds & set(question.kinds):
            raise CannotTrain("kind", f"question {question.name!r} takes {question.kind}: spaCy learns span and choice")
    spans = ["span" in question.kinds for question in label_set]
    if len(set(spans)) != len(spans) or len({question.field for question in label_set}) != 1:
        raise CannotTrain(
            "questions",
            "one pipeline learns one question about spans and one about choices, of one field: "
            "give every other question a model of its own",
        )
    return tuple(label_set)


def _metrics(part: Lessons, fitted: Fitted, *, knows: bool) -> dict[str, float]:
    told = {
        f"{part.component}_shown": float(len(part.shown)),
        f"{part.component}_scored": float(len(part.scored)),
        f"{part.component}_epochs": float(fitted.epochs),
        f"{part.component}_continued": float(knows),
    }
    return told if fitted.score is None else {**told, f"{part.component}_f1": fitted.score}


def _save(nlp: Any, names: Sequence[str], folder: Path) -> None:
    for name in list(nlp.pipe_names):
        if name not in names:
            nlp.remove_pipe(name)
    nlp.to_disk(folder)
