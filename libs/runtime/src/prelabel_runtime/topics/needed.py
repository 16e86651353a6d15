"""That the topics a process needs are there, and allowed, before it starts."""

from collections.abc import Sequence

from prelabel_contract import names, topics

from prelabel_runtime import log
from prelabel_runtime.bus.base import Bus, Missing
from prelabel_runtime.clock import Clock
from prelabel_runtime.errors import Refused, Unavailable
from prelabel_runtime.service import Service

_log = log.get("prelabel.topics")

_SHOWN = 5


async def wait_for_topics(bus: Bus, services: Sequence[Service], clock: Clock, limit: float) -> None:
    """Return when every topic that the services use is there.

    Raises `Refused` for one that this process has no right to use, `Unavailable` for one that is not there after
    `limit` seconds.
    """
    reads, writes = _used(services)
    deadline = clock.monotonic() + limit
    pause = 0.2
    while True:
        try:
            missing = await bus.missing(reads=reads, writes=writes)
        except Unavailable as error:
            waiting = error
        else:
            if not missing:
                return
            if denied := [one for one in missing if not one.allowed]:
                raise Refused(f"Kafka: {_listed(denied)}; `prelabel topics plan` shows what is needed")
            waiting = Unavailable(
                f"{_listed(missing)}; `prelabel topics apply` or PRELABEL_CREATE_TOPICS=true makes them"
            )
        if clock.monotonic() >= deadline:
            raise waiting
        _log.warning("waiting for topics", reason=waiting.what)
        await clock.sleep(pause)
        pause = min(2 * pause, 5.0)


def _used(services: Sequence[Service]) -> tuple[set[str], set[str]]:
    """The topics that services read and write. Of kinds of which there are several: those that their groups have."""
    called = {service.name for service in services}
    providers = [name.removeprefix("inference-") for name in called if name.startswith("inference-")]
    rows = [row for row in topics.resolve(topics.Deployment(tuple(providers))) if row.service in called]
    reads = {topic for row in rows for topic in row.follows}
    writes = {topic for row in rows for topic in row.writes}
    own = set()
    for subscription in (subscription for service in services for subscription in service.subscriptions):
        again = names.retry(subscription.group)
        reads |= {*subscription.topics, again}
        own |= {*subscription.topics, again, names.dead_letters(subscription.group)}
    others = {topic for topic in reads | writes if names.parse_topic(topic).parts} - own
    return reads - others, writes - others


def _listed(missing: Sequence[Missing]) -> str:
    more = f" (and {len(missing) - _SHOWN} more)" if len(missing) > _SHOWN else ""
    return "; ".join(one.said for one in missing[:_SHOWN]) + more
