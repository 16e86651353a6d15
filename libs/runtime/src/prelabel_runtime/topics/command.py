"""`python -m prelabel_runtime.topics plan | apply`: what a Kafka that others run must have, compared and made.

Exit codes: 0 done; 1 with --check, something is missing or differs; 2 refused, in one line; 3 Kafka does not answer.
"""

import argparse
import asyncio
import dataclasses
import json
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import entry_points
from itertools import groupby
from typing import Any

from prelabel_contract.topics import Deployment

from prelabel_runtime import process
from prelabel_runtime.credentials import KafkaCredentials
from prelabel_runtime.drivers import need
from prelabel_runtime.errors import Refused, Unavailable
from prelabel_runtime.settings import Frozen, RuntimeSettings

from .broker import Applied, apply, look
from .plan import Comparison, Plan, Right, State, TopicRow, plan
from .spec import DAY_MS

EXIT_DIFFERS = 1


class _Inbound(Frozen):
    ingestion_inbound: dict[str, Any] = {}


def planned(asked: argparse.Namespace, settings: RuntimeSettings) -> Plan:
    """The plan that the command's options describe. Raises `Refused`."""
    if "{service}" not in asked.principal or ":" not in asked.principal:
        raise Refused(f"--principal {asked.principal!r}: write it as Kafka does, such as User:prelabel-{{service}}")
    deployment = Deployment(
        providers=tuple(asked.providers.split(",")) if asked.providers else providers_here(),
        sources=tuple(asked.sources.split(",")) if asked.sources else tuple(sorted(_Inbound().ingestion_inbound)),
    )
    try:
        return plan(
            deployment,
            prefix=settings.prefix,
            partitions=settings.partitions,
            replication=asked.replication,
            keep_days=asked.keep_days,
            principal=asked.principal,
            upstream=asked.upstream,
        )
    except ValueError as error:
        raise Refused(f"--providers, --sources: {error}") from None


def providers_here() -> tuple[str, ...]:
    """The providers that are installed with this Python."""
    return tuple(sorted({point.name for point in entry_points(group="prelabel.providers")}))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    asked = _parser().parse_args(arguments)
    try:
        return asyncio.run(_run(asked))
    except (Refused, Unavailable) as error:
        return process.outcome("topics", error)


async def _run(asked: argparse.Namespace) -> int:
    settings = RuntimeSettings()
    if settings.bus.startswith("kafka:"):
        need("PRELABEL_BUS", "kafka", "aiokafka", "faststream")
    wanted = planned(asked, settings)
    if asked.what == "apply":
        applied = await apply(wanted, settings.bus, KafkaCredentials(), rights=asked.acls)
        _show(asked, _as_json(applied), _told(applied))
        return 0
    if not settings.bus.startswith("kafka:"):
        _show(asked, _as_json(wanted), _unseen(wanted))
        return 0
    comparison = await look(wanted, settings.bus, KafkaCredentials())
    _show(asked, _as_json(comparison), _compared(comparison))
    return EXIT_DIFFERS if asked.check and not comparison.fits else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m prelabel_runtime.topics",
        description="The topics and rights that Prelabel needs of a Kafka: shown, compared, made.",
        epilog="Kafka's address, prefix, partitions and credentials are settings: PRELABEL_BUS, PRELABEL_PREFIX, "
        "PRELABEL_PARTITIONS, PRELABEL_KAFKA_…; see docs/existing-kafka-and-mongodb.md.",
    )
    commands = parser.add_subparsers(dest="what", required=True)
    for name, text in (("plan", "show what is needed, and how Kafka differs"), ("apply", "create what is missing")):
        command = commands.add_parser(name, help=text)
        command.add_argument("--providers", default="", help="model providers, by commas (default: those installed)")
        command.add_argument("--sources", default="", help="inbound sources (default: PRELABEL_INGESTION_INBOUND)")
        command.add_argument("--replication", type=_positive, help="replicas of topics (default: the brokers' own)")
        command.add_argument("--keep-days", type=_positive, help="keep what is kept for ever for so many days only")
        command.add_argument("--principal", default="User:prelabel-{service}", help="who a service is (%(default)s)")
        command.add_argument("--upstream", help="who writes to an inbound source, such as User:{source}")
        command.add_argument("--json", action="store_true", help="for programs")
    commands.choices["plan"].add_argument("--check", action="store_true", help="exit with 1 if anything differs")
    commands.choices["apply"].add_argument("--acls", action="store_true", help="add the missing rights, too")
    return parser


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is no number from 1 on")
    return int(text)


# --------------------------------------------------------------------------------------------------- shown


def _show(asked: argparse.Namespace, document: Any, lines: Iterator[str]) -> None:
    text = json.dumps(document, indent=2) if asked.json else "\n".join(lines)
    sys.stdout.write(text + "\n")


def _as_json(value: Plan | Comparison | Applied) -> Any:
    return dataclasses.asdict(value)


def _unseen(wanted: Plan) -> Iterator[str]:
    yield "PRELABEL_BUS names no Kafka: this is the plan, compared with nothing."
    yield ""
    yield from table(["TOPIC", "PARTITIONS", "KEPT"], [_columns(row) for row in wanted.topics])
    yield ""
    yield from rights(wanted.rights)


def _compared(comparison: Comparison) -> Iterator[str]:
    findings = comparison.findings
    counts = [f"{sum(one.state is state for one in findings)} {state.value}" for state in State]
    yield f"{len(findings)} topics: {', '.join(counts)}"
    yield ""
    yield from table(["TOPIC", "PARTITIONS", "KEPT", "IS"], [[*_columns(one.topic), one.state] for one in findings])
    for one in findings:
        yield from (f"{one.topic.name} has {difference}" for difference in one.differences)
    if comparison.extra:
        yield f"not in the plan: {', '.join(comparison.extra)}"
    yield ""
    if comparison.missing_rights is None:
        yield f"{comparison.rights_unknown}. Needed are:"
        yield from rights(comparison.plan.rights)
    elif comparison.missing_rights:
        yield f"{len(comparison.missing_rights)} of {len(comparison.plan.rights)} rights are missing:"
        yield from rights(comparison.missing_rights)
    else:
        yield f"all {len(comparison.plan.rights)} rights are there"


def _told(applied: Applied) -> Iterator[str]:
    yield f"created {len(applied.created)} topics, added {len(applied.allowed)} rights"
    yield ""
    yield from _compared(applied.left)


def _columns(row: TopicRow) -> list[str]:
    return [row.name, str(row.partitions), kept(row)]


def kept(row: TopicRow) -> str:
    """How long a topic keeps its records, for people."""
    if row.compacted:
        return "newest per key"
    if row.retention_ms is None:
        return "for ever"
    return f"{row.retention_ms // DAY_MS} days" if row.retention_ms >= DAY_MS else f"{row.retention_ms // 60_000} min"


def rights(wanted: Sequence[Right]) -> Iterator[str]:
    """Rights as lines, by whom they are for."""
    for principal, of_one in groupby(sorted(wanted), key=lambda right: right.principal):
        yield principal
        for (operation, resource), alike in groupby(of_one, key=lambda right: (right.operation, right.resource)):
            yield f"  {operation:8} {resource:6} {', '.join(right.name for right in alike)}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Columns as wide as they must be."""
    widths = [max(len(row[at]) for row in (head, *rows)) for at in range(len(head))]
    for row in (head, *rows):
        yield "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
