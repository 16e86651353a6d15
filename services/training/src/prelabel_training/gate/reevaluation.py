"""A version that was compared with what serves no more is compared again: its training goes back to evaluating.

The trainer role answers the hold-out once more, by the candidate and by what serves now, and says `model.trained`
again. Bounded: where people promote and roll back faster than models can be judged, the version is kept and waits for
them.
"""

from dataclasses import dataclass
from typing import Final

import orjson
from prelabel_contract import names
from prelabel_contract.events import AnyEvent, TrainingRequested, event
from prelabel_provider.training.trainings import KIND as TRAINING
from prelabel_provider.training.trainings import TrainingRecord, Trainings, TrainingState, key_of
from prelabel_runtime.store.documents import Documents

from ..registry.registry import SOURCE, Serving

KIND: Final = "reevaluation"
"""The kind of the document that lists the epochs a training was compared with again."""
MOST: Final = 3
_ATTEMPTS: Final = 20


@dataclass(frozen=True, slots=True)
class Reevaluations:
    """Asks for evaluations anew. Each step bears repetition."""

    documents: Documents
    trainings: Trainings

    async def ask(self, record: TrainingRecord, serving: Serving) -> AnyEvent | None:
        """The event that asks for it, after it was written down. None: it was asked for often enough."""
        if not await self._allowed(record, serving.epoch):
            return None
        await self._reopen(record, serving)
        return again(record, serving.epoch)

    async def _allowed(self, record: TrainingRecord, epoch: int) -> bool:
        key = key_of(record.project, record.model, record.number)
        for _ in range(_ATTEMPTS):
            found = await self.documents.get(KIND, key)
            epochs: list[int] = [] if found is None else orjson.loads(found.body)
            if epoch in epochs:
                return True
            if len(epochs) >= MOST:
                return False
            body = orjson.dumps([*epochs, epoch]).decode()
            if await self.documents.put(KIND, key, body, expected=found.revision if found else 0) is not None:
                return True
        return False

    async def _reopen(self, record: TrainingRecord, serving: Serving) -> None:
        key = key_of(record.project, record.model, record.number)
        await self.trainings.owe(record)  # first: who was told to look finds it
        for _ in range(_ATTEMPTS):
            found = await self.documents.get(TRAINING, key)
            if found is None:
                return
            stored = TrainingRecord.model_validate_json(found.body)
            if stored.state is not TrainingState.TRAINED or stored.serving_epoch >= serving.epoch:
                return  # somebody has done it
            opened = stored.but(
                state=TrainingState.EVALUATING,
                serving_version=serving.version,
                serving_artifact=serving.artifact,
                serving_epoch=serving.epoch,
                holder="",
                lease_until_ms=0,
                tries=0,
                fence=stored.fence + 1,
                ended_ms=None,
            )
            if await self.documents.put(TRAINING, key, opened.model_dump_json(), expected=found.revision) is not None:
                return


def again(record: TrainingRecord, epoch: int) -> AnyEvent:
    """The training is asked for once more, to be compared with an epoch's version."""
    data = TrainingRequested(
        project=record.project,
        model=record.model,
        provider=record.provider,
        training=record.training,
        cut=record.cut,
        config=record.config,
    )
    return event(
        data, id=names.derived("evaluation", record.training, epoch), source=SOURCE, time_ms=record.requested_ms
    )
