"""Which artifacts stay: of each model what serves, what served before, and the newest versions; nothing that is young.

What a training in progress needs is young, or its base, which serves or is among the newest. A version whose artifact
went stays on record, with its figures and its verdict; it cannot be promoted any more.

Files of trainings that were left go at the same time.
"""

from prelabel_contract.events import ProjectChanged
from prelabel_provider.models.store import Line, Models, kept
from prelabel_provider.training.trainings import Trainings
from prelabel_runtime import log
from prelabel_runtime.errors import Unavailable
from prelabel_runtime.retry import backoff
from prelabel_runtime.run import Runtime
from prelabel_runtime.service import Part
from prelabel_runtime.tables import Table

from .leftovers import UNDER_WAY, Leftovers
from .registry import Registry
from .versions import Versions

_log = log.get("prelabel.retention")


class Retention(Part):
    """Removes artifacts that nobody needs."""

    def __init__(
        self,
        runtime: Runtime,
        models: Models,
        projects: Table[ProjectChanged],
        registry: Registry,
        versions: Versions,
        trainings: Trainings,
        leftovers: Leftovers,
        *,
        keep: int,
        every: float,
        grace: float,
    ) -> None:
        """`keep`: newest versions of each model; `every`, `grace`: seconds between two looks, and of youth."""
        self._runtime = runtime
        self._models = models
        self._projects = projects
        self._registry = registry
        self._versions = versions
        self._trainings = trainings
        self._leftovers = leftovers
        self._keep = keep
        self._every = every
        self._grace = grace

    async def start(self) -> None:
        """Nothing to get ready."""

    async def stop(self) -> None:
        """Let go of the model store's threads."""
        self._models.stop()

    async def run(self) -> None:
        """Look again and again."""
        waits = backoff(5.0, 300.0, self._runtime.rng)
        while True:
            await self._runtime.clock.sleep(self._every)
            try:
                await self.look()
            except Unavailable:
                await self._runtime.clock.sleep(next(waits))
            else:
                waits = backoff(5.0, 300.0, self._runtime.rng)

    async def look(self) -> list[str]:
        """Remove what is not to be kept; the artifacts that went."""
        before_ms = self._runtime.clock.now_ms() - round(self._grace * 1000)
        await self._projects.catch_up()
        models = {
            (row.project.id, spec.name): None
            for row in self._projects.rows().values()
            if not row.deleted
            for spec in row.project.models
        }
        if left := await self._leftovers.remove(before_ms, models.keys()):
            _log.info("files of trainings removed", count=left)
        lines = [await self._line(*model) for model in models]
        gone = await self._models.retain(kept(lines, self._keep), before_ms)
        if gone:
            _log.info("artifacts removed", count=len(gone))
        return gone

    async def _line(self, project: str, model: str) -> Line:
        pointer = await self._registry.pointer(project, model)
        needed = set() if pointer is None else {pointer.artifact, pointer.previous_artifact}
        for record in await self._trainings.of(project, model, limit=UNDER_WAY):
            if not record.state.final or await self._versions.get(project, model, record.number) is None:
                needed |= {record.artifact or "", record.base or "", record.serving_artifact}
        newest = await self._versions.page(project, model, limit=self._keep)
        return Line(serving=frozenset(needed - {""}), versions=[one.artifact for one in newest])
