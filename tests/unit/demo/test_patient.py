"""The demo's client: what a busy Prelabel says passes, and what is wrong does not."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from deploy.demo import patient
from deploy.demo.patient import PatientClient
from tests.rig.client import NotDone


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patient, "AGAIN_SECONDS", 0.0)


@contextmanager
def answering(*statuses: int) -> Iterator[tuple[str, list[str]]]:
    """A server that answers so, one after the other; its address, and the keys that came. 0: it breaks off."""
    left, keys = list(statuses), list[str]()

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            keys.append(self.headers.get("Idempotency-Key", ""))
            if status := left.pop(0) if left else 500:
                body = json.dumps({"run": "r", "detail": "so"}).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        do_POST = do_GET  # noqa: N815 - its name there

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", keys
        finally:
            server.shutdown()


async def test_what_is_not_answered_just_now_is_asked_again(tmp_path: Path) -> None:
    with answering(503, 0, 502, 504, 200) as (address, keys):
        async with PatientClient(address, "key", tmp_path / "ledger") as client:
            assert (await client.get("/v1/projects"))["run"] == "r"
        assert len(keys) == 5


async def test_what_is_wrong_is_wrong_at_once(tmp_path: Path) -> None:
    with answering(404, 422) as (address, keys):
        async with PatientClient(address, "key", tmp_path / "ledger") as client:
            with pytest.raises(httpx.HTTPStatusError):
                await client.get("/v1/projects")
            with pytest.raises(NotDone, match="422: so"):
                await client.uploaded("p", [{"id": "t", "data": {}}], key="demo")
        assert len(keys) == 2


async def test_an_upload_is_sent_under_one_key_until_it_is_taken(tmp_path: Path) -> None:
    with answering(503, 0, 202) as (address, keys):
        async with PatientClient(address, "key", tmp_path / "ledger") as client:
            assert (await client.uploaded("p", [{"id": "t", "data": {}}], key="demo")).body["run"] == "r"
        assert keys == ["demo"] * 3
