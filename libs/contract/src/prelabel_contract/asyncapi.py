"""AsyncAPI 3 of the topics: what lies in them, who writes and who reads, and how Kafka keeps them.

Channels are topics, without a deployment's prefix; messages are events; operations are one service writing or one
consumer group reading, from the table in `topics`.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from . import names
from .events import AnyEvent, PredictionCreated, PredictionFailed, TaskAccepted, TaskRejected, TaskSubmitted
from .examples import examples, public_examples
from .topics import TRAFFIC, UPSTREAM, Group, Traffic

VERSION = "3.0.0"
_BINDING = "0.5.0"
PARTITIONS = 12
"""Of topics that are not kept in one, unless a deployment says otherwise (PRELABEL_PARTITIONS)."""


def asyncapi() -> dict[str, Any]:
    """The document."""
    messages: dict[str, dict[str, Any]] = {}
    channels: dict[str, dict[str, Any]] = {}
    for below, events in (("", examples()), ("inbound/", public_examples())):
        for event in events:
            topic = names.parse_topic(event.topic)
            name = f"{'inbound.' if below else ''}{event.type}"
            messages.setdefault(name, _message(event, below))
            channel = channels.setdefault(topic.kind, _channel(event.topic, topic))
            channel["messages"].setdefault(name, _to("components/messages", name))
    for topic_name in (names.REPLIES, names.retry("group"), names.dead_letters("group")):
        topic = names.parse_topic(topic_name)
        channels.setdefault(topic.kind, _channel(topic_name, topic))
    for cls in (PredictionCreated, PredictionFailed, TaskAccepted, TaskRejected):
        channels["replies"]["messages"][cls.TYPE] = _to("components/messages", cls.TYPE)
    return {
        "asyncapi": VERSION,
        "info": {
            "title": "Prelabel events",
            "version": "1.0.0",
            "description": "CloudEvents 1.0 over Kafka, binary mode out, binary and structured mode in. "
            "Unknown fields, kinds of region and types are to be ignored by readers.",
            "license": {"name": "Apache-2.0"},
            "tags": [{"name": _plain(row.service), "description": _who(row)} for row in TRAFFIC],
        },
        "defaultContentType": "application/json",
        "servers": _SERVERS,
        "channels": dict(sorted(channels.items())),
        "operations": dict(_operations(channels)),
        "components": {"messages": dict(sorted(messages.items())), "securitySchemes": _SECURITY},
    }


def _to(place: str, name: str) -> dict[str, str]:
    return {"$ref": f"#/{place}/{name}"}


# ------------------------------------------------------------------------------------------------------------ servers


_SECURITY: Mapping[str, Mapping[str, str]] = {
    "scram512": {"type": "scramSha512", "description": "SASL with a user's name and password."},
    "scram256": {"type": "scramSha256", "description": "SASL with a user's name and password."},
    "plain": {"type": "plain", "description": "SASL with a user's name and password, over TLS only."},
    "mutual": {"type": "X509", "description": "A client's certificate."},
}

_BOOTSTRAP = {"description": "The first brokers to ask.", "default": "localhost:9092"}

_SERVERS: Mapping[str, Mapping[str, Any]] = {
    "open": {
        "host": "{bootstrap}",
        "protocol": "kafka",
        "description": "A Kafka for this deployment alone.",
        "variables": {"bootstrap": _BOOTSTRAP},
    },
    "secured": {
        "host": "{bootstrap}",
        "protocol": "kafka-secure",
        "description": "A platform's Kafka: TLS, and one of the ways to say who one is.",
        "variables": {"bootstrap": {**_BOOTSTRAP, "default": "kafka.example:9093"}},
        "security": [_to("components/securitySchemes", name) for name in _SECURITY],
    },
}


# ----------------------------------------------------------------------------------------------------------- channels


PARAMETERS: Mapping[str, Mapping[str, Any]] = {
    "source": {"description": "An upstream system that configuration binds to projects."},
    "provider": {"description": "A kind of model host."},
    "lane": {"description": "How urgent it is.", "enum": [str(lane) for lane in names.Lane]},
    "group": {"description": "A consumer group."},
}


def _channel(example: str, topic: names.Topic) -> dict[str, Any]:
    address = address_of(example)
    made: dict[str, Any] = {
        "address": address,
        "description": described(topic),
        "messages": {},
        "bindings": {
            "kafka": {
                "topic": address,
                "partitions": 1 if topic.single else PARTITIONS,
                "topicConfiguration": {
                    "cleanup.policy": ["compact" if topic.kept is names.Kept.COMPACTED else "delete"],
                    "retention.ms": -1 if topic.retention_ms is None else topic.retention_ms,
                },
                "bindingVersion": _BINDING,
            }
        },
    }
    if topic.parts:
        made["parameters"] = {part: PARAMETERS[part] for part in topic.parts}
    return made


def address_of(topic: str) -> str:
    """A topic's name with what varies in braces."""
    for part, value in names.parse_topic(topic).parts.items():
        topic = topic.replace(f".{value}", f".{{{part}}}", 1)
    return topic


_KEPT: Mapping[names.Kept, str] = {
    names.Kept.LONG: "for ever, unless a deployment says otherwise",
    names.Kept.DAYS: "for two weeks",
    names.Kept.MINUTES: "for an hour",
    names.Kept.COMPACTED: "the newest record per key",
}


def described(topic: names.Topic) -> str:
    """What a topic is to its readers."""
    kept = f"Kept: {_KEPT[topic.kept]}."
    if topic.kind in ("retry", "deadletters"):
        return f"Records of any type, with their original bytes, headers and key. {kept}"
    return kept


# ----------------------------------------------------------------------------------------------------------- messages


_LANE = {
    "enum": [value.decode() for _, value in names.LANE_HEADERS.values()],
    "description": "The task's lane, unless it is bulk: who is after another lane passes over the record unread",
}


def _message(event: AnyEvent, below: str) -> dict[str, Any]:
    name = event.type
    return {
        "name": name,
        "summary": (type(event.data).__doc__ or "").strip().split("\n")[0],
        "contentType": "application/json",
        "headers": {
            "type": "object",
            "required": ["ce_specversion", "ce_type", "ce_source", "ce_id"],
            "properties": {
                "ce_specversion": {"const": "1.0"},
                "ce_type": {"const": name},
                "ce_source": {"type": "string", "minLength": 1},
                "ce_id": {"type": "string", "minLength": 1},
                "ce_time": {"type": "string", "format": "date-time"},
                **({"ce_lane": _LANE} if isinstance(event.data, TaskSubmitted) else {}),
            },
        },
        "payload": {
            "schemaFormat": "application/schema+json;version=draft-2020-12",
            "schema": {"$ref": f"./schemas/{below}{name}.json"},
        },
        "bindings": {"kafka": {"key": _key(event), "bindingVersion": _BINDING}},
    }


KEYS: Mapping[str, str] = {
    "submitted": "the task's uid, or the run's",
    "tasks": "the task's uid",
    "requests": "the task's uid",
    "predictions": "the task's uid; in replies the correlation id",
    "replies": "the correlation id",
    "annotations": "the project's id",
    "runs": "the run's id",
    "configs": "the content hash",
    "projects": "the project's id",
    "models": "project/model",
    "training": "the project's id",
    "learning": "the project's id",
    "providers": "the provider, or the provider and `/trainer`",
    "access": "its id",
    "audit": "the project, or what it is about",
    "retry": "the original's",
    "deadletters": "the original's; of what is said about a letter, the letter's id",
    "inbound": "any",
}
"""The key of a topic's records, by kind of topic."""


def _key(event: AnyEvent) -> dict[str, str]:
    return {"type": "string", "description": KEYS[names.parse_topic(event.topic).kind]}


# --------------------------------------------------------------------------------------------------------- operations


def _operations(channels: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for row in TRAFFIC:
        service = _plain(row.service)
        for kind in row.writes:
            yield f"{service}.sends.{kind}", _operation("send", row, kind, channels)
        for kind in row.follows:
            summary = "Reads all of it, or from where it likes, without a group."
            yield f"{service}.follows.{kind}", {**_operation("receive", row, kind, channels), "summary": summary}
        for group in row.groups:
            yield from _operations_of(row, group, channels)


def _operations_of(row: Traffic, group: Group, channels: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    as_group = {"bindings": {"kafka": {"groupId": _group_id(group.name), "bindingVersion": _BINDING}}}
    name = f"{_plain(row.service)}.{_plain(group.name)}"
    for kind in (*group.reads, "retry"):
        yield f"{name}.receives.{kind}", {**_operation("receive", row, kind, channels), **as_group}
    for kind, why in (("retry", "What is to be tried again later."), ("deadletters", "What cannot be handled.")):
        yield f"{name}.sends.{kind}", {**_operation("send", row, kind, channels), "summary": why}


def _operation(action: str, row: Traffic, kind: str, channels: Mapping[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {
        "action": action,
        "channel": _to("channels", kind),
        "tags": [{"name": _plain(row.service)}],
    }
    if found := channels[kind]["messages"]:
        made["messages"] = [_to(f"channels/{kind}/messages", name) for name in found]
    return made


def _group_id(template: str) -> dict[str, Any]:
    """The group's name, without a deployment's prefix."""
    if "{" not in template:
        return {"type": "string", "enum": [template]}
    pattern = template
    for part in PARAMETERS:
        pattern = pattern.replace(f"{{{part}}}", "[a-z0-9-]+")
    return {"type": "string", "pattern": f"^{pattern}$"}


def _plain(template: str) -> str:
    """As a name: {provider} becomes provider."""
    return template.replace("{", "").replace("}", "")


def _who(row: Traffic) -> str:
    return "An upstream system, not a service of ours." if row.service == UPSTREAM else "A service of Prelabel's."
