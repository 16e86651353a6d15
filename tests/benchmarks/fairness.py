"""How much a project is slowed by one that submitted 100 times its work before it.

    python -m tests.benchmarks.fairness [--work 500] [--rounds 5] [--weights '{"bulk": 4, "backfill": 1}']

A project's work is taken through the whole pipeline alone, a few times; then another project hands in a hundred times
as much, and as soon as that is acknowledged the same work is taken through again, each time for a project that has used
nothing of its share. The model sleeps: it is as fast as it is whatever else the machine does.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.benchmarks.pipeline import Asked, Pipeline, lines
from tests.rig.processes import Prelabel

TIMES = 100
"""As much as the work of the others is what the greedy project hands in before them."""
SECONDS_PER_TASK = 0.01
LOOK_S = 0.02
ASKED = Asked(
    question={"name": "first", "kind": "span", "field": "text", "labels": ["FIRST"]},
    model={
        "name": "first",
        "provider": "ledger",
        "settings": {"label": "FIRST", "seconds_per_task": SECONDS_PER_TASK},
    },
)


@dataclass(frozen=True, slots=True)
class Fairness:
    """What was measured, in seconds, by round."""

    work: int
    """Tasks."""
    alone: Sequence[float]
    beside: Sequence[float]
    left: int
    """Tasks of the greedy project that still waited at the end: its backlog lasted."""

    @property
    def slowed(self) -> float:
        """How many times longer the same work took: medians."""
        return statistics.median(self.beside) / statistics.median(self.alone)


def measure(pipeline: Pipeline, asked: Asked, texts: Sequence[str], *, rounds: int, name: str = "fair") -> Fairness:
    """Work of `texts` alone, then beside a hundred times as much that was submitted before. Raises Lost.

    Each round takes a project of its own, whose name begins with `name`.
    """
    with pipeline.client() as http:
        greedy = f"{name}-greedy"
        for project in (greedy, *(f"{name}-{part}-{n}" for part in ("alone", "beside") for n in range(rounds))):
            pipeline.set_up(http, project, asked)
        alone = [_seconds(pipeline, http, f"{name}-alone-{n}", texts) for n in range(rounds)]
        run = pipeline.upload(http, greedy, lines(f"{text} {n}" for n in range(TIMES) for text in texts))
        beside = [_seconds(pipeline, http, f"{name}-beside-{n}", texts) for n in range(rounds)]
        answer = http.get(f"{pipeline.prelabel.address}/v1/projects/{greedy}/runs/{run}").json()
        left = len(texts) * TIMES - answer["outcomes"].get("created", 0)
    return Fairness(len(texts), alone, beside, left)


def _seconds(pipeline: Pipeline, http: httpx.Client, project: str, texts: Sequence[str]) -> float:
    began = time.perf_counter()
    run = pipeline.upload(http, project, lines(texts))
    pipeline.ended(http, project, run, len(texts), look=LOOK_S)
    return time.perf_counter() - began


def main() -> None:
    """Measure on SQLite, and print."""
    parser = argparse.ArgumentParser(description="How much a project is slowed by a greedy one")
    parser.add_argument("--work", type=int, default=500, help="tasks of those that are slowed")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--weights", default="", help="of the lanes, as JSON")
    parser.add_argument("--share", default="", help="of each project, as JSON")
    arguments = parser.parse_args()
    environment = {
        name: value
        for name, value in (
            ("PRELABEL_INFERENCE_WEIGHTS", arguments.weights),
            ("PRELABEL_INGESTION_SHARE", arguments.share),
        )
        if value
    }
    texts = [f"word{n} and some more text" for n in range(arguments.work)]
    with (
        tempfile.TemporaryDirectory() as folder,
        Prelabel.all_in_one(Path(folder), providers=["ledger"], environment=environment) as prelabel,
    ):
        found = measure(Pipeline(prelabel), ASKED, texts, rounds=arguments.rounds)
    print(
        json.dumps(
            {
                "slowed": round(found.slowed, 3),
                "alone_s": [round(one, 3) for one in found.alone],
                "beside_s": [round(one, 3) for one in found.beside],
                "work": found.work,
                "left": found.left,
            }
        )
    )


if __name__ == "__main__":
    main()
