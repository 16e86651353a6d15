"""What a store promises. One suite (prelabel_runtime.testing.store) proves it on every implementation.

Writes come from a log that delivers at least once, to replicas that may overlap. So no write cares about order or
repetition: writing the same values in any order, any number of times, in any grouping, leaves the same state. It
works because every write is one of three kinds, each keyed by one deterministic id:

* insert if absent (a line of an upload),
* keep the greatest (the newest revision of a task; the best outcome of a request), compared by (rank, order),
* add to a set (the runs that a task belongs to).

Ties in (rank, order) are decided by content, so that every order of writes gives one state. What is deleted leaves a
mark: a write that comes late brings nothing of it back.

A write returns when it is durable, and raises `Unavailable` when that is not known: repeat it. A batch is not a
transaction: after `Unavailable` a part of it may be there, which repeating mends. Reads see every write that returned
before they began.

Documents keep what people sent as the JSON text it was (`body`), so that it comes back without loss from any engine;
what is queried or compared stands beside it.

Pages are ordered and continue after a key, never by skipping: the last page of a million costs what the first does.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from .audit import Audit
from .dead_letters import DeadLetters, LetterClaims
from .deliveries import Deliveries, Endpoints, Recoveries
from .documents import Documents
from .generations import Contents, Generations
from .jobs import Jobs
from .paging import PageKey
from .quotas import Quotas


class State(StrEnum):
    """How far a request is. All but PENDING are final."""

    PENDING = "pending"
    CREATED = "created"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


RANK: Mapping[str, int] = {State.PENDING: 0, State.CREATED: 2}
"""A created prediction outranks every other end (rank 1); an end outranks pending."""


class RunState(StrEnum):
    """How far a run is. The last three are final."""

    OPEN = "open"
    SEALED = "sealed"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


# --------------------------------------------------------------------------------------------------------- values


@dataclass(frozen=True, slots=True)
class StoredTask:
    """A task at its newest revision. `first_ms` is when it was first accepted: the order of listings."""

    uid: str
    project: str
    id: str | None
    revision: int
    first_ms: int
    config: str
    body: str
    """JSON: {"data": …, "meta": …, "door": …}."""
    run: str | None = None
    """Writing: the run it was accepted in, added to its runs. Reading: None."""


@dataclass(frozen=True, slots=True)
class StoredOutcome:
    """The state of one request. `offset` is where its outcome stands in the log: of equals, the earliest wins.

    A content that comes back (A, B, A) is the same request again: the greatest `revision` and the least `task_ms` stay.
    """

    request: str
    project: str
    task: str
    revision: int
    model: str
    provider: str
    task_ms: int
    """When the task was accepted: the order of listings."""
    state: State
    offset: int = 0
    at_ms: int = 0
    """When it ended; 0 while pending."""
    version: str | None = None
    score: float | None = None
    body: str = "{}"
    """JSON: regions, lineage, reason: the data of the event."""
    run: str | None = None
    """Writing: the run it was requested for, added to its runs. Reading: None."""
    superseded_by: str | None = None
    uncertainty: float | None = None
    """How unsure the model was, 0 to 1; None where it gave nothing to tell by."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """A created outcome without what it says: enough to order tasks by, and to see which one is the newest."""

    task: str
    model: str
    request: str
    revision: int
    offset: int
    uncertainty: float | None
    superseded_by: str | None


@dataclass(frozen=True, slots=True)
class StoredLine:
    """What became of one line of an upload (`run` and `line`), or of a single task that was refused (`key`)."""

    key: str
    """Unique: <run>:<line>, or the id of the rejecting event."""
    project: str
    run: str | None
    line: int | None
    task: str | None
    """The accepted task; None for a refused line."""
    at_ms: int
    body: str = "{}"
    """JSON: {"reason", "errors", "id"} of a refused line."""


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A run. `total` is known once it is sealed; `announced` once its end has been published."""

    run: str
    project: str
    state: RunState
    opened_ms: int
    total: int | None = None
    ended_ms: int | None = None
    reason: str = ""
    announced: bool = False


@dataclass(frozen=True, slots=True)
class StoredAnnotation:
    """An annotation at its newest version. `offset` is where that stands in the log; `deleted` ones stay deleted, also
    against a greater offset.
    """

    annotation: str
    project: str
    task: str
    annotator: str
    offset: int
    at_ms: int
    deleted: bool = False
    skipped: bool = False
    ground_truth: bool = False
    body: str = "{}"
    """JSON: the data of the event."""

    @property
    def key(self) -> str:
        """What it is stored under. Who names an annotation of one task beside another task names another annotation."""
        return f"{self.task}/{self.annotation}"


DELETED = "deleted"
"""Stands for the content of a deleted task; no content hash looks like that."""


@dataclass(frozen=True, slots=True)
class Submission:
    """What the dispatcher remembers of a task: its newest revision, the hash of its content, its configuration."""

    uid: str
    revision: int
    content: str
    config: str


@dataclass(frozen=True, slots=True)
class LineCounts:
    """Lines of a run that the dispatcher has seen."""

    accepted: int
    rejected: int


# --------------------------------------------------------------------------------------------------- repositories


class Tasks(ABC):
    """Tasks, one per uid: the newest revision wins, runs add up, the earliest `first_ms` stays."""

    @abstractmethod
    async def put(self, tasks: Sequence[StoredTask]) -> None:
        """Write tasks. A deleted uid stays deleted."""

    @abstractmethod
    async def delete(self, uids: Sequence[str]) -> None:
        """Forget the tasks' content for good, also against what a late redelivery would write."""

    @abstractmethod
    async def get(self, project: str, uid: str) -> StoredTask | None:
        """One task."""

    @abstractmethod
    async def get_many(self, uids: Sequence[str]) -> Mapping[str, StoredTask]:
        """Those of the tasks that exist."""

    @abstractmethod
    async def page(
        self,
        project: str,
        *,
        limit: int,
        after: PageKey | None = None,
        run: str | None = None,
        model: str | None = None,
        state: State | None = None,
    ) -> Sequence[tuple[PageKey, StoredTask]]:
        """Tasks in the order in which they were accepted, each with its place.

        With `state`: tasks with an outcome in that state (of that `model`, if given; requested for that `run`, if
        given) at their newest revision or an older one, listed under the least `task_ms` of those outcomes. `model`
        without `state` raises ValueError.
        """

    @abstractmethod
    async def unannotated(
        self, project: str, *, scan: int, after: PageKey | None = None
    ) -> tuple[Sequence[str], PageKey | None]:
        """Uids of tasks that nobody annotated (skipped is annotated, withdrawn is not), as they were accepted.

        Of the next `scan` (1 or more) tasks after a place, whoever annotated them; and the place to go on from, None at
        the end. No body is read: the price is that of `scan` places in indexes.
        """

    @abstractmethod
    async def newest(self, project: str, *, limit: int) -> Sequence[StoredTask]:
        """The tasks of a project that were accepted last, newest first."""

    @abstractmethod
    async def count(self, project: str) -> int:
        """Tasks in a project."""


class Outcomes(ABC):
    """Outcomes, one per request: the greatest (rank of state, then earliest offset) wins, runs add up."""

    @abstractmethod
    async def put(self, outcomes: Sequence[StoredOutcome]) -> None:
        """Write outcomes, pending ones included."""

    @abstractmethod
    async def supersede(self, replaced: Mapping[str, str]) -> None:
        """Mark requests as replaced: request -> by what. May come before the request; the greater successor wins."""

    @abstractmethod
    async def delete_of_tasks(self, tasks: Sequence[str]) -> None:
        """Forget the outcomes of tasks."""

    @abstractmethod
    async def of_tasks(self, tasks: Sequence[str]) -> Mapping[str, Sequence[StoredOutcome]]:
        """All outcomes of some tasks, by task, ordered by (model, at_ms, request)."""

    @abstractmethod
    async def doubts(self, tasks: Sequence[str]) -> Mapping[str, Sequence[Doubt]]:
        """The created outcomes of some tasks without bodies, by task, ordered by (model, revision, offset, request)."""

    @abstractmethod
    async def counts(self, project: str) -> Mapping[str, Mapping[State, int]]:
        """Requests per model and state."""

    @abstractmethod
    async def counts_of_run(self, run: str) -> Mapping[State, int]:
        """Requests of a run per state."""

    @abstractmethod
    async def pending_in_run(self, run: str) -> bool:
        """Whether any request of a run has no outcome yet: costs the same however many it has."""

    @abstractmethod
    async def oldest_pending_ms(self) -> int | None:
        """When the oldest task that still waits for an outcome was accepted."""


class Lines(ABC):
    """Lines of uploads, inserted once."""

    @abstractmethod
    async def put(self, lines: Sequence[StoredLine]) -> None:
        """Insert those that are not there."""

    @abstractmethod
    async def counts(self, run: str) -> LineCounts:
        """How many lines of a run are in, by what became of them."""

    @abstractmethod
    async def rejected(self, run: str, *, after: int = 0, limit: int) -> Sequence[StoredLine]:
        """Refused lines of a run with a number greater than `after`, in order."""


class Runs(ABC):
    """Runs: a later state wins, a final one for good."""

    @abstractmethod
    async def open(self, run: str, project: str, at_ms: int) -> None:
        """There is such a run."""

    @abstractmethod
    async def seal(self, run: str, project: str, total: int, at_ms: int) -> None:
        """Its upload is over, with so many lines. Opens it too; of two totals the greater stays."""

    @abstractmethod
    async def finish(self, run: str, state: RunState, at_ms: int, reason: str = "") -> bool:
        """Give it a final state. False if it already had one; after an `Unavailable` that may be our own.

        The same end (state and reason) at an earlier moment moves it there: of an end that was told twice, the first
        holds. A run that is not open yet stays hidden until `open` or `seal`. Raises ValueError for a state that is
        not final.
        """

    @abstractmethod
    async def announced(self, run: str) -> None:
        """Its end has been published."""

    @abstractmethod
    async def get(self, project: str, run: str) -> StoredRun | None:
        """One run."""

    @abstractmethod
    async def unfinished(self, *, limit: int = 1000) -> Sequence[StoredRun]:
        """Runs whose end has not been published: open, sealed, and final ones not announced; oldest first."""

    @abstractmethod
    async def page(self, project: str, *, limit: int, after: PageKey | None = None) -> Sequence[StoredRun]:
        """Runs of a project, newest first; `after` is (opened_ms, run) of the last one seen."""


class Annotations(ABC):
    """Annotations, one per task and id: the greatest offset wins."""

    @abstractmethod
    async def put(self, annotations: Sequence[StoredAnnotation]) -> None:
        """Write annotations."""

    @abstractmethod
    async def of_tasks(self, tasks: Sequence[str]) -> Mapping[str, Sequence[StoredAnnotation]]:
        """Annotations of some tasks that are not deleted, by task, oldest first."""

    @abstractmethod
    async def delete_of_tasks(self, tasks: Sequence[str]) -> None:
        """Forget the content of the annotations of tasks."""


class Examples(ABC):
    """What training learns from: one current example per (project, task), derived from that task's annotations.

    Kept apart from `Annotations`, since another service owns it. The current example is the best annotation that is
    neither deleted nor skipped: a ground truth before others, then the one with the greatest offset.
    """

    @abstractmethod
    async def put(self, annotations: Sequence[StoredAnnotation]) -> None:
        """Write annotations; one whose newest version is deleted or skipped is no example."""

    @abstractmethod
    async def forget(self, tasks: Sequence[str]) -> None:
        """Forget the content of everything about some tasks."""

    @abstractmethod
    async def current(self, project: str, task: str) -> StoredAnnotation | None:
        """The example of one task."""

    @abstractmethod
    async def count(self, project: str) -> int:
        """Tasks that have an example: derived, so that no redelivery can inflate it."""

    @abstractmethod
    async def page(self, project: str, *, limit: int, after: str | None = None) -> Sequence[StoredAnnotation]:
        """Current examples ordered by task uid, from after a uid."""

    @abstractmethod
    async def annotations(self, project: str, *, limit: int, after: str | None = None) -> Sequence[StoredAnnotation]:
        """Everything said of whole tasks, skipped included, deleted and forgotten not: by task, then by offset.

        Tasks come in the order of their uids, from after the uid `after`, each with all of its annotations: `limit`
        (1 or more) is exceeded by at most what one task has more, so that no page ends within a task.
        """


class Submissions(ABC):
    """The dispatcher's memory of tasks, one per uid: the greatest revision wins."""

    @abstractmethod
    async def put(self, submissions: Sequence[Submission]) -> None:
        """Write submissions."""

    @abstractmethod
    async def put_new(self, submissions: Sequence[Submission]) -> Mapping[str, Submission]:
        """Write those of tasks that nothing is known of; each task once. Returns what is known of the others.

        Those stay as they are. Of several who write about one task at once, one is the first.
        """

    @abstractmethod
    async def get_many(self, uids: Sequence[str]) -> Mapping[str, Submission]:
        """Those that are known."""


@dataclass(frozen=True, slots=True)
class Projected:
    """One generation of what the projection writes: all of it, and nothing else, can be rebuilt from the log.

    Everything else in a store is not projected: examples, submissions, the webhooks' places and deliveries, claims,
    jobs, quotas, documents, and which generation is live.
    """

    generation: int
    tasks: Tasks
    outcomes: Outcomes
    lines: Lines
    runs: Runs
    annotations: Annotations
    dead_letters: DeadLetters
    contents: Contents


class Store(ABC):
    """All repositories over one database. A service uses those that it owns.

    `tasks` to `dead_letters` are those of the live generation, as far as this process knows. Whoever keeps one of them
    for longer than a call may go on with a generation that is not live any more: ask the store each time.
    """

    projected: Projected
    """The generation that this process uses."""
    generations: Generations
    claims: LetterClaims
    jobs: Jobs
    quotas: Quotas
    documents: Documents
    examples: Examples
    submissions: Submissions
    endpoints: Endpoints
    deliveries: Deliveries
    recoveries: Recoveries
    audit: Audit

    @property
    def tasks(self) -> Tasks:
        """Tasks."""
        return self.projected.tasks

    @property
    def outcomes(self) -> Outcomes:
        """Outcomes of requests."""
        return self.projected.outcomes

    @property
    def lines(self) -> Lines:
        """Lines of uploads."""
        return self.projected.lines

    @property
    def runs(self) -> Runs:
        """Runs."""
        return self.projected.runs

    @property
    def annotations(self) -> Annotations:
        """Annotations."""
        return self.projected.annotations

    @property
    def dead_letters(self) -> DeadLetters:
        """The index of dead letters."""
        return self.projected.dead_letters

    @abstractmethod
    async def generation(self, number: int) -> Projected:
        """A generation, made if it is not there. What this process uses stays as it is."""

    @abstractmethod
    async def use(self, number: int) -> None:
        """From now on this process uses that generation."""

    @abstractmethod
    async def drop(self, number: int) -> None:
        """Remove a generation with all that is in it. Raises ValueError for the one that this process uses."""

    @abstractmethod
    async def start(self) -> None:
        """Connect, declare the indexes, use the live generation; waits with back-off, then raises `Unavailable`.

        Raises `Refused` where waiting is no use: a bad address, no access, a database that is not ours.
        """

    @abstractmethod
    async def stop(self) -> None:
        """Close."""

    @abstractmethod
    async def check(self) -> None:
        """Raises `Unavailable` if nothing could be read now."""
