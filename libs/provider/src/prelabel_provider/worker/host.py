"""The models of one provider in the worker's process: what they are asked, in which calls, and what they say.

A question about many inputs becomes several calls of the model, of the shape that its provider likes. Between two
calls the most urgent question goes on, so that an urgent one waits for one call at most, however much is queued.
"""

import gc
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any

from prelabel_contract.errors import field_errors
from prelabel_contract.regions import REGIONS
from pydantic import ValidationError

from ..base import BadSettings, BatchShape, Failed, Input, PredictedJson, Prediction, Provider
from .frames import (
    Answer,
    Answers,
    Began,
    Forget,
    Load,
    Loaded,
    NoAnswer,
    Predict,
    Question,
    Raised,
    Refused,
    Unload,
    Unloaded,
)

_OBJECTS = 10_000
"""Containers that may come without going until Python looks for garbage: a call's inputs and answers are fewer."""


@dataclass(order=True, slots=True)
class Job:
    """A question that is not done."""

    urgency: int
    number: int
    question: Load | Unload | Predict = field(compare=False)
    inputs: list[Input] = field(default_factory=list, compare=False)
    calls: deque[list[int]] | None = field(default=None, compare=False)
    """Places of the inputs of each call that is still to come; None: not decided yet."""


class Jobs:
    """Questions by urgency, then in the order in which they came: one thread puts them in, another takes them out."""

    def __init__(self) -> None:
        self._waiting: list[Job] = []
        self._count = 0
        self._changed = threading.Condition()
        self.idle = 0.0
        """Seconds for which the taking thread has waited, until it asks to be told."""

    def put(self, question: Question) -> None:
        """A question from the parent."""
        with self._changed:
            if isinstance(question, Forget):
                # Sorted, which a heap may be.
                self._waiting = sorted(job for job in self._waiting if job.question.id != question.id)
                return
            self._count += 1
            urgency = 0 if isinstance(question, Unload) else question.urgency
            heappush(self._waiting, Job(urgency, self._count, question))
            self._changed.notify()

    def put_back(self, job: Job) -> None:
        """A question that is not done; it keeps its place."""
        with self._changed:
            heappush(self._waiting, job)

    def take(self) -> Job:
        """The next one, as soon as there is one."""
        with self._changed:
            if not self._waiting:
                began = time.perf_counter()
                while not self._waiting:
                    self._changed.wait()
                self.idle += time.perf_counter() - began
            return heappop(self._waiting)

    def idled(self) -> float:
        """Seconds without work since this was asked last."""
        idle, self.idle = self.idle, 0.0
        return idle


class Host:
    """The models that are loaded, least recently used first."""

    def __init__(self, provider: type[Provider[Any]], limit: int, say: Callable[[Answer], None]) -> None:
        self._provider = provider
        self._limit = limit
        self._say = say
        self._models: OrderedDict[str, Provider[Any]] = OrderedDict()

    def work(self, job: Job, idle: float = 0.0) -> bool:
        """Do the next part of what is asked, and tell; whether there is more. Raises MemoryError only.

        `idle` is told on: for how long there was nothing to do before.
        """
        match job.question:
            case Load() as question:
                self._say(Began(question.id, [], idle))
                self._say(self._load(question))
            case Unload() as question:
                self._models.pop(question.key, None)
                _settle()
                self._say(Unloaded(question.id))
            case Predict() as question:
                return self._predict(question, job, idle)
        return False

    def _load(self, question: Load | Predict) -> Answer:
        try:
            settings = self._provider.Settings.model_validate_json(question.settings)
            while len(self._models) >= self._limit and question.key not in self._models:
                self._models.popitem(last=False)
            model = self._provider.load(settings)
            said = model.describe()
            labels = {kind: list(values) for kind, values in said.labels.items()}
            _warm(model)
        except ValidationError as error:
            wrong = field_errors(error)
            return Refused(question.id, "; ".join(f"{e.pointer or '(settings)'}: {e.detail}" for e in wrong))
        except BadSettings as error:
            return Refused(question.id, line(error))
        except MemoryError:
            raise
        except Exception as error:
            return Raised(question.id, f"{type(error).__name__}: {line(error)}")
        self._models[question.key] = model
        _settle()
        return Loaded(question.id, said.version, sorted(said.kinds), labels, said.runs_on, list(self._models))

    def _predict(self, question: Predict, job: Job, idle: float) -> bool:
        if question.key not in self._models:
            self._say(Began(question.id, [], idle))
            answer = self._load(question)
            self._say(answer)
            if not isinstance(answer, Loaded):
                return False
            idle = 0.0
        model = self._models[question.key]
        self._models.move_to_end(question.key)
        if job.calls is None:
            job.inputs = [Input(item.task, item.data, item.field) for item in question.items]
            job.calls = deque(_calls(model, job.inputs, question.most))
        places = job.calls.popleft()
        self._say(Began(question.id, places, idle))
        self._say(_answer(question.id, model, [job.inputs[place] for place in places]))
        return bool(job.calls)


def _answer(question: int, model: Provider[Any], inputs: list[Input]) -> Answers | Raised:
    began = time.perf_counter()
    try:
        said = model.predict(inputs)
        if len(said) != len(inputs):
            return Raised(question, f"{len(said)} predictions for {len(inputs)} inputs")
        items = [_packed(one) for one in said]
        return Answers(question, items, time.perf_counter() - began, _uncertainties(said))
    except MemoryError:
        raise
    except Exception as error:
        return Raised(question, type(error).__name__)


def _calls(model: Provider[Any], inputs: Sequence[Input], most: int) -> list[list[int]]:
    """Which inputs go to the model together."""
    lengths = [len(value) if isinstance(value := one.data.get(one.field), str) else 0 for one in inputs]
    calls = _shaped(model, inputs, most)
    return calls if sum(lengths) <= model.batch.characters else apart(calls, lengths, model.batch.characters)


def _shaped(model: Provider[Any], inputs: Sequence[Input], most: int) -> list[list[int]]:
    shape = model.batch
    records = min(most, shape.records) if most else shape.records
    if shape.size is not None:
        try:
            return by_size([model.size_of(one) for one in inputs], BatchShape(records, shape.size))
        except MemoryError:
            raise
        except Exception:  # noqa: S110 - what cannot be measured is given as it came, and fails then if it must
            pass
    return [list(range(first, min(first + records, len(inputs)))) for first in range(0, len(inputs), records)]


def by_size(sizes: Sequence[int], shape: BatchShape) -> list[list[int]]:
    """Places of inputs of these sizes, in calls of that shape: like with like, so that little is padded."""
    calls: list[list[int]] = []
    for place in sorted(range(len(sizes)), key=sizes.__getitem__):
        last = calls[-1] if calls else []
        full = len(last) >= shape.records or (shape.size is not None and (len(last) + 1) * sizes[place] > shape.size)
        if full or not last:
            calls.append([place])
        else:
            last.append(place)
    return calls


def apart(calls: Sequence[Sequence[int]], lengths: Sequence[int], most: int) -> list[list[int]]:
    """The same in calls of no more characters than that: what alone has more comes by itself, behind all others."""
    fitting: list[list[int]] = []
    large: list[list[int]] = []
    for call in calls:
        held = most + 1  # a call of its own begins
        for place in call:
            if lengths[place] > most:
                large.append([place])
            elif held + lengths[place] > most:
                fitting.append([place])
                held = lengths[place]
            else:
                fitting[-1].append(place)
                held += lengths[place]
    return fitting + large


def _warm(model: Provider[Any]) -> None:
    try:
        model.warm()
    except MemoryError:
        raise
    except Exception:  # noqa: S110 - a made-up input may be none that it takes
        pass


def _settle() -> None:
    # A model lives long: the collector frees what went, and need not walk what stays once per batch.
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    gc.set_threshold(_OBJECTS, *gc.get_threshold()[1:])


def _packed(said: Prediction) -> bytes | NoAnswer:
    if isinstance(said, Failed):
        return NoAnswer(said.reason, said.detail)
    if isinstance(said, PredictedJson):
        return said.regions
    return REGIONS.dump_json(said.regions, exclude_none=True)


def _uncertainties(said: Sequence[Prediction]) -> list[float | None]:
    given = [None if isinstance(one, Failed) else one.uncertainty for one in said]
    if given.count(None) == len(given):
        return []
    return [None if one is None else float(one) for one in given]  # numbers of numpy do not travel


def line(error: BaseException) -> str:
    """What an exception says, in one line."""
    return (str(error).strip().splitlines() or [""])[0][:500]
