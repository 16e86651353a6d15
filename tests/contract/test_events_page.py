"""docs/events.md says of every event what it is, who writes and reads it, and what each of its fields means."""

import re

from prelabel_contract.events import EVENTS, PUBLIC
from prelabel_contract.names import parse_topic

from deploy.pages.__main__ import FOLDER
from deploy.pages.events import page

TEXT = page()


def test_what_is_committed_is_what_the_contract_says() -> None:
    assert (FOLDER / "events.md").read_text() == TEXT, "run make golden"


def test_every_event_has_a_section_with_a_sample() -> None:
    sections = re.findall(r"^### (\S+)\n\n(.*?)(?=^##|\Z)", TEXT, re.MULTILINE | re.DOTALL)
    assert {name for name, _ in sections} == {*EVENTS, *PUBLIC}
    for name, section in sections:
        assert f'"type": "{name}"' in section
        assert re.match(r"[A-Z].*[.:]", section), name


def test_every_field_of_every_event_has_a_meaning() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \| (always|perhaps) \| (.*) \|$", TEXT, re.MULTILINE)
    assert len(rows) == sum(len(cls.model_fields) for cls in (*EVENTS.values(), *PUBLIC.values()))
    assert [name for name, _, _, meaning in rows if not meaning] == []


def test_every_topic_names_its_writers_and_readers() -> None:
    rows = re.findall(r"^\| `(prelabel\.\S+)` \| (.+) \| (.+) \| (.+) \| (.+) \|$", TEXT, re.MULTILINE)
    values = {"source": "s", "provider": "p", "lane": "bulk", "group": "g"}
    assert len({parse_topic(row[0].format(**values)).kind for row in rows}) == len(rows) == 18
