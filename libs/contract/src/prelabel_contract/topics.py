"""Which service reads and writes which topics: one table, from which plans, rights and AsyncAPI are made.

A row names kinds of topics as `names.parse_topic` does. Names of services and groups may hold {provider}, {lane} or
{source}: such a row stands for one per provider, lane or inbound source. A group reads its own retry topic and writes
that and its dead letters without being told.

A new service, group or topic is a row here; tests/integration/test_kafka_secured.py runs every service with the rights
that follow from its row and no others.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from string import Formatter

from . import names
from .names import Lane

__all__ = [
    "TRAFFIC", "UPSTREAM", "Deployment", "Group", "ServiceTopics", "Traffic", "readers", "resolve", "writers",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Group:
    """A consumer group."""

    name: str
    reads: tuple[str, ...]
    """Kinds of topics, beside its own retry topic."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """What one service reads and writes."""

    service: str
    groups: tuple[Group, ...] = ()
    follows: tuple[str, ...] = ()
    """Kinds of topics it reads without a group."""
    writes: tuple[str, ...] = ()
    """Kinds of topics, beside what its groups set aside."""
    watches: tuple[str, ...] = ()
    """Groups whose progress it looks at; {group} is every one."""


UPSTREAM = "upstream-{source}"
"""Who writes to inbound.{source}: not a service of ours."""

TRAFFIC: tuple[Traffic, ...] = (
    Traffic(
        "ingestion",
        groups=(
            *(Group(names.dispatcher_group(lane), ("submitted",)) for lane in Lane),
            Group("inbound-{source}", ("inbound",)),
        ),
        follows=("projects", "configs", "providers", "replies", "access"),
        writes=(
            *("submitted", "tasks", "requests", "runs", "replies", "annotations"),
            *("configs", "projects", "access", "audit"),
        ),
    ),
    Traffic(
        "projection",
        groups=(
            Group("projection", ("tasks", "predictions", "annotations", "runs", "audit")),
            Group("letters", ("deadletters",)),
            Group("audit", ("audit",)),
        ),
        # A trace looks up when a door took a task in, and how far behind a provider is.
        follows=("projects", "providers", "access", "submitted", "requests"),
        # A replay goes to the retry topic of whatever group gave the record up; what a re-label replaces is told here,
        # and what became of suggestions, among the annotations.
        writes=("runs", "access", "audit", "retry", "predictions", "annotations"),
        watches=("inference-{provider}-{lane}",),
    ),
    Traffic(
        "training",
        groups=(Group("training", ("annotations", "tasks")), Group("training-gate", ("learning",))),
        follows=("projects", "configs", "providers", "access", "models"),
        writes=("training", "learning", "models", "requests", "access", "audit"),
        # Asked again after a promotion: only while few requests wait.
        watches=("inference-{provider}-{lane}",),
    ),
    Traffic(
        "webhooks",
        follows=("tasks", "predictions", "annotations", "runs", "learning", "access", "audit"),
        writes=("access", "audit"),
    ),
    Traffic(
        "inference-{provider}",
        groups=(Group("inference-{provider}-{lane}", ("requests",)),),
        follows=("configs", "models"),
        writes=("predictions", "replies", "providers", "learning"),
    ),
    Traffic(
        "trainer-{provider}",
        groups=(Group("trainer-{provider}", ("training",)),),
        follows=("configs",),
        writes=("learning", "providers"),
    ),
    Traffic(UPSTREAM, writes=("inbound",)),
)


def writers(kind: str) -> tuple[str, ...]:
    """The services that write topics of a kind, as their rows name them; in the table's order."""
    own = ("retry", "deadletters")
    return tuple(row.service for row in TRAFFIC if kind in row.writes or (kind in own and row.groups))


def readers(kind: str) -> tuple[str, ...]:
    """The services that read topics of a kind, in a group or without one."""
    return tuple(
        row.service
        for row in TRAFFIC
        if kind in row.follows or any(kind in group.reads or kind == "retry" for group in row.groups)
    )


# ------------------------------------------------------------------------------------------------- by name


@dataclass(frozen=True, slots=True)
class Deployment:
    """What varies from one deployment to the next."""

    providers: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    """Inbound sources."""
    lanes: tuple[Lane, ...] = tuple(Lane)


@dataclass(frozen=True, slots=True)
class ServiceTopics:
    """A row of the table with names instead of kinds. Names carry no prefix."""

    service: str
    groups: Mapping[str, tuple[str, ...]]
    """Each group with every topic it reads, its retry topic last."""
    follows: tuple[str, ...]
    writes: tuple[str, ...]
    watches: tuple[str, ...]

    @property
    def reads(self) -> tuple[str, ...]:
        """Every topic that is read, with or without a group."""
        return tuple(dict.fromkeys([*(topic for topics in self.groups.values() for topic in topics), *self.follows]))


def resolve(deployment: Deployment) -> tuple[ServiceTopics, ...]:
    """The table with the names of a deployment."""
    parts: dict[str, tuple[str, ...]] = {
        "provider": deployment.providers,
        "source": deployment.sources,
        "lane": tuple(str(lane) for lane in deployment.lanes),
        "group": (),
    }
    every = [name for row, bound in _rows(parts) for name, _, _ in _groups_of(row, bound)]
    return tuple(_resolved(row, bound) for row, bound in _rows({**parts, "group": tuple(every)}))


Parts = Mapping[str, tuple[str, ...]]
"""The values that each part of a name takes."""


def _rows(parts: Parts) -> Iterator[tuple[Traffic, Parts]]:
    for row in TRAFFIC:
        for bound in _bindings(row.service, parts):
            yield row, bound


def _groups_of(row: Traffic, parts: Parts) -> Iterator[tuple[str, Group, Parts]]:
    for group in row.groups:
        for bound in _bindings(group.name, parts):
            yield _filled(group.name, bound), group, bound


def _resolved(row: Traffic, parts: Parts) -> ServiceTopics:
    groups = {name: (*_topics(group.reads, bound), names.retry(name)) for name, group, bound in _groups_of(row, parts)}
    set_aside = [topic for name in groups for topic in (names.retry(name), names.dead_letters(name))]
    return ServiceTopics(
        service=_filled(row.service, parts),
        groups=groups,
        follows=_topics(row.follows, parts),
        writes=tuple(dict.fromkeys([*_topics(row.writes, parts), *set_aside])),
        watches=tuple(_filled(name, bound) for name in row.watches for bound in _bindings(name, parts)),
    )


def _topics(kinds: Sequence[str], parts: Parts) -> tuple[str, ...]:
    return tuple(topic for kind in kinds for topic in _topics_of_kind(kind, parts))


def _topics_of_kind(kind: str, parts: Parts) -> list[str]:
    match kind:
        case "inbound":
            return [names.inbound(source) for source in parts["source"]]
        case "requests":
            return [names.requests(*place) for place in product(parts["provider"], parts["lane"])]
        case "training":
            return [names.training(provider) for provider in parts["provider"]]
        case "retry":
            return [names.retry(group) for group in parts["group"]]
        case "deadletters":
            return [names.dead_letters(group) for group in parts["group"]]
    return [names.single(kind)]


def _bindings(template: str, parts: Parts) -> list[Parts]:
    """The parts, once for each combination of those that a template names, which then have one value each."""
    named = _named(template)
    return [
        {**parts, **{part: (value,) for part, value in zip(named, values, strict=True)}}
        for values in product(*(parts[part] for part in named))
    ]


def _filled(template: str, parts: Parts) -> str:
    return template.format(**{part: parts[part][0] for part in _named(template)})


def _named(template: str) -> list[str]:
    return [part for _, part, _, _ in Formatter().parse(template) if part]
