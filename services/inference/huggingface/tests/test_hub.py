"""Models of the hub: read from its cache, and fetched only where the operator allows it."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

pytest.importorskip("huggingface_hub")

COMMIT = "0123456789abcdef0123456789abcdef01234567"
_LOAD = """
import sys
from prelabel_inference_huggingface.provider import HuggingFaceProvider
from prelabel_provider.base import BadSettings
try:
    print(HuggingFaceProvider.load(HuggingFaceProvider.Settings.model_validate_json(sys.argv[1])).describe().version)
except BadSettings as error:
    print("refused:", error)
"""


class Hub:
    """One model, as the hub's wire protocol hands it out; remembers what it was asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[str] = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.address = f"http://127.0.0.1:{self.server.server_port}"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._answer(body=True)

            def do_HEAD(self) -> None:
                self._answer(body=False)

            def _answer(self, *, body: bool) -> None:
                hub.asked.append(self.path)
                status, content, headers = hub.said(self.path)
                self.send_response(status)
                for name, value in {"Content-Length": str(len(content)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                if body:
                    self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                pass

        return Handler

    def said(self, path: str) -> tuple[int, bytes, dict[str, str]]:
        """Status, body and headers for a path."""
        names = {file.name: file.read_bytes() for file in self.folder.iterdir()}
        if path.startswith(f"/api/models/owner/name/tree/{COMMIT}"):
            listed = [
                {"type": "file", "path": name, "size": len(content), "oid": _tag(content)}
                for name, content in names.items()
            ]
            return 200, json.dumps(listed).encode(), {"Content-Type": "application/json"}
        if path.startswith(f"/api/models/owner/name/revision/{COMMIT}"):  # what older versions of the library ask for
            info = {"id": "owner/name", "sha": COMMIT, "siblings": [{"rfilename": name} for name in names]}
            return 200, json.dumps(info).encode(), {"Content-Type": "application/json"}
        name = path.rpartition("/")[2]
        if path.startswith(f"/owner/name/resolve/{COMMIT}/") and name in names:
            tag = _tag(names[name])
            return 200, names[name], {"ETag": f'"{tag}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "none"}
        return 404, b"", {"X-Error-Code": "RepoNotFound"}


def _tag(content: bytes) -> str:
    return hashlib.sha1(content, usedforsecurity=False).hexdigest()


@pytest.fixture
def hub(models: Mapping[str, Path], tmp_path: Path) -> Iterator[Hub]:
    """With the model `tags`, a pickle and code beside it."""
    folder = Path(shutil.copytree(models["tags"], tmp_path / "remote"))
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    (folder / "modeling_own.py").write_text("raise SystemExit\n")
    hub = Hub(folder)
    thread = Thread(target=hub.server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield hub
    hub.server.shutdown()
    hub.server.server_close()
    thread.join()


def _said(cache: Path, hub: Hub, **variables: str) -> str:
    settings = {"hub": "owner/name", "revision": COMMIT, "task": "token-classification"}
    own = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "PRELABEL_"))}
    where = {"HF_HOME": str(cache.parent), "HF_HUB_CACHE": str(cache), "HF_ENDPOINT": hub.address, "NO_PROXY": "*"}
    done = subprocess.run(
        [sys.executable, "-c", _LOAD, json.dumps(settings)],
        env={**own, **where, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_model_in_the_cache_is_read_without_a_call(models: Mapping[str, Path], tmp_path: Path, hub: Hub) -> None:
    shutil.copytree(models["tags"], tmp_path / "cache" / "models--owner--name" / "snapshots" / COMMIT)
    assert _said(tmp_path / "cache", hub).startswith("owner/name@0123456789ab+")
    assert hub.asked == []


def test_nothing_is_fetched_unless_the_operator_allows_it(tmp_path: Path, hub: Hub) -> None:
    said = _said(tmp_path / "cache", hub)
    assert said.startswith(f"refused: hub: owner/name at {COMMIT} cannot be read")
    assert "PRELABEL_HUGGINGFACE_DOWNLOADS=true" in said
    assert hub.asked == []


def test_what_is_fetched_is_data_only_and_stays_in_the_cache(tmp_path: Path, hub: Hub) -> None:
    version = _said(tmp_path / "cache", hub, PRELABEL_HUGGINGFACE_DOWNLOADS="true")
    assert version.startswith("owner/name@0123456789ab+")
    assert not any(path.endswith((".bin", ".py")) for path in hub.asked)
    hub.asked.clear()
    assert _said(tmp_path / "cache", hub) == version
    assert hub.asked == []


def test_the_librarys_own_switch_keeps_it_offline(tmp_path: Path, hub: Hub) -> None:
    said = _said(tmp_path / "cache", hub, PRELABEL_HUGGINGFACE_DOWNLOADS="true", HF_HUB_OFFLINE="1")
    assert said.startswith("refused: ")
    assert hub.asked == []
