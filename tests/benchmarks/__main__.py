"""`python -m tests.benchmarks`: the model alone against the whole pipeline, in interleaved rounds, on this machine.

Writes out/bench.json and prints it as tables. Nothing is asserted: the figures are for people to judge.
"""

import argparse
import json
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

from deploy.local.errors import ServerError
from deploy.local.kafka.server import KafkaServer
from deploy.local.mongo.server import MongoServer
from deploy.local.ports import free_port
from tests.benchmarks import report
from tests.benchmarks.bare import BareModel
from tests.benchmarks.model import Measured, prepare
from tests.benchmarks.pipeline import Measurement, Pipeline
from tests.benchmarks.processes import busy_cores, machine
from tests.rig.processes import Prelabel

OUT = Path("out")
BARE, SQLITE, KAFKA = "ner.bare", "ner.sqlite", "ner.kafka"
QUIET = 0.5
"""Cores that others may use before it is said that the figures suffer."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured."""

    rounds: int
    texts: int


FULL, QUICK = Plan(rounds=5, texts=4000), Plan(rounds=3, texts=2500)


def main() -> int:
    """Measure, write, print. Exit codes: 0 done, 2 a server is missing."""
    arguments = _parser().parse_args()
    plan = QUICK if arguments.quick else FULL
    console = Console()
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description:34}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    sides = [name for name in ("sqlite", "kafka") if name in arguments.on]
    with Progress(*columns, console=console) as shown, ExitStack() as stack:
        everything = shown.add_task("", total=plan.rounds * (1 + 2 * len(sides)))

        def say(what: str) -> None:
            shown.update(everything, description=what)

        def done() -> None:
            shown.advance(everything)

        try:
            bench = Bench.start(plan, sides, stack, say)
        except ServerError as error:
            console.print(f"prelabel bench: {error}")
            return 2
        warnings = []
        for number in range(1, plan.rounds + 1):
            if (busy := busy_cores()) > QUIET:
                warnings.append(f"round {number}: others used {busy:.1f} cores just before it")
                console.print(f"[yellow]{warnings[-1]}: its figures suffer[/yellow]")
            bench.round(number, say, done)
        say("done")
    found = bench.results()
    facts = {
        "machine": machine(),
        "command": "python -m tests.benchmarks" + (" --quick" if arguments.quick else ""),
        "texts": len(bench.texts),
        "warnings": warnings,
        "rounds": bench.rounds,
        "cpu_us_per_task": bench.costs(),
    }
    OUT.mkdir(exist_ok=True)
    (OUT / "bench.json").write_text(json.dumps(report.as_json(found, **facts), indent=2) + "\n")
    console.print(report.table(found))
    for name, costs in bench.costs().items():
        console.print(report.hops(name, costs))
    console.print(facts["machine"])
    return 0


class Bench:
    """Everything that runs while rounds are measured."""

    def __init__(
        self, measured: Measured, texts: Sequence[str], bare: BareModel, pipelines: Mapping[str, Pipeline]
    ) -> None:
        self.texts = texts
        self.rounds: list[dict[str, float]] = []
        self._bare = bare
        self._pipelines = pipelines
        self._costs: dict[str, list[Measurement]] = {}
        self._ner = {
            "name": "names",
            "provider": "spacy",
            "settings": {"path": str(measured.model.absolute()), "emit": ["ner"]},
        }
        region = {"kind": "span", "start": 0, "end": 1, "labels": [measured.labels[0]]}
        self._echo = {"name": "names", "provider": "echo", "settings": {"regions": [region]}}

    @classmethod
    def start(cls, plan: Plan, sides: Sequence[str], stack: ExitStack, say: Say) -> "Bench":
        """Start it all, to be stopped by the stack. Raises ServerError."""
        say("the model and its texts")
        kept = OUT / "bench"
        kept.mkdir(parents=True, exist_ok=True)
        measured = prepare(kept, lambda fraction: say(f"training the model, once: {fraction:.0%}"))
        folder = Path(tempfile.mkdtemp(prefix="prelabel-bench-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        pipelines = {}
        for side in sides:
            say(f"starting everything on {side}")
            pipelines[side] = _pipeline(side, folder / side, measured.labels, stack)
        bare = stack.enter_context(BareModel(measured.model))
        texts = measured.texts[: plan.texts]
        bare.docs_per_second(texts[:256])
        return cls(measured, texts, bare, pipelines)

    def round(self, number: int, say: Say, done: Callable[[], None]) -> None:
        """Measure everything once."""
        say(f"round {number}: the bare model")
        this = {BARE: self._bare.docs_per_second(self.texts)}
        done()
        for kind, model in (("ner", self._ner), ("echo", self._echo)):
            for side, pipeline in self._pipelines.items():
                name = f"{kind}.{side}"
                say(f"round {number}: {name}")
                measurement = pipeline.measure(f"bench-{kind}-{number}", model, self.texts)
                this[name] = measurement.per_second
                self._costs.setdefault(name, []).append(measurement)
                done()
        self.rounds.append(this)

    def results(self) -> list[report.Result]:
        """Over all rounds."""
        return report.results(self.rounds, ratio_to={SQLITE: BARE, KAFKA: BARE})

    def costs(self) -> dict[str, dict[str, float]]:
        """CPU microseconds per task, by what was measured and by process."""
        return {
            name: {
                process: round(statistics.median(one.cpu[process] / one.tasks for one in some) * 1e6, 1)
                for process in some[-1].cpu
            }
            for name, some in self._costs.items()
        }


def _pipeline(side: str, folder: Path, labels: Sequence[str], stack: ExitStack) -> Pipeline:
    providers = ["spacy", "echo"]
    if side == "sqlite":
        return Pipeline(stack.enter_context(Prelabel.all_in_one(folder, providers=providers)), labels)
    kafka = _started(KafkaServer(folder / "kafka", free_port()), stack)
    mongo = _started(MongoServer(folder / "mongo", free_port(), backend="memory"), stack)
    prelabel = Prelabel.separate(folder, kafka=kafka.address, mongo=mongo.address, providers=providers)
    servers = {server.name: server.pid for server in (kafka, mongo)}
    return Pipeline(stack.enter_context(prelabel), labels, servers)


def _started(server: Any, stack: ExitStack) -> Any:
    server.install()
    server.start()
    stack.callback(server.remove)
    server.wait_ready()
    return server


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="3 rounds of fewer texts, under 5 minutes")
    parser.add_argument(
        "--on", nargs="+", choices=("sqlite", "kafka"), default=("sqlite", "kafka"), help="only some of them"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
