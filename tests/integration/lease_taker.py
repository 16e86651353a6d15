"""A process that takes tasks for one annotator until none is left, or until it is killed; says what it was given.

Arguments: the server's address, the database, the project, the annotator. Prints the uids of each answer.
"""

import asyncio
import json
import random
import sys

from prelabel_contract.projects import Project
from prelabel_runtime.clock import Clock, SystemClock
from prelabel_runtime.entropy import Entropy
from prelabel_runtime.store.base import Store
from prelabel_runtime.store.mongo import MongoStore
from prelabel_training.examples.shares import Shares
from prelabel_training.leases.choosing import Choosing, Ways
from prelabel_training.leases.holders import Holders
from prelabel_training.leases.leases import Leases
from prelabel_training.leases.lending import LeaseWish, Lending
from prelabel_training.leases.pool import Pools

HOUR = 3600.0


def project_of(name: str, **learning: object) -> Project:
    """A project that asks for names, of two models."""
    question = {"name": "names", "kind": "span", "field": "text", "labels": ["PERSON"]}
    models = [{"name": name, "provider": "rules"} for name in ("ner", "other")]
    said = {"id": name, "label_set": {"questions": [question]}, "models": models, "learning": learning}
    return Project.model_validate(said)


def lending_of(store: Store, clock: Clock, seed: int | None = None, *, most: int = 1000) -> Lending:
    """What lends the tasks of a store, so many to one annotator at once; by chance that is drawn from a seed."""
    rng = random.SystemRandom() if seed is None else random.Random(seed)
    shares, entropy = Shares(store.documents, clock), Entropy()
    pools, choosing, leases = Pools(store, rng), Choosing(store.examples, rng), Leases(store.documents, clock)
    holders = Holders(store.documents, leases, clock, most)
    return Lending(pools, choosing, leases, holders, shares, clock, lambda: entropy(8).hex())


async def _main(address: str, database: str, project: str, annotator: str) -> None:
    store = MongoStore(address, clock=SystemClock(), database=database)
    await store.start()
    lending = lending_of(store, SystemClock())
    wish = LeaseWish(strategy=Ways.RANDOM, n=3, ttl=HOUR)
    while given := (await lending.lend(project_of(project), wish, annotator)).given:
        print(json.dumps([one.task.uid for one in given]), flush=True)
    await store.stop()


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:5]))
