"""Append-only once released: today's models read what was, and what was reads today's.

The rules are written once, as functions over a release's folder. They are held against every folder under
released/, and against releases made on the spot and broken on purpose, to see that they notice.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from prelabel_contract import golden
from prelabel_contract.cloudevents import decode
from prelabel_contract.errors import InvalidEvent
from prelabel_contract.events import EVENTS, PUBLIC

FILES = golden.files()
RELEASES = golden.releases(golden.FOLDER)
STRUCTURED = (("content-type", b"application/cloudevents+json"),)


def unread_by_today(release: Path) -> Iterator[str]:
    """Samples of a release that today's models refuse, skip or read as something else."""
    for path in sorted((release / "samples").rglob("*.json")):
        types = PUBLIC if path.parent.name == "inbound" else EVENTS
        for index, sample in enumerate(json.loads(path.read_text(encoding="utf-8"))):
            at = f"{path.relative_to(release).as_posix()}/{index}"
            try:
                event = decode(STRUCTURED, json.dumps(sample).encode(), topic="t", types=types)
            except InvalidEvent as refused:
                yield f"{at}: {refused}"
                continue
            if event is None:
                yield f"{at}: the type is gone"
                continue
            read = event.data.model_dump(mode="json", exclude_none=True)
            yield from (f"{at}: {lost}" for lost in _lost(sample["data"], read))


def _lost(said: Any, read: Any, at: str = "") -> Iterator[str]:
    """What a sample says and the model that read it does not."""
    if isinstance(said, dict) and isinstance(read, dict):
        for key, item in said.items():
            if key not in read:
                yield f"{at}/{key} is lost"
            else:
                yield from _lost(item, read[key], f"{at}/{key}")
    elif isinstance(said, list) and isinstance(read, list) and len(said) == len(read):
        for index, item in enumerate(said):
            yield from _lost(item, read[index], f"{at}/{index}")
    elif said != read:
        yield f"{at} is read as something else"


def unread_by_release(release: Path, today: dict[str, str]) -> Iterator[str]:
    """Samples of today that a release's schemas refuse. Types that it did not know, it skips."""
    for path in sorted((release / "schemas").rglob("*.json")):
        name = path.relative_to(release / "schemas").as_posix()
        schema = json.loads(path.read_text(encoding="utf-8"))
        if f"samples/{name}" not in today:
            yield f"{name}: the type is gone"
            continue
        for index, sample in enumerate(json.loads(today[f"samples/{name}"])):
            for error in Draft202012Validator(schema).iter_errors(sample["data"]):
                yield f"{name}/{index}: {error.json_path}: {error.message[:200]}"


def test_todays_models_read_every_released_sample() -> None:
    assert [told for release in RELEASES for told in unread_by_today(release)] == []


def test_the_last_releases_models_read_todays_samples() -> None:
    assert [told for release in RELEASES[-1:] for told in unread_by_release(release, FILES)] == []


# ------------------------------------------------------------------------------------ the rules themselves

CREATED = "prelabel.prediction.created.v1.json"


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """Today's contract as a release."""
    return golden.release(tmp_path, "0.1.0", FILES)


def _edit(path: Path, change: Any) -> None:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def test_today_reads_itself_in_both_directions(release: Path) -> None:
    assert list(unread_by_today(release)) == []
    assert list(unread_by_release(release, FILES)) == []


def test_a_field_that_went_is_noticed(release: Path) -> None:
    _edit(release / "samples" / CREATED, lambda s: s[0]["data"].update(colour="red"))
    _edit(release / "samples" / CREATED, lambda s: s[0]["data"]["regions"][0].update(colour="red"))
    assert list(unread_by_today(release)) == [
        f"samples/{CREATED}/0: /regions/0/colour is lost",
        f"samples/{CREATED}/0: /colour is lost",
    ]


def test_a_field_that_today_requires_and_was_not_there_is_noticed(release: Path) -> None:
    _edit(release / "samples" / CREATED, lambda s: s[0]["data"].pop("version"))
    (told,) = unread_by_today(release)
    assert "/version: Field required" in told


def test_a_type_that_went_is_noticed(release: Path) -> None:
    _edit(release / "samples" / CREATED, lambda s: s[0].update(type="prelabel.prediction.gone.v1"))
    assert list(unread_by_today(release)) == [f"samples/{CREATED}/0: the type is gone"]
    without = {name: text for name, text in FILES.items() if name != f"samples/{CREATED}"}
    assert list(unread_by_release(release, without)) == [f"{CREATED}: the type is gone"]


def test_a_field_that_the_release_requires_and_today_leaves_out_is_noticed(release: Path) -> None:
    _edit(release / "schemas" / CREATED, lambda s: s["required"].append("colour"))
    assert all("'colour' is a required property" in told for told in unread_by_release(release, FILES))
    assert len(list(unread_by_release(release, FILES))) == len(json.loads(FILES[f"samples/{CREATED}"]))


def test_a_value_that_the_release_did_not_allow_is_noticed(release: Path) -> None:
    _edit(
        release / "schemas" / CREATED,
        lambda s: s["properties"].update(revision={"type": "integer", "maximum": 3}),
    )
    assert all("$.revision" in told for told in unread_by_release(release, FILES))
    assert len(list(unread_by_release(release, FILES))) == len(json.loads(FILES[f"samples/{CREATED}"]))


def test_what_is_added_today_is_read_by_the_release(release: Path) -> None:
    samples = json.loads(FILES[f"samples/{CREATED}"])
    samples[0]["data"] |= {"colour": "red", "lane": "express"}
    samples[0]["data"]["regions"] += [{"kind": "voxel", "depth": 1}]
    samples[0]["data"]["regions"][0] |= {"colour": "red"}
    today = {**FILES, f"samples/{CREATED}": json.dumps(samples), "samples/prelabel.task.new.v1.json": "[{}]"}
    assert list(unread_by_release(release, today)) == []
