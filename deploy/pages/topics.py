"""docs/topics.md: every topic and every right, from the table of who reads and writes what."""

from collections.abc import Iterator, Sequence
from itertools import groupby

from prelabel_contract.topics import Deployment
from prelabel_runtime.topics.command import kept
from prelabel_runtime.topics.plan import Plan, Reader, Right, plan


def page() -> str:
    """The page, for a deployment with one provider and one inbound source."""
    return "\n".join(_lines(plan(Deployment(providers=("rules",), sources=("crm",)), upstream="User:{source}")))


def _lines(wanted: Plan) -> Iterator[str]:
    yield "# Topics and rights"
    yield ""
    yield "Made by `make golden` from `libs/contract/src/prelabel_contract/topics.py`, for a deployment with the"
    yield "provider `rules` and the inbound source `crm`. For yours: `prelabel topics plan`; see"
    yield "[an existing Kafka and MongoDB](existing-kafka-and-mongodb.md). Names carry `PRELABEL_PREFIX` in front."
    yield ""
    yield "Partitions are those of the default `PRELABEL_PARTITIONS`; a topic with one has one on purpose: one order."
    yield from ("", "## Topics", "", "| topic | partitions | kept | written by | read by (group) |")
    yield "| --- | --- | --- | --- | --- |"
    for row in wanted.topics:
        written, read = ", ".join(row.written_by), ", ".join(map(_reader, row.read_by))
        yield f"| `{row.name}` | {row.partitions} | {kept(row)} | {written} | {read} |"
    yield from ("", "## Rights", "")
    yield ("READ and WRITE include DESCRIBE. No service needs a right to the cluster or to transactions.")
    for principal, of_one in groupby(wanted.rights, key=lambda right: right.principal):
        yield from ("", f"`{principal}`", "", "| may | of |", "| --- | --- |")
        yield from _rights(list(of_one))
    yield ""


def _reader(reader: Reader) -> str:
    return reader.service if reader.group is None else f"{reader.service} (`{reader.group}`)"


def _rights(rights: Sequence[Right]) -> Iterator[str]:
    for (operation, resource), alike in groupby(rights, key=lambda right: (right.operation, right.resource)):
        yield f"| {operation} {resource} | {', '.join(f'`{right.name}`' for right in alike)} |"
