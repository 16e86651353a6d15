"""docs/events.md: every topic and every event, from the contract's models, samples and table of traffic."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from prelabel_contract import names
from prelabel_contract.asyncapi import KEYS, address_of, described
from prelabel_contract.cloudevents import structured
from prelabel_contract.events import AnyEvent
from prelabel_contract.examples import examples, public_examples
from prelabel_contract.golden import schema
from prelabel_contract.topics import TRAFFIC, writers

_INTRO = """\
# Events

What travels between Prelabel's services, and what a platform's own systems may read. Every record is a CloudEvent 1.0:
its attributes are Kafka headers (`ce_id`, `ce_type`, `ce_source`, `ce_time`), its data is JSON. Topics carry a
deployment's prefix (`PRELABEL_PREFIX`) before the names that stand here.

Who reads: ignore fields, types and kinds of region that you do not know; expect every event at least once, and tell
repetitions by `ce_source` and `ce_id`; order holds per key. Only `inbound.{source}` is written by others:
[emit tasks](emit-tasks.md) shows how.

JSON Schemas are in [libs/contract/schemas](../libs/contract/schemas), samples of every case in
[libs/contract/samples](../libs/contract/samples), the topics as AsyncAPI 3 in
[libs/contract/asyncapi.json](../libs/contract/asyncapi.json). Made by `make golden` from the contract.
"""

_ORDER = ("inbound", "submitted", "tasks", "requests", "predictions", "replies", "annotations", "runs", "projects",
          "configs", "models", "training", "learning", "providers", "access", "audit", "retry",
          "deadletters")  # fmt: skip

WORDS: Mapping[str, str] = {
    "accepted": "Lines that were taken.",
    "accepted_ms": "When it was accepted.",
    "actor": "The id of the key that did it.",
    "actor_name": "The name of that key.",
    "annotation": "The annotation's uid.",
    "annotation: Annotation": "What a person submitted.",
    "annotator": "Who annotated.",
    "at_ms": "When.",
    "config": "Content hash of the project as it was.",
    "correlation": "Whoever waits for the outcome knows it by this.",
    "created_by": "The id of the key that made it.",
    "created_ms": "When it was made.",
    "data": "The task's fields.",
    "deadline_ms": "After this moment nobody needs it any more.",
    "deleted": "It is not there any more.",
    "description": "For people.",
    "detail": "A sentence.",
    "door": "Where it came in.",
    "epoch": "Counts what has been served; the highest is served now.",
    "errors": "What is wrong, and where.",
    "expires_ms": "When it ends; null: never.",
    "generation": "Empty on arrival; a run's id, or model/epoch after a promotion, where a task is labelled anew.",
    "ground_truth": "It was reviewed.",
    "group": "The consumer group.",
    "hash": "Content hash.",
    "host": "Which process.",
    "headers": "Sent with every delivery; the values are encrypted.",
    "id": "Its id.",
    "kind": "Of which kind.",
    "kinds": "The kinds of regions that it gives.",
    "lane": "How urgent it is.",
    "lead_time": "Seconds the person took.",
    "letter": "The dead letter's id.",
    "line": "The line of the upload, from 1.",
    "meta": "As the caller handed it in.",
    "loss": "What the training makes smaller.",
    "metrics": "What the trainer measured.",
    "model": "The model's name in the project.",
    "outcome": "How the request ended.",
    "outcomes": "Requests by how they ended.",
    "parent_prediction": "The request of the prediction that the person started from.",
    "partition": "Where it lies.",
    "payload": "Whether events are sent in full.",
    "project": "The project's id.",
    "project: Project": "The project, whole.",
    "projects": "Projects.",
    "provider": "The provider.",
    "reason": "A word for machines.",
    "regions": "What is marked, and how.",
    "rejected": "Lines that were not taken.",
    "request": "The id of the request, and of its outcome.",
    "requests": "What is asked of which model.",
    "revision": "The revision of the task: its position in `submitted`.",
    "revoked": "It opens nothing any more.",
    "role": "What it may do.",
    "run": "The run that it belongs to.",
    "settings_schema": "JSON Schema of a model's settings.",
    "skipped": "The person declined to answer.",
    "seconds_left": "Until it ends, as far as is known.",
    "state": "How it stands.",
    "step": "How far it is.",
    "steps": "Of how many.",
    "subscription": "The subscription's id.",
    "task": "The task's uid.",
    "task: Task": "The task, as it was handed in.",
    "threshold": "Regions below it are marked, and kept.",
    "total": "Lines in all.",
    "training": "The training's id.",
    "url": "Where events are posted to.",
    "version": "The version.",
}
"""What a field of a name (and of a type) means, wherever the contract does not say more."""


def page() -> str:
    """The page, from the contract."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    by_kind = _samples()
    yield _INTRO
    yield "| topic | key | kept | written by | read by |"
    yield "| --- | --- | --- | --- | --- |"
    for kind in _ORDER:
        topic = names.parse_topic(_example(kind))
        kept = described(topic).rpartition("Kept: ")[2].removesuffix(".")
        who = [", ".join(some) or "nobody yet" for some in (writers(kind), tuple(_readers(kind)))]
        yield f"| `{address_of(_example(kind))}` | {KEYS[kind]} | {kept} | {' | '.join(who)} |"
    yield ""
    yield "Names of consumer groups stand in brackets. Whoever reads without a group reads all of it."
    for kind in _ORDER:
        yield from _topic(kind, by_kind.get(kind, {}))


def _samples() -> dict[str, dict[str, list[AnyEvent]]]:
    found: dict[str, dict[str, list[AnyEvent]]] = defaultdict(lambda: defaultdict(list))
    for event in (*public_examples(), *examples()):
        found[names.parse_topic(event.topic).kind][event.type].append(event)
    return found


def _example(kind: str) -> str:
    """A topic of a kind."""
    match kind:
        case "inbound":
            return names.inbound("source")
        case "requests":
            return names.requests("provider", names.Lane.BULK)
        case "training":
            return names.training("provider")
        case "retry":
            return names.retry("group")
        case "deadletters":
            return names.dead_letters("group")
    return names.single(kind)


def _readers(kind: str) -> Iterator[str]:
    for row in TRAFFIC:
        groups = [group.name for group in row.groups if kind in group.reads]
        if groups:
            yield f"{row.service} ({', '.join(groups)})"
        elif kind in row.follows or (kind == "retry" and row.groups):
            yield row.service


def _topic(kind: str, types: Mapping[str, Sequence[AnyEvent]]) -> Iterator[str]:
    yield from ("", f"## {address_of(_example(kind))}", "", described(names.parse_topic(_example(kind))))
    for name, events in types.items():
        yield from ("", f"### {name}", "", *_said(events[0]))
        yield from ("", "| field | type | there | meaning |", "| --- | --- | --- | --- |")
        yield from _fields(events[0])
        sample = min((structured(event) for event in events), key=lambda one: len(json.dumps(one)))
        text = json.dumps(sample, ensure_ascii=False, indent=2)
        yield from (
            "",
            "<details><summary>A sample, in structured mode</summary>",
            "",
            "```json",
            text,
            "```",
            "",
            "</details>",
        )


def _said(event: AnyEvent) -> Iterator[str]:
    lines = (type(event.data).__doc__ or "").strip().splitlines()
    yield from (line.strip() for line in lines)


def _fields(event: AnyEvent) -> Iterator[str]:
    made = schema(type(event.data))
    required = set(made.get("required", ()))
    for name, field in made["properties"].items():
        kind = _type(field)
        said = field.get("description") or WORDS.get(f"{name}: {kind}") or WORDS.get(name, "")
        meaning = " ".join(said.split()).replace("|", "\\|")
        yield f"| `{name}` | {kind} | {'always' if name in required else 'perhaps'} | {meaning} |"


def _type(field: Mapping[str, Any]) -> str:
    """A JSON Schema in a few words."""
    if "$ref" in field:
        return str(field["$ref"]).rpartition("/")[2]
    if "enum" in field or "const" in field:
        return " or ".join(f"`{json.dumps(one)}`" for one in field.get("enum", [field.get("const")]))
    if several := field.get("anyOf", field.get("oneOf")):
        kinds = dict.fromkeys(_type(one) for one in several)
        return " or ".join(kinds) if len(kinds) <= 4 else "one of several kinds"
    return _plain_type(field)


def _plain_type(field: Mapping[str, Any]) -> str:
    kind = str(field.get("type", "any JSON"))
    inner = field.get("items") if kind == "array" else field.get("additionalProperties")
    return f"{kind} of {_type(inner)}" if isinstance(inner, dict) and inner else kind
