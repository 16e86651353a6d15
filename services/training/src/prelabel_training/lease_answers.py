"""What the routes of leases answer."""

from prelabel_contract.base import Json
from prelabel_contract.blobs import BlobRef
from prelabel_contract.regions import Regions
from prelabel_runtime.http.described import Shown
from prelabel_runtime.http.shapes import Data


class Suggestion(Shown):
    """What a model says about a task, for an annotator to take, change or refuse."""

    request: str
    """Name it as an annotation's `parent_prediction`."""
    model: str
    provider: str
    version: str | None
    score: float | None
    uncertainty: float | None
    """How much the model doubts it, 0 to 1; null where it gave nothing to tell by."""
    revision: int
    """The revision of the task that was asked about."""
    threshold: float | None
    regions: Regions
    regions_blob: BlobRef | None = None
    """Regions that are too large to be shown here."""


class LeasedTask(Shown):
    """A task that is yours until its lease ends."""

    lease: str
    """What to renew it by, or to give it back."""
    task: str
    """The task's uid."""
    id: str | None
    data: Data
    blobs: dict[str, BlobRef] = {}
    """Fields that are too large to be shown here; in `data` they are null."""
    meta: dict[str, Json]
    revision: int
    annotator: str
    strategy: str
    """By which it was chosen; of a mix, the one whose turn it was; `random` for what is held out."""
    until_ms: int
    blind: bool
    """It is shown without suggestions, whatever models say: answer it from what you see alone."""
    suggestions: list[Suggestion]
    """What stands predicted, one per model that has predicted it. None of a blind task."""


class PoolSeen(Shown):
    """Where the tasks were chosen from."""

    open: int
    """Tasks without an annotation that were taken into account."""
    held: int
    """Those of them that annotators hold."""
    seen: int
    """Tasks that were looked at, at most."""
    whole: bool
    """Everything was looked at: what is not among them is not open."""


class LeasedTasks(Shown):
    """Tasks, each in nobody else's hands."""

    leases: list[LeasedTask]
    """In the order in which they are best answered."""
    pool: PoolSeen


class RenewedLease(Shown):
    """A lease as it is now."""

    lease: str
    task: str
    annotator: str
    until_ms: int


class StopSignal(Shown):
    """Whether it is worth going on annotating. For people: nothing is stopped by it."""

    stop: bool
    reason: str
    """A word for machines: nothing_left, flat, certain, learning, unsure, too_early."""
    text: str
    """A sentence for people."""
    open: int
    """Tasks without an annotation that were looked at."""
    whole: bool
    """These are all there are."""
