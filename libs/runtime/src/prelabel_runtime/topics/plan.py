"""The plan of a deployment's topics and rights, and how a real Kafka differs from it. Nothing here asks anybody."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from prelabel_contract import names
from prelabel_contract.topics import UPSTREAM, Deployment, ServiceTopics, resolve

from .spec import topic_spec

__all__ = [
    "MAX_MESSAGE_BYTES", "Comparison", "Finding", "Plan", "Reader", "Right", "Rule", "State", "TopicRow", "TopicState",
    "compare", "plan",
]  # fmt: skip

MAX_MESSAGE_BYTES = 1_048_588
"""What a topic must take at least: the largest record of ours with its frame. It is also Kafka's own default."""

_UPSTREAM = UPSTREAM.partition("{")[0]


@dataclass(frozen=True, slots=True)
class Reader:
    """Who reads a topic; without a group: from where it likes."""

    service: str
    group: str | None


@dataclass(frozen=True, slots=True)
class TopicRow:
    """A topic as it should be. Names are those on the broker, with the prefix."""

    name: str
    partitions: int
    compacted: bool
    retention_ms: int | None
    """None: for ever. Does not apply to compacted topics."""
    replication: int | None
    """None: what the brokers do by default."""
    written_by: tuple[str, ...]
    read_by: tuple[Reader, ...]

    @property
    def configs(self) -> Mapping[str, str]:
        """The topic's settings, as Kafka calls them."""
        return {
            "cleanup.policy": "compact" if self.compacted else "delete",
            "retention.ms": "-1" if self.retention_ms is None else str(self.retention_ms),
            "retention.bytes": "-1",
            "max.message.bytes": str(MAX_MESSAGE_BYTES),
        }


@dataclass(frozen=True, slots=True, order=True)
class Right:
    """What somebody must be allowed."""

    principal: str
    operation: str
    """READ, WRITE or DESCRIBE. The first two include the third."""
    resource: str
    """topic or group."""
    name: str
    service: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What a deployment needs of a Kafka."""

    prefix: str
    topics: tuple[TopicRow, ...]
    rights: tuple[Right, ...]


def plan(
    deployment: Deployment,
    *,
    prefix: str = "",
    partitions: int = 12,
    replication: int | None = None,
    keep_days: int | None = None,
    principal: str = "User:prelabel-{service}",
    upstream: str | None = None,
) -> Plan:
    """The topics and rights of a deployment.

    prefix: before the names of topics and groups, as PRELABEL_PREFIX.
    partitions: of every topic that may have more than one.
    keep_days: for topics that are kept for ever unless told; a rebuild reaches back no further.
    principal: who a service is to Kafka; {service} is its name, such as projection or inference-rules.
    upstream: who writes to inbound.{source}; None: their rights are none of ours.
    """
    services = resolve(deployment)
    found = sorted({topic for one in services for topic in (*one.reads, *one.writes)})
    rows = tuple(_row(topic, services, prefix, partitions, replication, keep_days) for topic in found)
    rights = tuple(
        Right(who, operation, resource, prefix + name, one.service)
        for one in services
        if (who := _principal(one.service, principal, upstream)) is not None
        for operation, resource, name in _needed(one)
    )
    return Plan(prefix, rows, tuple(sorted(rights)))


def _principal(service: str, ours: str, upstream: str | None) -> str | None:
    if not service.startswith(_UPSTREAM):
        return ours.replace("{service}", service)
    return None if upstream is None else upstream.replace("{source}", service.removeprefix(_UPSTREAM))


def _row(
    topic: str,
    services: Sequence[ServiceTopics],
    prefix: str,
    partitions: int,
    replication: int | None,
    keep_days: int | None,
) -> TopicRow:
    spec = topic_spec(topic, partitions, keep_days=keep_days)
    return TopicRow(
        name=prefix + topic,
        partitions=spec.partitions,
        compacted=spec.compacted,
        retention_ms=spec.retention_ms,
        replication=replication,
        written_by=tuple(one.service for one in services if topic in one.writes),
        read_by=tuple(reader for one in services for reader in _readers(topic, one, prefix)),
    )


def _readers(topic: str, service: ServiceTopics, prefix: str) -> Iterator[Reader]:
    yield from (Reader(service.service, prefix + group) for group, read in service.groups.items() if topic in read)
    if topic in service.follows:
        yield Reader(service.service, None)


def _needed(service: ServiceTopics) -> Iterator[tuple[str, str, str]]:
    yield from (("READ", "topic", topic) for topic in service.reads)
    yield from (("WRITE", "topic", topic) for topic in service.writes)
    yield from (("READ", "group", group) for group in service.groups)
    yield from (("DESCRIBE", "group", group) for group in service.watches if group not in service.groups)


# ------------------------------------------------------------------------------------------------- compared


@dataclass(frozen=True, slots=True)
class TopicState:
    """A topic as it is. Settings that we may not see are not there."""

    partitions: int
    replication: int
    configs: Mapping[str, str]


@dataclass(frozen=True, slots=True, order=True)
class Rule:
    """One entry of the access control list. pattern: literal or prefixed; host "*": from everywhere."""

    principal: str
    resource: str
    pattern: str
    name: str
    operation: str
    allows: bool = True
    host: str = "*"

    def concerns(self, right: Right) -> bool:
        """Whether it says something about a right."""
        if self.resource != right.resource or self.principal not in (right.principal, "User:*"):
            return False
        return right.name.startswith(self.name) if self.pattern == "prefixed" else self.name in (right.name, "*")


class State(StrEnum):
    """What becomes of a planned topic."""

    THERE = "there"
    MISSING = "missing"
    DIFFERS = "differs"


@dataclass(frozen=True, slots=True)
class Finding:
    """A planned topic, and how the real one differs."""

    topic: TopicRow
    state: State
    differences: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Comparison:
    """How a Kafka differs from a plan."""

    plan: Plan
    findings: tuple[Finding, ...]
    extra: tuple[str, ...]
    """Topics that carry our names and are not in the plan."""
    missing_rights: tuple[Right, ...] | None
    """None where nobody could tell; see `rights_unknown`."""
    rights_unknown: str = ""

    @property
    def missing(self) -> tuple[TopicRow, ...]:
        """Topics to be created."""
        return tuple(one.topic for one in self.findings if one.state is State.MISSING)

    @property
    def fits(self) -> bool:
        """Whether nothing is missing and nothing differs, as far as could be seen."""
        return all(one.state is State.THERE for one in self.findings) and not self.missing_rights


def compare(
    wanted: Plan, topics: Mapping[str, TopicState], rules: Sequence[Rule] | None, *, rights_unknown: str = ""
) -> Comparison:
    """Compare a plan with what is there. rules: None where they cannot be seen, for the reason given."""
    planned = {row.name for row in wanted.topics}
    return Comparison(
        wanted,
        tuple(_finding(row, topics.get(row.name)) for row in wanted.topics),
        tuple(sorted(name for name in topics if name not in planned and _is_ours(name, wanted.prefix))),
        None if rules is None else tuple(right for right in wanted.rights if not _granted(right, rules)),
        rights_unknown,
    )


def _finding(row: TopicRow, there: TopicState | None) -> Finding:
    if there is None:
        return Finding(row, State.MISSING)
    differences = tuple(_differences(row, there))
    return Finding(row, State.DIFFERS if differences else State.THERE, differences)


def _differences(row: TopicRow, there: TopicState) -> Iterator[str]:
    if there.partitions != row.partitions:
        yield f"{there.partitions} partitions instead of {row.partitions}: left so, keys would change their places"
    if row.replication is not None and there.replication < row.replication:
        yield f"{there.replication} replicas instead of {row.replication}"
    for name, value in row.configs.items():
        found = there.configs.get(name)
        if found is not None and _is_worse(name, found, value):
            yield f"{name} is {found} instead of {value}"


def _is_worse(name: str, found: str, wanted: str) -> bool:
    if name == "cleanup.policy":
        return found != wanted
    if name == "max.message.bytes":
        return int(found) < int(wanted)
    # Less is lost early; more costs disk only.
    return int(found) != -1 and (wanted == "-1" or int(found) < int(wanted))


def _is_ours(name: str, prefix: str) -> bool:
    if not name.startswith(prefix):
        return False
    try:
        names.parse_topic(name.removeprefix(prefix))
    except ValueError:
        return False
    return True


_ENOUGH: Mapping[str, frozenset[str]] = {
    "READ": frozenset({"READ", "ALL"}),
    "WRITE": frozenset({"WRITE", "ALL"}),
    "DESCRIBE": frozenset({"DESCRIBE", "READ", "WRITE", "DELETE", "ALTER", "ALL"}),
}


def _granted(right: Right, rules: Sequence[Rule]) -> bool:
    about = [rule for rule in rules if rule.concerns(right)]
    if any(not rule.allows and rule.operation in (right.operation, "ALL") for rule in about):
        return False
    return any(rule.allows and rule.host == "*" and rule.operation in _ENOUGH[right.operation] for rule in about)
