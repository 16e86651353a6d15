"""Topics and rights of a Kafka, as an administrator sees and makes them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from aiokafka import errors
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.client import AIOKafkaClient

from prelabel_runtime.bus.kafka_rights import create_rule, rules
from prelabel_runtime.bus.kafka_security import NOT_ALLOWED, KafkaSecurity
from prelabel_runtime.errors import Refused, Unavailable
from prelabel_runtime.topics.plan import Right, Rule, TopicRow, TopicState

__all__ = ["KafkaAdmin", "administering", "default_replicas"]

_T = TypeVar("_T")
_TIMEOUT_MS = 20_000


async def default_replicas(admin: AIOKafkaAdminClient) -> int:
    """What the brokers would take: the client's form of CreateTopics cannot leave it to them."""
    name = "default.replication.factor"
    brokers = (await admin.describe_cluster())["brokers"]
    wanted = ConfigResource(ConfigResourceType.BROKER, str(brokers[0]["node_id"]), configs={name: None})
    for answer in await admin.describe_configs([wanted]):
        for code, _, _, _, entries in answer.resources:
            if code == 0:
                return next(int(entry[1]) for entry in entries if entry[0] == name)
    return min(3, len(brokers))  # not allowed to ask


class KafkaAdmin:
    """Made by `administering`. Everything raises `Refused` for what we may not do, `Unavailable` without an answer."""

    def __init__(self, client: AIOKafkaClient, admin: AIOKafkaAdminClient, security: KafkaSecurity) -> None:
        self._client = client
        self._admin = admin
        self._security = security

    async def topics(self) -> Mapping[str, TopicState]:
        """Every topic that we may see."""
        described = await self._ask(self._admin.describe_topics(), "DESCRIBE topics")
        found = {one["topic"]: one["partitions"] for one in described if not one["error_code"]}
        configs = await self._configs(sorted(found)) if found else {}
        return {
            name: TopicState(len(partitions), min(len(one["replicas"]) for one in partitions), configs.get(name, {}))
            for name, partitions in found.items()
        }

    async def _configs(self, topics: Sequence[str]) -> Mapping[str, Mapping[str, str]]:
        wanted = [ConfigResource(ConfigResourceType.TOPIC, name) for name in topics]
        answers = await self._ask(self._admin.describe_configs(wanted), "DESCRIBE_CONFIGS of topics")
        return {
            name: {entry[0]: entry[1] for entry in entries if entry[1] is not None}
            for answer in answers
            for code, _, _, name, entries in answer.resources
            if code == 0  # of others we may not ask
        }

    async def create(self, rows: Sequence[TopicRow]) -> None:
        """Create topics; one that is there already is left as it is."""
        if not rows:
            return
        usual = await self._ask(default_replicas(self._admin), "DESCRIBE the cluster")
        made = await self._ask(
            self._admin.create_topics(
                [
                    NewTopic(row.name, row.partitions, row.replication or usual, topic_configs=dict(row.configs))
                    for row in rows
                ],
                timeout_ms=_TIMEOUT_MS,
            ),
            "CREATE topics",
        )
        for name, code, text in made.topic_errors:
            error = errors.for_code(code)
            if error in NOT_ALLOWED:
                raise self._refused(f"CREATE topic {name}")
            if code and error is not errors.TopicAlreadyExistsError:
                raise Refused(f"Kafka does not create the topic {name}: {text or error.__name__}")

    async def rules(self) -> Sequence[Rule]:
        """The access control list."""
        try:
            return sorted(await self._ask(rules(self._client), "see the access control list (DESCRIBE cluster)"))
        except errors.SecurityDisabled:
            raise Refused("this Kafka has no access control list: everybody may do everything") from None

    async def allow(self, rights: Sequence[Right]) -> None:
        """Add rights to the access control list."""
        await self.add([Rule(one.principal, one.resource, "literal", one.name, one.operation) for one in rights])

    async def add(self, entries: Sequence[Rule]) -> None:
        """Add entries to the access control list."""
        for rule in entries:
            await self._ask(create_rule(self._client, rule), "change the access control list (ALTER cluster)")

    async def _ask(self, question: Awaitable[_T], deed: str) -> _T:
        try:
            async with asyncio.timeout(_TIMEOUT_MS / 1000):
                return await question
        except NOT_ALLOWED:
            raise self._refused(deed) from None
        except errors.SecurityDisabled:
            raise
        except (errors.KafkaError, TimeoutError, OSError) as error:
            raise Unavailable(f"Kafka does not answer: {type(error).__name__}") from error

    def _refused(self, deed: str) -> Refused:
        return Refused(f"Kafka: {self._security.who} has no right to {deed}")


@asynccontextmanager
async def administering(servers: Sequence[str], security: KafkaSecurity) -> AsyncIterator[KafkaAdmin]:
    """Connections to administer a Kafka. Raises `Refused` where it lets nobody in, `Unavailable` where it is away."""
    shown: Mapping[str, Any] = {
        "bootstrap_servers": list(servers),
        "client_id": "prelabel-topics",
        **security.for_client(),
    }
    client, admin = AIOKafkaClient(**shown), AIOKafkaAdminClient(**shown)
    try:
        try:
            await client.bootstrap()
            await admin.start()
        except errors.KafkaError as error:
            if reason := await security.refusal(servers, timeout=5.0):
                raise Refused(reason) from None
            raise Unavailable(f"Kafka at {','.join(servers)} does not answer") from error
        yield KafkaAdmin(client, admin, security)
    finally:
        await admin.close()
        await client.close()
