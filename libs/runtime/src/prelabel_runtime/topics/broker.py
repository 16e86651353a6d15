"""A plan held against a real Kafka, and carried out there."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prelabel_runtime.credentials import KafkaCredentials
from prelabel_runtime.errors import Refused

from .plan import Comparison, Plan, Right, compare

if TYPE_CHECKING:
    from prelabel_runtime.bus.kafka_admin import KafkaAdmin


@dataclass(frozen=True, slots=True)
class Applied:
    """What `apply` did, and what it left as it was."""

    created: tuple[str, ...]
    allowed: tuple[Right, ...]
    left: Comparison
    """The comparison afterwards."""


def servers_of(bus: str) -> list[str]:
    """The servers of PRELABEL_BUS. Raises `Refused` where it is no Kafka's address."""
    scheme, _, rest = bus.partition("://")
    if scheme != "kafka" or not rest:
        raise Refused("PRELABEL_BUS names no Kafka: set it to kafka://HOST:PORT[,HOST:PORT…]")
    return rest.rstrip("/").split(",")


async def look(plan: Plan, bus: str, credentials: KafkaCredentials) -> Comparison:
    """How the Kafka at `bus` differs from a plan. Raises `Refused`, `Unavailable`."""
    async with _administering(bus, credentials) as admin:
        return await _compared(plan, admin)


async def apply(plan: Plan, bus: str, credentials: KafkaCredentials, *, rights: bool) -> Applied:
    """Create the topics that are missing, and with `rights` what is missing of the access control list.

    What is there is left as it is, whatever it is. Raises `Refused`, `Unavailable`.
    """
    async with _administering(bus, credentials) as admin:
        before = await _compared(plan, admin)
        await admin.create(before.missing)
        allowed: Sequence[Right] = ()
        if rights:
            if before.missing_rights is None:
                raise Refused(before.rights_unknown)
            allowed = before.missing_rights
            await admin.allow(allowed)
        after = await _compared(plan, admin)
        return Applied(tuple(row.name for row in before.missing), tuple(allowed), after)


def _administering(bus: str, credentials: KafkaCredentials) -> "AbstractAsyncContextManager[KafkaAdmin]":
    # Imported late: whoever only plans needs no driver.
    from prelabel_runtime.bus.kafka_admin import administering
    from prelabel_runtime.bus.kafka_security import KafkaSecurity

    return administering(servers_of(bus), KafkaSecurity.of(credentials))


async def _compared(plan: Plan, admin: "KafkaAdmin") -> Comparison:
    topics = await admin.topics()
    try:
        return compare(plan, topics, await admin.rules())
    except Refused as error:  # without that right topics can still be seen
        return compare(plan, topics, None, rights_unknown=str(error))
