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

from .asyncapi import asyncapi
from .cloudevents import structured
from .events import EVENTS, PUBLIC, EventData, Inbound
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
