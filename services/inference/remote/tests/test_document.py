"""docs/remote-provider.md and its example server: what stands there works."""

import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prelabel_contract.regions import REGIONS
from prelabel_inference_remote.provider import RestProvider
from prelabel_inference_remote.settings import RestSettings
from prelabel_provider.base import Failed, Input
from prelabel_provider.predictor import Told, key_of
from prelabel_provider.remote.build import caller
from prelabel_provider.remote.settings import RemoteSettings
from prelabel_runtime.clock import SystemClock
from prelabel_runtime.metrics import Metrics
from prelabel_runtime.run import Runtime, open_bus, open_store
from prelabel_runtime.settings import RuntimeSettings
from pydantic import JsonValue

from deploy.local.ports import free_port

DOCS = Path(__file__).parents[4] / "docs"
PAGE = (DOCS / "remote-provider.md").read_text()


class _OnThisMachine(RuntimeSettings):
    one_process = True


def blocks() -> Iterator[Any]:
    for found in re.finditer(r"```json\n(.*?)```", PAGE, re.DOTALL):
        yield json.loads(found[1])


def test_every_settings_block_of_the_page_is_taken() -> None:
    settings = [block for block in blocks() if "url" in block]
    settings += [model["settings"] for block in blocks() for model in block.get("models", ())]
    settings += [{"url": "https://x.example.org", **block} for block in blocks() if "secret_headers" in block]
    assert len(settings) >= 3
    for one in settings:
        RestProvider.load(RestSettings.model_validate(one))


def test_the_example_has_forty_lines() -> None:
    assert len((DOCS / "samples" / "remote_server.py").read_text().splitlines()) == 40


@pytest.fixture
def port() -> Iterator[int]:
    port = free_port()
    server = subprocess.Popen([sys.executable, str(DOCS / "samples" / "remote_server.py"), str(port)])
    try:
        _wait_for(server, port)
        yield port
    finally:
        server.kill()
        server.wait()


def _wait_for(server: "subprocess.Popen[bytes]", port: int) -> None:
    """Until it listens: who calls a target that is away for some seconds is told so."""
    patience = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except ConnectionRefusedError:
            assert server.poll() is None, "it has ended"
            assert time.monotonic() < patience, "it does not listen"
            time.sleep(0.02)


@pytest.mark.parametrize("per_call", [1, 16])
async def test_the_example_server_is_called_as_the_page_says(tmp_path: Path, port: int, per_call: int) -> None:
    clock = SystemClock()
    settings = _OnThisMachine(bus=f"sqlite:///{tmp_path / 'log.db'}", store=f"sqlite:///{tmp_path / 'results.db'}")
    runtime = Runtime(settings, open_bus(settings, clock), open_store(settings, clock), Metrics())
    model: dict[str, JsonValue] = {
        "url": f"http://127.0.0.1:{port}/predict",
        "health_url": f"http://127.0.0.1:{port}/health",
        "tasks_per_call": per_call,
    }
    remote = caller(runtime, RestProvider, RemoteSettings())
    assert (await remote.start()).name == "remote"
    await remote.load(model)
    inputs = [Input("a", {"text": "Ada met Grace"}, "text"), Input("b", {"text": None}, "text")]
    said = await remote.predict_each(key_of(model), inputs)
    await remote.stop()
    assert isinstance(said[0], Told)
    assert said[0].version == "capitals-1"
    assert [region.labels for region in REGIONS.validate_json(said[0].regions)] == [("NAME",), ("NAME",)]
    assert isinstance(said[1], Failed)
    assert said[1].reason == "input"
