"""Which version serves: one record per (project, model), changed by compare-and-set alone.

- There is one record, and it names one version: never none, never two. Where there is no record the model serves as its
  settings say: version "settings", epoch 0, no artifact.
- Each change counts the epoch up by one. Two who want to change it at once: one does, the other reads again.
- A change is announced (`model.serving` on `models`, what happened on `learning`) under ids that follow from the model
  and the epoch: published as often as it takes, it is one event. A change that is not announced is announced before the
  next one is made, so none is lost; `Announcer` sees to those whose process died in between.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from prelabel_contract import names
from prelabel_contract.base import READING, Count, Milliseconds, Model, Slug
from prelabel_contract.events import AnyEvent, EventData, ModelPromoted, ModelRolledBack, ModelServing, event
from prelabel_runtime import log
from prelabel_runtime.bus.base import Bus
from prelabel_runtime.clock import Clock
from prelabel_runtime.errors import Unavailable
from prelabel_runtime.loop import messages
from prelabel_runtime.store.documents import Document, Documents

from .versions import SETTINGS, VersionRecord

KIND: Final = "serving"
"""The kind of the pointer's document; its key is <project>/<model>."""
SOURCE: Final = "/training/registry"
GATE: Final = "gate"
"""Who changed it, where the gate did."""
PAST: Final = 200
"""Changes that the record remembers."""
_ATTEMPTS: Final = 100
_log = log.get("prelabel.registry")


class Change(Model):
    """What began to serve, when and why."""

    epoch: Count
    version: str
    artifact: str = ""
    provider: Slug
    training: str = ""
    """The version's; empty for the model as its settings say."""
    how: str
    """promoted or rolled_back."""
    by: str
    """`gate`, or the id of the key that asked for it."""
    at_ms: Milliseconds
    provisional: bool = False
    detail: str = ""


class Pointer(Model):
    """What serves."""

    project: Slug
    model: Slug
    version: str
    artifact: str
    """Empty: the model as its settings say."""
    provider: Slug
    epoch: Count
    previous_version: str = SETTINGS
    previous_artifact: str = ""
    by: str
    at_ms: Milliseconds
    announced: bool = False
    """Its change has been published."""
    changes: tuple[Change, ...]
    """The last ones, oldest first; the last of them made this."""

    @property
    def key(self) -> str:
        """Where it stands."""
        return names.model_key(self.project, self.model)

    def change(self, epoch: int) -> Change | None:
        """What began to serve with an epoch; None where that is not remembered."""
        return next((one for one in self.changes if one.epoch == epoch), None)

    def of(self, version: str) -> Change | None:
        """The last time that a version began to serve."""
        return next((one for one in reversed(self.changes) if one.version == version), None)


@dataclass(frozen=True, slots=True)
class Serving:
    """What a model's requests are answered by."""

    version: str = SETTINGS
    artifact: str = ""
    epoch: int = 0


def serving(pointer: Pointer | None, provider: str) -> Serving:
    """What serves a model of that provider: another provider's artifact does not, whatever the pointer names."""
    if pointer is None:
        return Serving()
    if pointer.provider != provider:
        return Serving(epoch=pointer.epoch)
    return Serving(pointer.version, pointer.artifact, pointer.epoch)


@dataclass(frozen=True, slots=True)
class Target:
    """What is to serve."""

    version: str
    artifact: str
    provider: str
    training: str
    how: str
    by: str
    provisional: bool = False
    detail: str = ""
    refused_epoch: int | None = None
    """It serves with this epoch, and was refused where it was loaded: it begins anew, so that it is tried again."""


def promoted(record: VersionRecord, by: str, detail: str) -> Target:
    """A version that is to serve."""
    return Target(
        record.version,
        record.artifact,
        record.provider,
        record.training,
        "promoted",
        by,
        provisional=record.provisional and by == GATE,
        detail=detail,
    )


class Moved(Exception):
    """Somebody else changed what serves meanwhile."""


@dataclass(frozen=True, slots=True)
class Registry:
    """The serving pointers of a store. Raises `Unavailable` where store or bus do not answer."""

    documents: Documents
    publish: Callable[[Sequence[AnyEvent]], Awaitable[None]]
    """Returns when they are durable."""
    clock: Clock

    @classmethod
    def of(cls, documents: Documents, bus: Bus, clock: Clock) -> "Registry":
        """One that tells a bus."""

        async def publish(events: Sequence[AnyEvent]) -> None:
            await bus.publish(messages(events))

        return cls(documents, publish, clock)

    async def pointer(self, project: str, model: str) -> Pointer | None:
        """What serves; None: the model as its settings say, since ever."""
        found = await self.documents.get(KIND, names.model_key(project, model))
        return None if found is None else read(found)

    async def pointers(self, project: str) -> Sequence[Pointer]:
        """Of every model of a project that ever had one (at most 50 exist at once)."""
        return [read(one) for one in await self.documents.page(KIND, prefix=f"{project}/", limit=1000)]

    async def move(self, project: str, model: str, target: Target, *, epoch: int | None = None) -> Pointer:
        """Let a version serve, and tell everybody. What serves already goes on, unchanged, unless it was refused.

        `epoch`: only in the place of this epoch's version. Raises `Moved` where that has changed.
        """
        for _ in range(_ATTEMPTS):
            found = await self.documents.get(KIND, names.model_key(project, model))
            before = None if found is None else read(found)
            if epoch is not None and epoch != (before.epoch if before else 0):
                raise Moved
            if found is not None and before is not None and _goes_on(before, target):
                return before if before.announced else await self.announce(found)
            if before is not None and not before.announced:
                await self.publish(told(before))  # or its news would be lost: the record is about to be another's
            after = self._next(project, model, before, target)
            body = after.model_dump_json()
            revision = 0 if found is None else found.revision
            if (written := await self.documents.put(KIND, after.key, body, expected=revision)) is not None:
                _log.info("another version serves", project=project, model=model, version=after.version)
                return await self.announce(written)
        raise Unavailable("the serving pointer")

    async def judged(self, record: VersionRecord) -> Change | None:
        """Do what the gate decided about a version, and tell; however often, and whoever does it.

        The change that it made, now or before; None where something else has taken the place that it was to have.
        """
        epoch = record.verdict.against_epoch
        try:
            target = promoted(record, GATE, record.verdict.text)
            return (await self.move(record.project, record.model, target, epoch=epoch)).changes[-1]
        except Moved:
            found = await self.documents.get(KIND, names.model_key(record.project, record.model))
            if found is None:
                return None
            pointer = read(found)
            if not pointer.announced:
                await self.announce(found)
            change = pointer.change(epoch + 1)
            return change if change is not None and change.version == record.version else None

    async def announce(self, document: Document) -> Pointer:
        """Publish what changed, and note that this was done. Somebody may have gone on meanwhile: so be it."""
        pointer = read(document)
        await self.publish(told(pointer))
        done = pointer.model_copy(update={"announced": True})
        await self.documents.put(KIND, document.key, done.model_dump_json(), expected=document.revision)
        return done

    def _next(self, project: str, model: str, before: Pointer | None, target: Target) -> Pointer:
        now = self.clock.now_ms()
        past = SETTINGS, ""
        if before is not None:  # begun anew, it does not come before itself
            stays = _same(before, target)
            past = (before.previous_version, before.previous_artifact) if stays else (before.version, before.artifact)
        change = Change(
            epoch=(before.epoch if before else 0) + 1,
            version=target.version,
            artifact=target.artifact,
            provider=target.provider,
            training=target.training,
            how=target.how,
            by=target.by,
            at_ms=now,
            provisional=target.provisional,
            detail=target.detail,
        )
        return Pointer(
            project=project,
            model=model,
            version=change.version,
            artifact=change.artifact,
            provider=change.provider,
            epoch=change.epoch,
            previous_version=past[0],
            previous_artifact=past[1],
            by=change.by,
            at_ms=now,
            changes=(*(before.changes if before else ()), change)[-PAST:],
        )


def read(document: Document) -> Pointer:
    """A pointer as it stands in the store."""
    return Pointer.model_validate_json(document.body, context=dict(READING))


def told(pointer: Pointer) -> list[AnyEvent]:
    """What everybody hears of the change that made a pointer: the same events whenever and by whomever."""
    return [serving_event(pointer), change_event(pointer.project, pointer.model, pointer.changes[-1])]


def serving_event(pointer: Pointer) -> AnyEvent:
    """What serves, for those who predict."""
    data = ModelServing(
        project=pointer.project,
        model=pointer.model,
        version=pointer.version,
        epoch=pointer.epoch,
        provider=pointer.provider,
        artifact=pointer.artifact,
        previous_version=pointer.previous_version,
        previous=pointer.previous_artifact,
    )
    return _event(data, pointer.project, pointer.model, pointer.epoch, pointer.at_ms)


def change_event(project: str, model: str, change: Change) -> AnyEvent:
    """What happened, for everybody else."""
    of = {
        "project": project,
        "model": model,
        "provider": change.provider,
        "training": change.training,
        "version": change.version,
        "epoch": change.epoch,
    }
    data: ModelPromoted | ModelRolledBack
    if change.how == "rolled_back":
        data = ModelRolledBack.model_validate({**of, "reason": change.detail})
    else:
        data = ModelPromoted.model_validate({**of, "provisional": change.provisional, "detail": change.detail})
    return _event(data, project, model, change.epoch, change.at_ms)


def _event(data: EventData, project: str, model: str, epoch: int, at_ms: int) -> AnyEvent:
    return event(data, id=names.derived(data.TYPE, project, model, epoch), source=SOURCE, time_ms=at_ms)


def _goes_on(pointer: Pointer, target: Target) -> bool:
    return _same(pointer, target) and pointer.epoch != target.refused_epoch


def _same(pointer: Pointer, target: Target) -> bool:
    return (pointer.version, pointer.artifact, pointer.provider) == (target.version, target.artifact, target.provider)
