"""What the models of a project are asked about a task: worked out once for a configuration, said for every task."""

from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Any, NamedTuple

from prelabel_contract import names
from prelabel_contract.base import unchecked
from prelabel_contract.blobs import BlobRef, hashed
from prelabel_contract.events import PredictionRequested, TaskSubmitted
from prelabel_contract.names import Lane
from prelabel_contract.projects import Project
from prelabel_runtime.store.base import Submission

MAX_PROJECTS = 1_000
"""Configurations that are remembered at once; the one that came first is forgotten first."""
_LANES = frozenset(Lane)
_requested = unchecked(PredictionRequested)


@dataclass(frozen=True, slots=True)
class Ask:
    """One model, and the fields that its questions are about."""

    model: str
    provider: str
    fields: frozenset[str]


class Asks:
    """What is asked under each configuration."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Project, tuple[Ask, ...]]] = {}

    def of(self, config: str, project: Project) -> tuple[Ask, ...]:
        """Of every model of a project; `config` is the content hash of it."""
        known = self._known.get(config)
        if known is not None and known[0] is project:
            return known[1]
        asks = tuple(
            Ask(
                model.name,
                model.provider,
                frozenset(name for question in project.questions_of(model) for name in question.fields),
            )
            for model in project.models
        )
        if len(self._known) >= MAX_PROJECTS:
            del self._known[next(iter(self._known))]
        self._known[config] = project, asks
        return asks


class Content(NamedTuple):
    """What a task says, in the form that it is hashed in: encoded once for all of its hashes."""

    data: dict[str, Any]
    blobs: dict[str, BlobRef]
    form: bytes
    """Of data and blobs."""

    @classmethod
    def of(cls, submitted: TaskSubmitted) -> "Content":
        """Of a task as it was submitted."""
        data, blobs = submitted.data, submitted.blobs
        return cls(data, blobs, names.canonical(hashed(data, blobs)))

    def hash(self, meta: Mapping[str, Any]) -> str:
        """The hash of all that the task says: the same means that nothing changed."""
        said = names.canonical(meta) if meta else b"{}"
        return names.hash_of(b'{"data":%b,"meta":%b}' % (self.form, said))

    def part(self, fields: Set[str]) -> tuple[dict[str, Any], dict[str, BlobRef], str]:
        """Those of the fields that there are, and their hash."""
        if not self.blobs and self.data.keys() <= fields:
            return self.data, self.blobs, names.hash_of(self.form)
        data = {name: value for name, value in self.data.items() if name in fields}
        blobs = {name: ref for name, ref in self.blobs.items() if name in fields}
        return data, blobs, names.hash_of(names.canonical(hashed(data, blobs)))


def request(data: TaskSubmitted, content: Content, ask: Ask, known: Submission, now_ms: int) -> PredictionRequested:
    """The request to one model, under an id that a repetition meets again."""
    fields, blobs, input_hash = content.part(ask.fields)
    return _requested(
        project=data.project,
        task=data.task,
        request=names.request_id(data.task, input_hash, ask.model, known.config),
        id=data.id,
        revision=known.revision,
        model=ask.model,
        provider=ask.provider,
        lane=_lane(data.lane),
        run=data.run,
        meta=data.meta,
        correlation=data.correlation,
        accepted_ms=now_ms,
        config=known.config,
        input_hash=input_hash,
        data=fields,
        blobs=blobs,
        generation="",
        deadline_ms=data.deadline_ms,
    )


def _lane(lane: Lane | str) -> Lane:
    """One of our lanes: what a later version calls otherwise is not urgent here."""
    if type(lane) is Lane:
        return lane
    return Lane(lane) if lane in _LANES else Lane.BULK
