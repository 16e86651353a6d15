"""A door that is killed between storing a blob and publishing what refers to it: nothing is lost, nothing is told."""

from pathlib import Path

import httpx
import pytest
from prelabel_contract import names

from tests.failure.damage import broken, must_have_fired
from tests.rig.client import Client
from tests.rig.in_process import spec, task
from tests.rig.processes import ALL_IN_ONE, Prelabel

TEXT = "lörem ipsum " * 400_000 + "Ada."


@pytest.mark.parametrize("way", ["submit", "upload"])
async def test_a_kill_between_blob_and_publish_costs_the_sender_a_repetition(tmp_path: Path, way: str) -> None:
    environment = broken(tmp_path, "die_after_blob")
    with Prelabel.all_in_one(tmp_path, providers=["rules", "echo"], environment=environment) as prelabel:
        async with Client(prelabel.address, prelabel.key, tmp_path / "ledger") as client:
            await client.put_project("mails", spec())
            send = client.submit if way == "submit" else client.upload
            tasks = [task("Grace", id="small"), task(TEXT, id="large")]
            assert not (await send("mails", tasks, key="k")).acknowledged
            assert prelabel.process(ALL_IN_ONE).wait(60) == -9
            must_have_fired(tmp_path, "die_after_blob")
            folder = tmp_path / "data" / "blobs" / "mails" / names.task_uid("mails", "large")
            [orphan] = folder.iterdir()
            prelabel.restart(ALL_IN_ONE)
            with pytest.raises(httpx.HTTPStatusError, match="404"):
                await client.get("/v1/projects/mails/tasks/large")
            assert (await send("mails", tasks, key="k")).acknowledged
            await client.until_ended("mails", 2, 2)
            seen = await client.get("/v1/projects/mails/tasks/large")
            assert seen["data"]["text"] == TEXT
            assert [len(p["regions"]) for p in seen["predictions"]] == [1, 0]
            assert [blob.name for blob in folder.iterdir()] == [orphan.name]
