"""`python -m prelabel_projection rebuild`: a rebuild in a process of its own, beside running services or without any.

On Kafka the services may go on meanwhile, and follow the switch by themselves. On the embedded bus the process that
owns the file does it instead (POST /v1/rebuilds), or nobody runs.
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence

from prelabel_runtime import log, process
from prelabel_runtime.clock import SystemClock
from prelabel_runtime.errors import Refused
from prelabel_runtime.http.problems import Problem
from prelabel_runtime.metrics import Metrics
from prelabel_runtime.run import Runtime, open_bus, open_store
from prelabel_runtime.settings import RuntimeSettings
from prelabel_runtime.store.jobs import JobState, StoredJob

from .rebuilds import Rebuilds, shown
from .settings import ProjectionSettings

EXIT_DIFFERENT = 1
"""Of `--compare`: the live projection is not what the log says."""


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit code: 0 done, 1 compared and different, 2 refused, 3 nothing answers."""
    parser = argparse.ArgumentParser(prog="prelabel_projection")
    commands = parser.add_subparsers(required=True)
    rebuild = commands.add_parser("rebuild", help="rebuild the projection from the log and switch to it")
    rebuild.add_argument("--compare", action="store_true", help="only say how it differs from the live one")
    chosen = parser.parse_args(arguments)
    ended: list[StoredJob] = []

    async def work() -> None:
        ended.append(await _rebuild("compare" if chosen.compare else "switch"))

    code = process.run("rebuild", work)
    if code == 0 and chosen.compare and not shown(ended[0])["equal"]:
        return EXIT_DIFFERENT
    return code


async def _rebuild(mode: str) -> StoredJob:
    settings = RuntimeSettings()
    log.configure(settings.log_level, pretty=sys.stderr.isatty())
    clock = SystemClock()
    runtime = Runtime(settings, open_bus(settings, clock), open_store(settings, clock), Metrics())
    await runtime.bus.start()
    try:
        await runtime.store.start()
        try:
            return await _ended(Rebuilds(runtime, ProjectionSettings()), mode)
        finally:
            await runtime.store.stop()
    finally:
        await runtime.bus.stop()


async def _ended(rebuilds: Rebuilds, mode: str) -> StoredJob:
    """Begin one and do it here, telling how far it is. Raises `Refused`."""
    try:
        job = await rebuilds.begin("command", mode)
    except Problem as problem:
        raise Refused(problem.detail) from None
    doing = asyncio.create_task(rebuilds.finish(job))
    while not (await asyncio.wait({doing}, timeout=1.0))[0]:
        _tell(await rebuilds.seen(job))
    ended = doing.result()
    _tell(ended)
    if ended.state is JobState.FAILED:
        raise Refused(shown(ended)["error"]["detail"])
    for kind, found in shown(ended)["differences"].items():
        differ = found["different"] + found["only_live"] + found["only_rebuilt"]
        said = "equal" if found["equal"] else f"{differ} differ, the first: {', '.join(found['first'])}"
        sys.stdout.write(f"{kind:24} {found['rebuilt']['rows']:>10} rows  {found['rebuilt']['hash']}  {said}\n")
    return ended


def _tell(job: StoredJob) -> None:
    now = shown(job)
    total = "?" if job.total is None else f"{job.total:,}"
    sys.stderr.write(f"rebuild {now['step']}: {job.done:,} of {total} records, {now['rate']:,.0f}/s\n")
