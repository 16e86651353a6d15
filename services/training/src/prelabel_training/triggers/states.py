"""What is remembered of each trigger: one document per (project, model), changed by compare-and-set."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from prelabel_contract import names
from prelabel_contract.base import READING, Model
from prelabel_runtime.store.documents import Document, Documents

from .triggers import Reason, TriggerState, Why

KIND: Final = "trigger"
_PAGE: Final = 200


class ShownWhy(Model):
    """Why something was done, or was not."""

    reason: Reason | str
    """A word for machines."""
    have: int = 0
    need: int = 0
    sentence: str
    """For people."""

    @classmethod
    def of(cls, why: Why) -> "ShownWhy":
        """As it is kept and shown."""
        return cls(reason=why.reason, have=why.have, need=why.need, sentence=why.sentence)


class Wish(Model):
    """What came of the last wish for a training by hand that was decided."""

    wish: int
    number: int | None = None
    """The training; None: there is none."""
    why: ShownWhy


class Remembered(Model):
    """One trigger."""

    state: TriggerState
    claim: str = ""
    """Who does what was decided; empty: nobody."""
    claim_until_ms: int = 0
    """After which another may."""
    heard: int = 0
    """Revision of what had been heard (`heard.Position`) at the last look."""
    config: str = ""
    """Of the project, at the last look."""
    until_ms: int | None = None
    """Look again then, whether or not anything comes."""
    unknown: int = 0
    """Annotated tasks that were not known at the last look: they may not have been stored yet."""
    unknown_wait_ms: int = 0
    """After which it was to be looked for them again: longer each time."""
    why: ShownWhy | None = None
    """What was said at the last look."""
    wish: Wish | None = None
    considered: int = 0
    """The last wish for a training by hand that there was at the last look."""

    def claimed_by_another(self, holder: str, now_ms: int) -> bool:
        """Somebody else is at it, or died less than a claim ago."""
        return bool(self.claim) and self.claim != holder and self.claim_until_ms > now_ms


@dataclass(frozen=True, slots=True)
class Kept:
    """What is remembered, and the revision that it was read at (0: it was made just now)."""

    remembered: Remembered
    revision: int = 0


class States:
    """The triggers of a store."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    async def get(self, project: str, model: str) -> Kept | None:
        """One trigger."""
        found = await self._documents.get(KIND, names.model_key(project, model))
        return None if found is None else _kept(found)

    async def of(self, project: str) -> Mapping[str, Kept]:
        """A project's triggers, by model."""
        found = await self._documents.page(KIND, prefix=f"{project}/", limit=_PAGE)
        return {names.parse_model_key(one.key)[1]: _kept(one) for one in found}

    async def projects(self) -> frozenset[str]:
        """The projects that have triggers."""
        there: set[str] = set()
        after: str | None = None
        while page := await self._documents.page(KIND, limit=_PAGE, after=after):
            there.update(names.parse_model_key(one.key)[0] for one in page)
            after = page[-1].key
        return frozenset(there)

    async def put(self, project: str, model: str, before: Kept, remembered: Remembered) -> Kept | None:
        """Write it in place of what was read. None: another was faster."""
        if before.revision and remembered == before.remembered:
            return before
        written = await self._documents.put(
            KIND, names.model_key(project, model), remembered.model_dump_json(), expected=before.revision
        )
        return None if written is None else Kept(remembered, written.revision)


def _kept(document: Document) -> Kept:
    return Kept(Remembered.model_validate_json(document.body, context=dict(READING)), document.revision)
