"""What the brokers let a client do, asked in Kafka's own protocol.

aiokafka speaks no version of Metadata that tells rights, and has no words for access control lists; both are asked here
through its connections.
"""

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any

from aiokafka import errors
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.admin import CreateAclsRequest, DescribeAclsRequest
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Boolean, Int16, Int32, Schema, String

from prelabel_runtime.topics.plan import Rule

__all__ = ["Operation", "create_rule", "operations_allowed", "rules"]


class Operation(IntEnum):
    """Kafka's numbers of what may be done to a resource."""

    ANY = 1
    ALL = 2
    READ = 3
    WRITE = 4
    CREATE = 5
    DELETE = 6
    ALTER = 7
    DESCRIBE = 8


_RESOURCES: Mapping[str, int] = {"topic": 2, "group": 3, "cluster": 4}
_PATTERNS: Mapping[str, int] = {"literal": 3, "prefixed": 4}
_ANY_RESOURCE, _ANY_PATTERN, _ANY_PERMISSION = 1, 1, 1
_DENY, _ALLOW = 2, 3


class _MetadataResponse(Response):  # type: ignore[misc]
    API_KEY = 3
    API_VERSION = 8
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            Array(("node_id", Int32), ("host", String("utf-8")), ("port", Int32), ("rack", String("utf-8"))),
        ),
        ("cluster_id", String("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            Array(
                ("error_code", Int16),
                ("topic", String("utf-8")),
                ("is_internal", Boolean),
                (
                    "partitions",
                    Array(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", Array(Int32)),
                        ("isr", Array(Int32)),
                        ("offline_replicas", Array(Int32)),
                    ),
                ),
                ("operations", Int32),
            ),
        ),
        ("cluster_operations", Int32),
    )


class _MetadataRequestV8(RequestStruct):  # type: ignore[misc]
    API_KEY = 3
    API_VERSION = 8
    RESPONSE_TYPE = _MetadataResponse
    SCHEMA = Schema(
        ("topics", Array(String("utf-8"))),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
    )


class _MetadataRequest(Request[_MetadataRequestV8]):  # type: ignore[misc]
    API_KEY = 3

    def __init__(self, topics: Sequence[str]) -> None:
        self._topics = list(topics)

    def build(self, request_struct_class: type[_MetadataRequestV8]) -> _MetadataRequestV8:
        return request_struct_class(self._topics, False, False, True)


async def _asked(client: AIOKafkaClient, request: Any) -> Any:
    return await client.send(client.get_random_node(), request)


async def operations_allowed(
    client: AIOKafkaClient, topics: Sequence[str]
) -> Mapping[str, frozenset[Operation] | None]:
    """Per topic what this client may do to it; None for one that is not there. Nothing: not even see it.

    Raises the client's errors; NotImplementedError where the brokers are older than Kafka 2.3.
    """
    found: dict[str, frozenset[Operation] | None] = {}
    for code, name, _, _, bits in (await _asked(client, _MetadataRequest(topics))).topics:
        error = errors.for_code(code)
        if error is errors.TopicAuthorizationFailedError:
            found[name] = frozenset()
        elif error is errors.UnknownTopicOrPartitionError:
            found[name] = None
        elif error is errors.NoError or error is errors.LeaderNotAvailableError:
            found[name] = frozenset(one for one in Operation if bits & (1 << one))
        else:
            raise error(name)
    return found


async def rules(client: AIOKafkaClient) -> frozenset[Rule]:
    """The access control list, as far as it concerns topics, groups and the cluster.

    Raises ClusterAuthorizationFailedError without the right to see it, SecurityDisabled where there is none.
    """
    question = DescribeAclsRequest(_ANY_RESOURCE, None, _ANY_PATTERN, None, None, int(Operation.ANY), _ANY_PERMISSION)
    answer = await _asked(client, question)
    error = errors.for_code(answer.error_code)
    if error is not errors.NoError:
        raise error(answer.error_message)
    kinds = {number: name for name, number in _RESOURCES.items()}
    patterns = {number: name for name, number in _PATTERNS.items()}
    known = frozenset(int(one) for one in Operation)
    return frozenset(
        Rule(principal, kinds[kind], patterns[pattern], name, Operation(operation).name, permission == _ALLOW, host)
        for kind, name, pattern, entries in answer.resources
        for principal, host, operation, permission in entries
        if kind in kinds and pattern in patterns and operation in known
    )


async def create_rule(client: AIOKafkaClient, rule: Rule) -> None:
    """Add to the access control list; one that is there stays. Raises the client's errors."""
    request = CreateAclsRequest(
        _RESOURCES[rule.resource],
        rule.name,
        _PATTERNS[rule.pattern],
        rule.principal,
        rule.host,
        int(Operation[rule.operation]),
        _ALLOW if rule.allows else _DENY,
    )
    ((code, text),) = (await _asked(client, request)).creation_responses
    error = errors.for_code(code)
    if error is not errors.NoError:
        raise error(text)
