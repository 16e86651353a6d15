"""Artifacts on this machine that nobody needs: a trainer fetches each version that it made, to answer the hold-out.

Inference that has the same folder may go on with what no pointer names any more, where later versions were refused:
it renews what it answers with (`Models.renew`), so that is never old here.
"""

import json
from collections.abc import Iterable
from typing import Final

from prelabel_runtime.clock import Clock
from prelabel_runtime.store.documents import Documents

from ..models.store import Models
from .trainings import TrainingRecord

POINTERS: Final = "serving"
"""The kind of the documents that say what serves, as the training service writes them."""
FORGET_MS: Final = 24 * 3600 * 1000
"""Younger ones stay: they may be somebody's who has just fetched them."""
_PAGE: Final = 500


def artifacts_of(record: TrainingRecord) -> frozenset[str]:
    """What a training is done with."""
    return frozenset(one for one in (record.artifact, record.base, record.serving_artifact) if one)


async def tidy(models: Models, documents: Documents, clock: Clock, needed: Iterable[TrainingRecord]) -> list[str]:
    """Remove from this machine what neither serves, nor served before, nor is needed by a training; what went.

    Where nothing is needed at all nothing goes. Raises `Unavailable`.
    """
    keep = await _serving(documents)
    keep.update(*(artifacts_of(one) for one in needed))
    return await models.forget(keep, clock.now_ms() - FORGET_MS)


async def _serving(documents: Documents) -> set[str]:
    """What serves, and what would be gone back to, of all models."""
    there: set[str] = set()
    after: str | None = None
    while page := await documents.page(POINTERS, limit=_PAGE, after=after):
        for one in page:
            pointer = json.loads(one.body)
            there.update(pointer[name] for name in ("artifact", "previous_artifact") if pointer.get(name))
        after = page[-1].key
    return there
