"""The committed schemas, samples and AsyncAPI are those of today's models, and released ones never change."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from prelabel_contract import golden, names
from prelabel_contract.events import EVENTS, PUBLIC
from prelabel_contract.regions import KINDS

FILES = golden.files()
TYPES = [*EVENTS, *(f"inbound/{name}" for name in PUBLIC)]


def test_what_is_committed_is_what_the_models_generate() -> None:
    assert list(golden.differences(golden.FOLDER, FILES)) == []


def test_generating_twice_gives_the_same_bytes() -> None:
    script = "from prelabel_contract.golden import files; print(list(files().items()))"
    printed = {
        subprocess.run(
            [sys.executable, "-c", script], env={"PYTHONHASHSEED": seed}, check=True, capture_output=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(printed) == 1


@pytest.mark.parametrize("name", TYPES)
def test_every_type_has_a_sound_schema_that_its_samples_fit(name: str) -> None:
    schema = json.loads(FILES[f"schemas/{name}.json"])
    Draft202012Validator.check_schema(schema)
    samples = json.loads(FILES[f"samples/{name}.json"])
    assert samples
    for sample in samples:
        assert sample["type"] == name.removeprefix("inbound/")
        assert list(Draft202012Validator(schema).iter_errors(sample["data"])) == []


def test_there_is_nothing_but_these_files() -> None:
    assert FILES.keys() == {
        "asyncapi.json",
        *(f"{kind}/{name}.json" for kind in ("schemas", "samples") for name in TYPES),
    }


def test_the_samples_show_every_kind_of_region_and_one_of_tomorrow() -> None:
    samples = json.loads(FILES["samples/prelabel.prediction.created.v1.json"])
    kinds = {region["kind"] for sample in samples for region in sample["data"]["regions"]}
    assert kinds == KINDS | {"cuboid"}


@pytest.mark.parametrize(
    "region",
    [
        {"kind": "span", "start": 0, "end": "3"},
        {"kind": "rectangle", "x": 0, "y": 0, "width": 101, "height": 1},
        {"start": 0, "end": 3},
        {"kind": "mask", "rle": [256]},
    ],
)
def test_a_schema_refuses_a_wrong_region_although_unknown_kinds_pass(region: dict[str, Any]) -> None:
    validator = Draft202012Validator(json.loads(FILES["schemas/prelabel.prediction.created.v1.json"]))
    (data,) = [s["data"] for s in json.loads(FILES["samples/prelabel.prediction.created.v1.json"])][1:2]
    assert validator.is_valid({**data, "regions": [{"kind": "cuboid", "depth": 3}]})
    assert not validator.is_valid({**data, "regions": [region]})


# ---------------------------------------------------------------------------------------- asyncapi


def _refs(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            if key == "$ref":
                yield item
            else:
                yield from _refs(item)
    elif isinstance(value, list):
        for item in value:
            yield from _refs(item)


def test_asyncapi_has_every_topic_and_points_at_what_is_there() -> None:
    document = json.loads(FILES["asyncapi.json"])
    assert document["asyncapi"].startswith("3.")
    for ref in _refs(document):
        if ref.startswith("./"):
            assert ref.removeprefix("./") in FILES
        else:
            inner = document
            for step in ref.removeprefix("#/").split("/"):
                inner = inner[step]
    assert {name.removeprefix("inbound.") for name in document["components"]["messages"]} == {
        *EVENTS,
        *PUBLIC,
    }
    values = {"source": "s", "provider": "p", "lane": "bulk", "group": "g"}
    for kind, channel in document["channels"].items():
        assert names.parse_topic(channel["address"].format(**values)).kind == kind
        assert set(channel.get("parameters", ())) == {part for part in values if f"{{{part}}}" in channel["address"]}
    fixed = "submitted tasks predictions replies annotations runs configs projects models learning providers"
    varying = "access audit inbound requests training retry deadletters"
    assert document["channels"].keys() == {*fixed.split(), *varying.split()}
    assert all(message["bindings"]["kafka"]["key"] for message in document["components"]["messages"].values())


# ---------------------------------------------------------------------------------------- the command


def test_check_tells_one_line_per_difference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert golden.main(["--folder", str(tmp_path)]) == 0
    assert golden.main(["--folder", str(tmp_path), "--check"]) == 0
    (tmp_path / "schemas/prelabel.task.deleted.v1.json").unlink()
    (tmp_path / "samples/prelabel.task.deleted.v1.json").write_text("[]\n")
    (tmp_path / "schemas/prelabel.task.forgotten.v1.json").write_text("{}\n")
    capsys.readouterr()
    assert golden.main(["--folder", str(tmp_path), "--check"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "samples/prelabel.task.deleted.v1.json: differs",
        "schemas/prelabel.task.deleted.v1.json: missing",
        "schemas/prelabel.task.forgotten.v1.json: not generated any more",
    ]
    assert golden.main(["--folder", str(tmp_path)]) == 0
    assert not (tmp_path / "schemas/prelabel.task.forgotten.v1.json").exists()


def test_a_release_keeps_todays_files_and_cannot_be_made_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert golden.main(["--folder", str(tmp_path), "--release", "0.1.0"]) == 0
    kept = tmp_path / "released/0.1.0"
    for name in TYPES:
        for kind in ("schemas", "samples"):
            assert (kept / f"{kind}/{name}.json").read_text() == FILES[f"{kind}/{name}.json"]
    assert golden.main(["--folder", str(tmp_path), "--release", "0.1.0"]) == 2
    assert golden.main(["--folder", str(tmp_path), "--release", "latest"]) == 2
    assert "cannot release" in capsys.readouterr().out


def test_every_change_to_a_release_is_told(tmp_path: Path) -> None:
    kept = golden.release(tmp_path, "0.1.0", FILES)
    shutil.copy(kept / "schemas/prelabel.task.deleted.v1.json", kept / "schemas/new.json")
    (kept / "schemas/prelabel.task.deleted.v1.json").unlink()
    with (kept / "samples/prelabel.task.deleted.v1.json").open("a") as file:
        file.write("\n")
    assert list(golden.tampered(kept)) == [
        "released/0.1.0/samples/prelabel.task.deleted.v1.json: changed after the release",
        "released/0.1.0/schemas/new.json: added after the release",
        "released/0.1.0/schemas/prelabel.task.deleted.v1.json: removed",
    ]


def test_releases_are_ordered_by_their_numbers(tmp_path: Path) -> None:
    for version in ("0.10.0", "0.9.0", "1.0.0"):
        golden.release(tmp_path, version, {})
    assert [path.name for path in golden.releases(tmp_path)] == ["0.9.0", "0.10.0", "1.0.0"]
