"""The state that ingestion follows."""

import random
from dataclasses import dataclass
from typing import Self

from prelabel_contract import names
from prelabel_contract.events import ConfigPublished, ProjectChanged, ProviderAnnounced, TrainerAnnounced
from prelabel_runtime.bus.base import Bus
from prelabel_runtime.tables import Table


@dataclass(frozen=True, slots=True)
class Tables:
    """Projects as they are, configurations as they were, providers that run, and their trainers."""

    projects: Table[ProjectChanged]
    configs: Table[ConfigPublished]
    providers: Table[ProviderAnnounced]
    trainers: Table[TrainerAnnounced]

    @classmethod
    def on(cls, bus: Bus, rng: random.Random) -> Self:
        """Tables that read from a bus."""
        return cls(
            projects=Table(bus, names.PROJECTS, ProjectChanged, rng=rng),
            configs=Table(bus, names.CONFIGS, ConfigPublished, rng=rng),
            providers=Table(bus, names.PROVIDERS, ProviderAnnounced, rng=rng),
            trainers=Table(bus, names.PROVIDERS, TrainerAnnounced, rng=rng),
        )
