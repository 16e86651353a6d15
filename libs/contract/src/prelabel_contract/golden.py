"""The contract's committed files: JSON Schemas, samples and AsyncAPI, generated from the models.

python -m prelabel_contract.golden                   write them python -m prelabel_contract.golden --check
verify: one line per difference, exit code 1 if there is one python -m prelabel_contract.golden --release
0.1.0   keep today's under released/0.1.0, for ever
"""

import argparse
import hashlib
import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from . import names
from .cloudevents import structured
from .events import EVENTS, PUBLIC, AnyEvent, EventData, Inbound, PredictionCreated, PredictionFailed
from .examples import examples, public_examples
from .regions import KINDS

FOLDER = Path(__file__).parents[2]
"""libs/contract in a checkout."""
DIALECT = "https://json-schema.org/draft/2020-12/schema"
MANIFEST = "manifest.json"
"""Of a release: SHA-256 of every file in it."""
_KINDS_OF_FILE = ("schemas", "samples")


def files() -> dict[str, str]:
    """Every golden file's content, by its path below libs/contract. Public types stand in `inbound/`."""
    found: dict[str, str] = {}
    for below, types, events in (("", EVENTS, examples()), ("inbound/", PUBLIC, public_examples())):
        samples: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for event in events:
            samples[event.type].append(structured(event))
        for name, cls in types.items():
            found[f"schemas/{below}{name}.json"] = _text(schema(cls))
            found[f"samples/{below}{name}.json"] = _text(samples[name])
    found["asyncapi.json"] = _text(asyncapi())
    return dict(sorted(found.items()))


def schema(cls: type[EventData]) -> dict[str, Any]:
    """JSON Schema (2020-12) of an event's data, as readers see it: unknown fields and kinds are allowed."""
    made = cls.model_json_schema(mode="validation")
    for definition in made.get("$defs", {}).values():
        kind = definition.get("properties", {}).get("kind", {})
        if kind.get("const") in KINDS:
            # The default is for people who write Python; in JSON a region says its kind.
            kind.pop("default", None)
            definition["required"] = sorted({"kind", *definition.get("required", ())})
    below = "inbound:" if issubclass(cls, Inbound) else ""
    return {"$schema": DIALECT, "$id": f"urn:prelabel:schema:{below}{cls.TYPE}", **made}


# ------------------------------------------------------------------------------------------------------
# asyncapi


def asyncapi() -> dict[str, Any]:
    """AsyncAPI 3.0: channels are topics (without a deployment's prefix), messages are events."""
    messages: dict[str, dict[str, Any]] = {}
    channels: dict[str, dict[str, Any]] = {}
    for below, events in (("", examples()), ("inbound/", public_examples())):
        for event in events:
            topic = names.parse_topic(event.topic)
            name = f"{'inbound.' if below else ''}{event.type}"
            messages.setdefault(name, _message(event, below))
            channel = channels.setdefault(topic.kind, _channel(event.topic, topic))
            channel["messages"].setdefault(name, {"$ref": f"#/components/messages/{name}"})
    for topic_name in (names.REPLIES, names.retry("group"), names.dead_letters("group")):
        topic = names.parse_topic(topic_name)
        channels.setdefault(topic.kind, _channel(topic_name, topic))
    for cls in (PredictionCreated, PredictionFailed):
        channels["replies"]["messages"][cls.TYPE] = {"$ref": f"#/components/messages/{cls.TYPE}"}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Prelabel events",
            "version": "1.0.0",
            "description": "CloudEvents 1.0 over Kafka, binary mode out, binary and structured mode in. "
            "Unknown fields, kinds of region and types are to be ignored by readers.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": dict(sorted(channels.items())),
        "components": {"messages": dict(sorted(messages.items()))},
    }


def _channel(example: str, topic: names.Topic) -> dict[str, Any]:
    address = example
    for part, value in topic.parts.items():
        address = address.replace(f".{value}", f".{{{part}}}", 1)
    made: dict[str, Any] = {
        "address": address,
        "description": _described(topic),
        "messages": {},
        "bindings": {"kafka": {"topic": address, "bindingVersion": "0.5.0"}},
    }
    if topic.kept is names.Kept.COMPACTED:
        made["bindings"]["kafka"]["topicConfiguration"] = {"cleanup.policy": ["compact"]}
    if topic.parts:
        made["parameters"] = {part: _PARAMETERS[part] for part in topic.parts}
    return made


_PARAMETERS: Mapping[str, Mapping[str, Any]] = {
    "source": {"description": "An upstream system that configuration binds to projects."},
    "provider": {"description": "A kind of model host."},
    "lane": {"description": "How urgent it is.", "enum": [str(lane) for lane in names.Lane]},
    "group": {"description": "A consumer group."},
}


def _described(topic: names.Topic) -> str:
    kept = {"compacted": "Kept: the newest record per key."}.get(topic.kept, f"Kept: {topic.kept}.")
    if topic.kind in ("retry", "deadletters"):
        return f"Records of any type, with their original bytes, headers and key. {kept}"
    return kept


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
            },
        },
        "payload": {
            "schemaFormat": "application/schema+json;version=draft-2020-12",
            "schema": {"$ref": f"./schemas/{below}{name}.json"},
        },
        "bindings": {"kafka": {"key": _key(event), "bindingVersion": "0.5.0"}},
    }


_KEYS: Mapping[str, str] = {
    "submitted": "the task's uid, or the run's",
    "tasks": "the task's uid",
    "requests": "the task's uid",
    "predictions": "the task's uid; in replies the correlation id",
    "annotations": "the project's id",
    "runs": "the run's id",
    "configs": "the content hash",
    "projects": "the project's id",
    "models": "project/model",
    "training": "the project's id",
    "providers": "the provider",
    "access": "its id",
    "audit": "the project, or what it is about",
    "deadletters": "the original's; of what is said about a letter, the letter's id",
    "inbound": "any",
}


def _key(event: AnyEvent) -> dict[str, str]:
    return {"type": "string", "description": _KEYS[names.parse_topic(event.topic).kind]}


# ---------------------------------------------------------------------------------------------------------
# files


def differences(folder: Path, wanted: Mapping[str, str]) -> Iterator[str]:
    """One line per golden file that is missing, differs or is there without a reason; releases included."""
    for name, text in wanted.items():
        path = folder / name
        if not path.is_file():
            yield f"{name}: missing"
        elif path.read_text(encoding="utf-8") != text:
            yield f"{name}: differs"
    for kind in _KINDS_OF_FILE:
        for path in sorted((folder / kind).rglob("*.json")):
            if (name := path.relative_to(folder).as_posix()) not in wanted:
                yield f"{name}: not generated any more"
    for release in releases(folder):
        yield from tampered(release)


def releases(folder: Path) -> list[Path]:
    """The folders of all releases, oldest first."""
    found = [path for path in (folder / "released").glob("*") if path.is_dir()]
    return sorted(found, key=lambda path: _version(path.name))


def tampered(release: Path) -> Iterator[str]:
    """What changed in a release after it was made. Nothing may: upstreams hold these files."""
    listed: dict[str, str] = json.loads((release / MANIFEST).read_text(encoding="utf-8"))
    there = {path.relative_to(release).as_posix(): path for path in release.rglob("*.json") if path.name != MANIFEST}
    for name in sorted(listed.keys() | there.keys()):
        if name not in there:
            yield f"released/{release.name}/{name}: removed"
        elif name not in listed:
            yield f"released/{release.name}/{name}: added after the release"
        elif hashlib.sha256(there[name].read_bytes()).hexdigest() != listed[name]:
            yield f"released/{release.name}/{name}: changed after the release"


def release(folder: Path, version: str, wanted: Mapping[str, str]) -> Path:
    """Keep schemas and samples as they are now. Raises FileExistsError if that version is there."""
    _version(version)
    target = folder / "released" / version
    target.mkdir(parents=True)
    kept = {name: text for name, text in wanted.items() if name.split("/")[0] in _KINDS_OF_FILE}
    hashes = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in kept.items()}
    write(target, {**kept, MANIFEST: _text(hashes)})
    return target


def write(folder: Path, wanted: Mapping[str, str]) -> None:
    """Write the files, and remove generated ones that nothing generates any more."""
    for name, text in wanted.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
    for kind in _KINDS_OF_FILE:
        for path in (folder / kind).rglob("*.json"):
            if path.relative_to(folder).as_posix() not in wanted:
                path.unlink()


def _version(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split("."))
    except ValueError:
        raise ValueError(f"{text!r} is no version such as 0.1.0") from None


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2, sort_keys=False) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. 0: written, or nothing differs; 1: something differs; 2: wrong use."""
    parser = argparse.ArgumentParser(prog="prelabel_contract.golden", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--folder", type=Path, default=FOLDER, help="libs/contract of a checkout")
    doing = parser.add_mutually_exclusive_group()
    doing.add_argument("--check", action="store_true", help="verify instead of writing")
    doing.add_argument("--release", metavar="VERSION", help="keep today's files as those of a release")
    said = parser.parse_args(arguments)
    wanted = files()
    if not said.check:
        write(said.folder, wanted)
    if said.release:
        try:
            release(said.folder, said.release, wanted)
        except (FileExistsError, ValueError) as error:
            _say([f"cannot release {said.release}: {error}"])
            return 2
    found = list(differences(said.folder, wanted))
    _say(found)
    return 1 if found else 0


def _say(lines: Iterable[str]) -> None:
    sys.stdout.writelines(f"{line}\n" for line in lines)


if __name__ == "__main__":
    sys.exit(main())
