"""Which providers have trainers: as they announce themselves."""

from prelabel_contract import names
from prelabel_contract.events import TrainerAnnounced
from prelabel_runtime.tables import Table

from .states import ShownWhy


class Trainers:
    """The trainers that were ever heard of. One that is gone may come back: what it is asked for waits for it."""

    def __init__(self, table: Table[TrainerAnnounced]) -> None:
        self._table = table

    def of(self, provider: str) -> TrainerAnnounced | None:
        """The trainer of a provider; None where none was ever heard of: not even a topic leads to it."""
        return self._table.get(names.trainer_key(provider))

    async def find(self, provider: str) -> TrainerAnnounced | None:
        """The same, after everything has been read that was announced until now."""
        return await self._table.find(names.trainer_key(provider))


def no_trainer(provider: str) -> ShownWhy:
    """Why a model of a provider without a trainer is not trained."""
    sentence = f"No trainer of the provider {provider} has ever run here: nobody would take a training up."
    return ShownWhy(reason="no_trainer", sentence=sentence)
