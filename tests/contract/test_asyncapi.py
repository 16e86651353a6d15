"""The AsyncAPI document is valid to AsyncAPI's own parser, and says of every topic who writes and reads it."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from prelabel_contract import golden, names
from prelabel_contract.asyncapi import asyncapi
from prelabel_contract.topics import TRAFFIC, readers, writers

ROOT = Path(__file__).parents[2]
PARSER = "@asyncapi/parser@3.6.3"
SCRIPT = ROOT / "tests" / "rig" / "asyncapi.cjs"
INFORMATION = 2
"""The severity of advice, such as that there is a newer version of AsyncAPI."""
DOCUMENT = asyncapi()


@pytest.fixture(scope="module")
def parser() -> Path:
    """A folder with AsyncAPI's parser, installed once. Needs node and npm; nothing is skipped."""
    folder = ROOT / ".servers" / "node"
    if (folder / "node_modules" / "@asyncapi" / "parser" / "package.json").exists():
        return folder
    if shutil.which("npm") is None:
        pytest.fail("AsyncAPI's parser needs Node.js: install node and npm", pytrace=False)
    folder.mkdir(parents=True, exist_ok=True)
    quiet = ("--no-audit", "--no-fund", "--no-package-lock", "--no-save", "--silent")
    done = subprocess.run(
        ["npm", "install", "--prefix", str(folder), *quiet, PARSER], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.fail(f"{PARSER} could not be installed: {done.stderr[-300:]}", pytrace=False)
    return folder


def findings(parser: Path, document: Path) -> list[dict[str, Any]]:
    """What the parser has to say, advice left out."""
    done = subprocess.run(
        ["node", str(SCRIPT), str(parser), str(document)], capture_output=True, text=True, timeout=120, check=True
    )
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return [one for one in found if one["severity"] < INFORMATION]


def test_the_document_is_valid_to_asyncapis_own_parser(parser: Path) -> None:
    assert findings(parser, golden.FOLDER / "asyncapi.json") == []


@pytest.mark.parametrize("broken", ["channel", "schema", "binding"])
def test_the_parser_would_have_found_it(parser: Path, tmp_path: Path, broken: str) -> None:
    document = json.loads((golden.FOLDER / "asyncapi.json").read_text())
    match broken:
        case "channel":
            document["operations"]["ingestion.sends.tasks"]["channel"]["$ref"] = "#/channels/nothing"
        case "schema":
            message = document["components"]["messages"]["prelabel.task.deleted.v1"]
            message["payload"]["schema"]["$ref"] = "./schemas/nothing.json"
        case _:
            document["channels"]["tasks"]["bindings"]["kafka"]["partitions"] = 0
    shutil.copytree(golden.FOLDER / "schemas", tmp_path / "schemas")
    (tmp_path / "asyncapi.json").write_text(json.dumps(document))
    assert findings(parser, tmp_path / "asyncapi.json")


def test_every_topic_has_somebody_who_writes_and_somebody_who_reads_as_the_table_says() -> None:
    for kind in DOCUMENT["channels"]:
        found = {"send": set(), "receive": set()}  # type: dict[str, set[str]]
        for operation in DOCUMENT["operations"].values():
            if operation["channel"]["$ref"] == f"#/channels/{kind}":
                found[operation["action"]].add(operation["tags"][0]["name"])
        assert found["send"] == {_plain(name) for name in writers(kind)}, kind
        assert found["receive"] == {_plain(name) for name in readers(kind)}, kind


def _plain(name: str) -> str:
    return name.replace("{", "").replace("}", "")


def test_every_consumer_group_is_named_where_it_reads() -> None:
    reading = {
        json.dumps(operation["bindings"]["kafka"]["groupId"])
        for operation in DOCUMENT["operations"].values()
        if "bindings" in operation
    }
    assert len(reading) == len({group.name for row in TRAFFIC for group in row.groups})


def test_topics_are_kept_as_they_are_provisioned() -> None:
    for kind, channel in DOCUMENT["channels"].items():
        kafka = channel["bindings"]["kafka"]
        compacted = kafka["topicConfiguration"]["cleanup.policy"] == ["compact"]
        assert compacted == (kind in ("configs", "projects", "models", "providers", "access"))
        assert kafka["partitions"] == 1 or not compacted
    assert DOCUMENT["channels"]["replies"]["bindings"]["kafka"]["topicConfiguration"]["retention.ms"] == 3_600_000
    assert DOCUMENT["channels"]["tasks"]["bindings"]["kafka"]["topicConfiguration"]["retention.ms"] == -1
    assert names.parse_topic(names.TASKS).retention_ms is None
