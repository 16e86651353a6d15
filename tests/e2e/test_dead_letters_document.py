"""docs/dead-letters.md, carried out as it stands, on a Prelabel that has something to look at."""

import asyncio
import json
import time
from pathlib import Path

import httpx

from tests.failure.raw import write_raw
from tests.rig.documents import carried_out
from tests.rig.processes import ALL_IN_ONE, Prelabel

DOCS = Path(__file__).parents[2] / "docs"


def test_the_document_of_dead_letters_goes_as_written(tmp_path: Path) -> None:
    settings = {
        "PRELABEL_INGESTION_INBOUND": json.dumps({"crm": {"projects": ["mails"]}}),
        "PRELABEL_PROJECTION_LOOK_SECONDS": "0.5",
    }
    with Prelabel.all_in_one(tmp_path, providers=("rules",), environment=settings) as prelabel:
        bad = [((), b"%d is no event" % number) for number in range(4)]
        asyncio.run(write_raw(prelabel, "prelabel.inbound.crm", bad))
        _until_found(prelabel, len(bad))
        folder = tmp_path / "work"
        folder.mkdir()
        variables = {"PRELABEL_ADDRESS": prelabel.address, "PRELABEL_KEY": prelabel.key}
        with carried_out([DOCS / "dead-letters.md"], folder, variables) as said:
            for promised in ("inbound-crm", "not_a_cloudevent", "is no event", "discarded", '"mode":"compare"'):
                assert promised in str(said), promised
        assert prelabel.process(ALL_IN_ONE).alive


def _until_found(prelabel: Prelabel, count: int) -> None:
    headers = {"Authorization": f"Bearer {prelabel.key}"}
    deadline = time.monotonic() + 180
    with httpx.Client(base_url=prelabel.address, headers=headers, trust_env=False, timeout=60) as http:
        while len(http.get("/v1/deadletters").json()["deadletters"]) < count:
            assert time.monotonic() < deadline, "there are no dead letters"
            time.sleep(0.05)
