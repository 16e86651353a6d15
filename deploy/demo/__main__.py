"""`make demo`: the whole main job, unattended, and shown.

    python -m deploy.demo [--real] [--tasks N] [--no-loop]

Reads the docstrings of the standard library on this machine, trains a model on some of them, starts Prelabel (one
process on SQLite; with --real every service as a process of its own on Kafka and a MongoDB-wire server), hands the
other docstrings in over HTTP, and follows the run. Then simulated annotators correct some of what the model said, the
model learns from them, and a gate decides whether what it learned serves. Shows what came of it: a table and a curve
here, out/demo.html to open, and out/demo.json, which the checker writes from the raw log, the store and the client's
own ledger.
"""

import argparse
import asyncio
import contextlib
import json
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from prelabel_all_in_one.first_run import sample_project, sample_rules, train_sample
from prelabel_all_in_one.sample.corpus import Corpus, load_corpus
from prelabel_runtime.errors import Refused
from rich.console import Console

from deploy.demo import show
from deploy.demo.loop import HOLDOUT, MODEL, TRAINING, Loop
from deploy.demo.patient import PatientClient
from deploy.demo.results import Learned, Result
from deploy.local.errors import ServerError
from deploy.local.kafka.server import KafkaServer
from deploy.local.mongo.server import MongoServer
from deploy.local.ports import free_port
from tests.failure.checker import Promises, Report, check
from tests.failure.log import read_log
from tests.failure.stored import read_store
from tests.rig.client import Client, NotDone
from tests.rig.processes import NotRunning, Prelabel

OUT = Path("out")
LEDGER = "client.jsonl"
"""What was sent and what was answered: tasks, and what people said of them."""
PROJECT = "stdlib"
SEED = 1
TRAINING_SECONDS = 15.0
BEGINNER_SECONDS = 60.0
"""At most: it ends with its examples."""
ENDS_SECONDS = 240.0
"""So long the checker waits for outcomes of what a promotion asked again."""
LOOK_SECONDS = 1.0
"""Between two looks of the checker."""
BEGINNER_EXAMPLES = 500
"""What a model is shown that goes on learning from people: enough to be corrected, not enough to be good."""


def main() -> int:
    """Run the demo. Exit codes: 0 all is well, 1 the checker found something, 2 it could not be run."""
    parser = argparse.ArgumentParser(prog="python -m deploy.demo", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument(
        "--real", action="store_true", help="on Kafka and a MongoDB-wire server, every service a process"
    )
    parser.add_argument("--tasks", type=int, default=3000, help="texts to label (default: %(default)s)")
    parser.add_argument("--no-loop", action="store_true", help="nobody corrects anything, and nothing is learned")
    arguments = parser.parse_args()
    console = Console()
    try:
        return run(console, real=arguments.real, tasks=arguments.tasks, loop=not arguments.no_loop)
    except (Refused, NotDone, NotRunning, ServerError) as error:
        console.print(f"[red]the demo could not be run:[/red] {error}", highlight=False)
        return 2


def run(console: Console, *, real: bool, tasks: int, loop: bool) -> int:
    """Everything, in order."""
    folder = OUT / ("demo-real" if real else "demo")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    console.print("[bold]1[/bold]  reading the standard library's own documentation")
    corpus = load_corpus(seed=SEED)
    console.print(f"   {len(corpus.training):,} passages to learn from, {len(corpus.tasks):,} to label")
    console.print("[bold]2[/bold]  training a named-entity model on this machine")
    with console.status("starting") as status:
        report = train_sample(
            (folder / "model").absolute(),
            BEGINNER_SECONDS if loop else TRAINING_SECONDS,
            python=sys.executable,
            tell=status.update,
            examples=BEGINNER_EXAMPLES if loop else None,
        )
    show.training(console, report, examples=BEGINNER_EXAMPLES if loop else None)
    console.print(f"[bold]3[/bold]  starting Prelabel {show.where(real)}")
    with started(folder, real=real) as prelabel:
        results, seconds = asyncio.run(label(console, prelabel, folder, corpus, tasks))
        checked = judge(prelabel, folder, seconds)
        learned = None
        if loop:
            console.print("[bold]5[/bold]  learning from what people correct")
            learned, results = asyncio.run(learn(console, prelabel, folder, corpus, results))
            with console.status("checking"):
                checked = judge_again(prelabel, folder, checked)
    return show.verdict(console, OUT, checked, results, report, seconds=seconds, real=real, learned=learned)


@contextlib.contextmanager
def started(folder: Path, *, real: bool) -> Iterator[Prelabel]:
    """Prelabel, and below it the servers that it needs."""
    with contextlib.ExitStack() as servers:
        if real:
            kafka = servers.enter_context(KafkaServer(folder / "kafka", free_port()))
            mongo = servers.enter_context(MongoServer(folder / "mongo", free_port()))
            prelabel = Prelabel.separate(
                folder, kafka=kafka.address, mongo=mongo.address, providers=("spacy", "rules"), trainers=("spacy",)
            )
        else:
            prelabel = Prelabel.all_in_one(folder, providers=("spacy", "rules"))
        with prelabel:
            yield prelabel


async def label(
    console: Console, prelabel: Prelabel, folder: Path, corpus: Corpus, count: int
) -> tuple[list[Result], float]:
    """Hand the texts in, follow the run, read the results; with the seconds from first byte to last outcome."""
    tasks = [
        {"id": passage.id, "data": {"text": passage.text}, "meta": {"module": passage.module}}
        for passage in corpus.tasks[:count]
    ]
    async with PatientClient(prelabel.address, prelabel.key, folder / LEDGER) as client:
        await client.put_project(PROJECT, project_of(folder, corpus))
        console.print(f"[bold]4[/bold]  labelling {len(tasks):,} texts with two models")
        began = time.perf_counter()
        answer = await client.uploaded(PROJECT, tasks, key="demo")
        await show.follow(console, client, f"/v1/projects/{PROJECT}/runs/{answer.body['run']}")
        seconds = time.perf_counter() - began
        return await read_results(client, str(answer.body["run"])), seconds


def project_of(folder: Path, corpus: Corpus) -> dict[str, Any]:
    """The sample project, whose model of names learns from annotations."""
    project = sample_project((folder / "model").absolute(), sample_rules(corpus))
    for model in project["models"]:
        if model["name"] == MODEL:
            model["training"] = dict(TRAINING)
    project["learning"] = {"holdout": HOLDOUT}
    return project


async def learn(
    console: Console, prelabel: Prelabel, folder: Path, corpus: Corpus, results: Sequence[Result]
) -> tuple[Learned, list[Result]]:
    """People correct, the model learns; what came of it, and the results afterwards."""
    began = time.perf_counter()
    async with PatientClient(prelabel.address, prelabel.key, folder / LEDGER) as client:
        learned, after = await Loop(console, client, PROJECT, corpus).run(results)
    return replace(learned, seconds=time.perf_counter() - began), after


def judge(prelabel: Prelabel, folder: Path, seconds: float) -> Report:
    """What the checker says, which trusts none of the services; written to out/demo.json."""
    return _written(replace(_checked(prelabel, folder), seconds=seconds))


def judge_again(prelabel: Prelabel, folder: Path, labelled: Report) -> Report:
    """The same after the loop, whose promotions asked again: what is wrong is of all, outcomes and seconds as before.

    What is still asked again gets some time to end. While something does, log and store are not of one moment: what is
    in one of them only may be lost or doubled, until nothing comes any more: nothing is lost, and two looks in a row
    see the same.
    """
    deadline, before = time.monotonic() + ENDS_SECONDS, None
    while not (checked := _checked(prelabel, folder)).clean and time.monotonic() < deadline:
        if not checked.lost and checked == before:
            break
        before = checked
        time.sleep(LOOK_SECONDS)
    return _written(replace(checked, outcomes=labelled.outcomes, seconds=labelled.seconds))


def _checked(prelabel: Prelabel, folder: Path) -> Report:
    promises = Promises.read(folder / LEDGER)
    store = read_store(prelabel.store)  # before the log: all that is stored was in that before
    return check(read_log(prelabel.bus, prelabel.prefix), store, promises=promises)


def _written(checked: Report) -> Report:
    (OUT / "demo.json").write_text(json.dumps(checked.json(), indent=2) + "\n")
    return checked


async def read_results(client: Client, run: str) -> list[Result]:
    """Everything the run came to, page by page."""
    results: list[Result] = []
    cursor = ""
    while True:
        page = await client.get(f"/v1/projects/{PROJECT}/tasks?run={run}&predictions=true&limit=500{cursor}")
        results += [Result.from_json(line, line["predictions"]) for line in page["tasks"]]
        if page["next"] is None:
            return results
        cursor = f"&cursor={page['next']}"


if __name__ == "__main__":
    sys.exit(main())
