"""After a promotion: the new version is asked about every open task, the most doubtful first, without a rush.

One record per model says for which epoch that is done, and how far it is; a newer epoch takes an older one's place.
What is to be asked is listed once, in the order of the doubt there was (`listing.py`), and asked from front to back: a
process that takes over goes on where the last one was. Whatever is asked twice has the same id, and one outcome.

Requests go into the bulk lane, under a generation of their own (<model>/<epoch>), and only while few wait there:
whatever people submit meanwhile waits behind no more than that.

It begins when the first of those who predict has loaded the version; the others answer by what they have until they
have loaded it, too. Where some say so later, what is open is listed once more, for all of them and not at once: of that
is asked what another version has answered (<model>/<epoch>/<round>).
"""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import orjson
from prelabel_contract import names
from prelabel_contract.base import READING, Count, Milliseconds, Model, Slug
from prelabel_contract.blobs import BlobRef, hashed
from prelabel_contract.events import (
    AnyEvent,
    Event,
    ModelLoaded,
    PredictionRequested,
    ProjectChanged,
    event,
)
from prelabel_contract.names import Lane
from prelabel_contract.projects import ModelSpec
from prelabel_runtime import log
from prelabel_runtime.bus.base import Bus, Message
from prelabel_runtime.errors import InvalidEvent, Unavailable
from prelabel_runtime.loop import messages
from prelabel_runtime.retry import backoff
from prelabel_runtime.run import Runtime
from prelabel_runtime.service import Part
from prelabel_runtime.store.base import State, Store, StoredOutcome, StoredTask
from prelabel_runtime.store.documents import Document, Documents
from prelabel_runtime.tables import Table

from ..examples.live import live
from .listing import Listing
from .registry import Registry
from .versions import SETTINGS

KIND: Final = "repredict"
"""The kind of the record; its key is <project>/<model>."""
SOURCE: Final = "/training/repredict"
NOBODY: Final = 1 << 31
"""More than any lane may hold."""
_PAGE: Final = 500
_HOSTS: Final = 50
_ANSWERS: Final = 10
"""Tasks whose answers are read at once: each may have many, and large ones."""
_log = log.get("prelabel.repredict")


class Work(Model):
    """How far a model's open pool is asked again."""

    project: Slug
    model: Slug
    provider: Slug
    epoch: Count
    version: str
    state: str = "listing"
    """listing, asking, done, overtaken (something else serves), off (the project does not want it any more), failed."""
    total: Count = 0
    """Open tasks when its present round began."""
    place: Count = 0
    """So many of them were looked at."""
    asked: Count = 0
    """So many were asked, in all rounds; the others were annotated, deleted, or answered by the version."""
    round: Count = 0
    """So many times it was begun anew, since others loaded the version later."""
    late: bool = False
    """Somebody has loaded the version since the list was made."""
    hosts: tuple[str, ...] | None = None
    """Who has loaded it; of very many the last ones. None: not known, as of records that did not say."""
    holder: str = ""
    until_ms: Milliseconds = 0
    began_ms: Milliseconds = 0
    ended_ms: Milliseconds | None = None

    @property
    def key(self) -> str:
        """Where it stands."""
        return names.model_key(self.project, self.model)

    @property
    def generation(self) -> str:
        """What its list is called."""
        return f"{self.model}/{self.epoch}"

    @property
    def asking(self) -> str:
        """The generation of its requests: what tells them from those that asked the same before."""
        return f"{self.generation}/{self.round}" if self.round else self.generation

    @property
    def over(self) -> bool:
        """Whether nothing more will be done."""
        return self.state not in ("listing", "asking")

    def but(self, **changes: Any) -> "Work":
        """The same with other values."""
        return self.model_copy(update=changes)


def read(document: Document) -> Work:
    """As it stands in the store."""
    return Work.model_validate_json(document.body, context=dict(READING))


@dataclass(frozen=True, slots=True)
class Pace:
    """How much waits at once, and how often is looked."""

    queue: int = 200
    """Requests that may wait in a provider's bulk lane before nothing is added, 1 or more."""
    batch: int = 100
    """Asked at once, at most."""
    seconds: float = 0.5
    """Between two looks."""
    lease: float = 30.0
    """Seconds after which somebody else goes on with what a process left."""
    rest: float = 30.0
    """From the end of the first round until those who loaded the version later are looked after: most come together."""
    rests: float = 600.0
    """The same from any later round: processes with new names come again and again where they are scaled."""


class Lost(Exception):
    """Somebody else goes on with it."""


class Wanting:
    """Begins to ask again when a version has been loaded somewhere."""

    def __init__(self, documents: Documents, registry: Registry, projects: Table[ProjectChanged]) -> None:
        self._documents = documents
        self._registry = registry
        self._projects = projects

    async def loaded(self, told: Event[ModelLoaded]) -> Sequence[AnyEvent]:
        """A version answers now: it is to answer what is open, too. Or it answers no more where it did."""
        data = told.data
        if data.epoch < 1:
            return []
        if data.state != "serving":
            await self._changed(names.model_key(data.project, data.model), partial(_without, told=data))
            return []
        pointer = await self._registry.pointer(data.project, data.model)
        row = await self._projects.find(data.project)
        if pointer is None or pointer.epoch != data.epoch or not _wanted(row, data.model, data.provider):
            return []
        work = Work(
            project=data.project,
            model=data.model,
            provider=data.provider,
            epoch=data.epoch,
            version=data.version,
            began_ms=told.time_ms,
            hosts=(data.host,),
        )
        await self._changed(work.key, partial(_after, told=work))
        return []

    async def _changed(self, key: str, change: Callable[[Work | None], Work | None]) -> None:
        """Write what becomes of the record; None: it stays."""
        while True:
            found = await self._documents.get(KIND, key)
            known = None if found is None else read(found)
            wanted = change(known)
            if wanted is None:
                return
            body = wanted.model_dump_json()
            if await self._documents.put(KIND, key, body, expected=found.revision if found else 0) is not None:
                if known is None or known.epoch != wanted.epoch:
                    _log.info("asking again", project=wanted.project, model=wanted.model, epoch=wanted.epoch)
                return


class Repredicting(Part):
    """Asks again what is open, a little at a time."""

    def __init__(
        self, runtime: Runtime, registry: Registry, projects: Table[ProjectChanged], pace: Pace = Pace()
    ) -> None:
        self._runtime = runtime
        self._documents = runtime.store.documents
        self._registry = registry
        self._projects = projects
        self._pace = pace
        self._listing = Listing(runtime.store)
        self._holder = runtime.new_id()

    async def start(self) -> None:
        """Nothing to get ready."""

    async def stop(self) -> None:
        """Nothing to let go: what is under way is taken up when its lease is over."""

    async def run(self) -> None:
        """Look again and again."""
        waits = backoff(1.0, 30.0, self._runtime.rng)
        while True:
            try:
                await self.look()
            except Unavailable:
                await self._runtime.clock.sleep(next(waits))
                continue
            waits = backoff(1.0, 30.0, self._runtime.rng)
            await self._runtime.clock.sleep(self._pace.seconds)

    async def look(self) -> None:
        """One step for every model that has something to be asked."""
        after: str | None = None
        while page := await self._documents.page(KIND, limit=_PAGE, after=after):
            for document in page:
                work = read(document)
                if not work.over or self._is_due(work):
                    await self._stepped(document)
            after = page[-1].key

    def _is_due(self, work: Work) -> bool:
        """Whether those are to be looked after who loaded the version when it was nearly over, or over."""
        if not work.late or work.state != "done" or work.ended_ms is None:
            return False
        rest = self._pace.rests if work.round else self._pace.rest
        return self._runtime.clock.now_ms() >= work.ended_ms + round(rest * 1000)

    async def _stepped(self, document: Document) -> None:
        """A step, whose defect is this model's alone: the others are asked all the same."""
        try:
            await self._step(document)
        except Lost:
            return
        except Unavailable:
            raise
        except Exception as error:
            _log.error("defect while asking again", key=document.key, error=type(error).__name__, exc_info=error)
            if (found := await self._documents.get(KIND, document.key)) is not None:
                with contextlib.suppress(Lost):
                    await self._end(found, "failed")

    # ------------------------------------------------------------------------------------------------------- a step

    async def _step(self, document: Document) -> None:
        now = self._runtime.clock.now_ms()
        work = read(document)
        if work.holder not in ("", self._holder) and work.until_ms > now:
            return
        held = await self._save(document, work)
        row = await self._projects.find(work.project)
        pointer = await self._registry.pointer(work.project, work.model)
        if pointer is None or pointer.epoch != work.epoch:
            await self._end(held, "overtaken")
        elif row is None or not _wanted(row, work.model, work.provider):
            await self._end(held, "off")
        elif work.state == "done":
            await self._save(held, work.but(state="listing", place=0, round=work.round + 1, late=False, ended_ms=None))
        elif work.state == "listing":
            await self._list(held)
        else:
            await self._ask(held, row)

    async def _list(self, held: Document) -> None:
        work = read(held)

        async def alive() -> None:
            nonlocal held
            held = await self._save(held, work)

        total = await self._listing.write(work.project, work.model, work.generation, alive)
        await self._save(held, work.but(state="asking", total=total))

    async def _ask(self, held: Document, row: ProjectChanged) -> None:
        work = read(held)
        spec = row.project.model(work.model)
        waiting = await waits_for(self._runtime.bus, work.provider)
        room = min(self._pace.batch, self._pace.queue - waiting)
        if spec is None or room < 1:
            return
        uids = await self._listing.read(work.project, work.generation, work.place, room)
        if not uids:
            await self._end(held, "done")
            return
        tasks = await still_open(self._runtime.store, work.project, uids)
        if work.round:
            tasks = await unanswered(self._runtime.store, work, tasks)
        now = self._runtime.clock.now_ms()
        asked = [made for one in tasks if (made := _fitting(request(one, row, spec, work.asking, now))) is not None]
        if asked:
            await self._runtime.bus.publish(asked)
            self._runtime.metrics.asked_again.labels(work.provider).inc(len(asked))
        await self._save(held, work.but(place=work.place + len(uids), asked=work.asked + len(asked)))

    async def _end(self, held: Document, state: str) -> None:
        work = read(held)
        await self._listing.remove(work.project, work.generation)  # first: who goes on here finds an empty list
        await self._save(held, work.but(state=state, ended_ms=self._runtime.clock.now_ms()))
        _log.info("asked again", project=work.project, model=work.model, state=state, tasks=work.asked)

    async def _save(self, document: Document, work: Work) -> Document:
        until = self._runtime.clock.now_ms() + round(self._pace.lease * 1000)
        body = work.but(holder=self._holder, until_ms=until).model_dump_json()
        written = await self._documents.put(KIND, document.key, body, expected=document.revision)
        if written is None:
            raise Lost
        return written


def _after(known: Work | None, told: Work) -> Work | None:
    """What is to be done where a version was loaded somewhere; None: nothing else than what is known."""
    if known is None:
        return told
    if known.epoch != told.epoch:
        # Where the same version was begun anew, since some had refused it, what it answered before stands.
        anew = known.version == told.version != SETTINGS
        newer = told.but(round=known.round + 1) if anew else told
        return newer if known.epoch < told.epoch else None
    if known.hosts is None:
        return known.but(hosts=told.hosts)
    # What is being listed is asked later than this; and who lists writes the record, too.
    if known.state == "listing" or not set(told.hosts or ()) - set(known.hosts):
        return None
    hosts = (*known.hosts, *(told.hosts or ()))[-_HOSTS:]
    # What the settings say has another name in predictions: who has answered by it cannot be told.
    return known.but(hosts=hosts, late=known.late or told.version != SETTINGS)


def _without(known: Work | None, told: ModelLoaded) -> Work | None:
    """What is known where a process cannot load what it had: it answers by an older version until it can again."""
    if known is None or known.epoch != told.epoch or told.host not in (known.hosts or ()):
        return None
    return known.but(hosts=tuple(host for host in known.hosts or () if host != told.host))


def _fitting(asked: AnyEvent) -> Message | None:
    try:
        (message,) = messages([asked])
    except InvalidEvent as error:
        _log.warning("task is not asked again", task=asked.key, reason=error.reason)
        return None
    return message


def _wanted(row: ProjectChanged | None, model: str, provider: str) -> bool:
    if row is None or row.deleted or row.project.learning.repredict != "open":
        return False
    spec = row.project.model(model)
    return spec is not None and spec.provider == provider


async def waits_for(bus: Bus, provider: str) -> int:
    """Requests that wait in a provider's bulk lane; `NOBODY` where it has none yet."""
    topic = names.requests(provider, Lane.BULK)
    if topic not in await bus.topics():
        return NOBODY
    ends = await bus.offsets([topic], "end")
    begins = await bus.offsets([topic], "beginning")
    done = await bus.committed(names.inference_group(provider, Lane.BULK), [topic])
    return sum(end - max(done.get(place, 0), begins.get(place, 0)) for place, end in ends.items())


async def still_open(store: Store, project: str, uids: Sequence[str]) -> list[StoredTask]:
    """Those of the tasks that are there and that nobody has annotated meanwhile, in their order."""
    now = await live(store)
    tasks = await now.tasks.get_many(uids)
    annotated = await now.annotations.of_tasks(uids)
    return [
        task
        for uid in uids
        if (task := tasks.get(uid)) is not None and task.project == project and not annotated.get(uid)
    ]


async def unanswered(store: Store, work: Work, tasks: Sequence[StoredTask]) -> list[StoredTask]:
    """Those of the tasks whose newest answer is another version's.

    What failed, or has no answer at all, would most likely come to nothing again; what waits is asked already.
    """
    found: list[StoredTask] = []
    for first in range(0, len(tasks), _ANSWERS):
        some = tasks[first : first + _ANSWERS]
        said = await (await live(store)).outcomes.of_tasks([one.uid for one in some])
        found += [one for one in some if _is_by_another(said.get(one.uid, ()), work)]
    return found


def _is_by_another(said: Sequence[StoredOutcome], work: Work) -> bool:
    own = [one for one in said if one.model == work.model and one.state is not State.PENDING]
    newest = max(own, key=lambda one: (one.revision, one.offset), default=None)
    return newest is not None and newest.state is State.CREATED and newest.version != work.version


def request(task: StoredTask, row: ProjectChanged, spec: ModelSpec, generation: str, now_ms: int) -> AnyEvent:
    """A model is asked about a task once more."""
    body = orjson.loads(task.body)
    fields = {name for question in row.project.questions_of(spec) for name in question.fields}
    data = {name: value for name, value in body["data"].items() if name in fields}
    blobs = {name: BlobRef.model_validate(ref) for name, ref in body.get("blobs", {}).items() if name in fields}
    input_hash = names.content_hash(hashed(data, blobs))
    asked = PredictionRequested(
        project=task.project,
        task=task.uid,
        request=names.request_id(task.uid, input_hash, spec.name, row.config, generation),
        id=task.id,
        revision=task.revision,
        model=spec.name,
        provider=spec.provider,
        lane=Lane.BULK,
        meta=body.get("meta") or {},
        accepted_ms=task.first_ms,
        config=row.config,
        input_hash=input_hash,
        data=data,
        blobs=blobs,
        generation=generation,
    )
    return event(asked, id=asked.request, source=SOURCE, time_ms=now_ms)
