"""Secrets stay secret: whatever was done with them, none is in a log, a metric, the log's or the results' file, a dead
letter or a delivery's record. Passwords of servers have tests of their own."""

import base64
import contextlib
import json
import random
import secrets
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from prelabel_runtime.http.credentials import new_credential

from tests.rig.in_process import spec
from tests.rig.processes import ALL_IN_ONE, Prelabel
from tests.rig.receiver import receiving

HEADER = "canary-header-5b1f0c"
"""The value of a custom header: it reaches its endpoint, and nobody else."""
INBOUND = {"PRELABEL_INGESTION_INBOUND": json.dumps({"crm": {"projects": ["mails"]}})}


@pytest.fixture(scope="module")
def vault_key() -> str:
    """What secrets at rest are encrypted with."""
    return base64.b64encode(secrets.token_bytes(32)).decode()


@pytest.fixture(scope="module")
def prelabel(tmp_path_factory: pytest.TempPathFactory, vault_key: str) -> Iterator[Prelabel]:
    """All in one: its files can be read byte by byte."""
    variables = {**INBOUND, "PRELABEL_WEBHOOKS_KEYS": json.dumps([vault_key]), "PRELABEL_LOG_LEVEL": "debug"}
    folder = tmp_path_factory.mktemp("canaries")
    with Prelabel.all_in_one(folder, providers=("rules", "echo"), environment=variables) as running:
        yield running


async def test_no_secret_is_anywhere_but_where_it_was_shown(prelabel: Prelabel, vault_key: str) -> None:
    headers = {"Authorization": f"Bearer {prelabel.key}"}
    async with httpx.AsyncClient(base_url=prelabel.address, headers=headers, timeout=60) as client, receiving() as sink:
        made = await _use_every_secret(client, sink.address)
        sink.secrets["/status/500"] = sink.secrets["/ok"] = [made["webhook secret"], made["rotated secret"]]
        await _use_and_misuse(client, made)
        await sink.until(lambda: bool(sink.at("/ok") and sink.at("/status/500")), 180)
        assert {one.headers["x-canary"] for one in sink.requests} == {HEADER}
        shown = await _everything_shown(client, made)
    known = {**made, "bootstrap key": prelabel.key, "vault key": vault_key, "header": HEADER}
    known.pop("subscription")
    for what, text in (*shown.items(), *_files(prelabel)):
        found = [name for name, secret in known.items() if _holds(text, secret)]
        assert not found, f"{what} holds the {', '.join(found)}"


async def _use_every_secret(client: httpx.AsyncClient, sink: str) -> dict[str, str]:
    """Make one secret of each kind; they are shown in these answers only."""
    assert (await client.put("/v1/projects/mails", json=spec())).status_code == 201
    key = (await client.post("/v1/keys", json={"name": "n", "role": "service", "projects": ["mails"]})).json()
    link = (await client.post("/v1/links", json={})).json()
    token = link["url"].partition("token=")[2]
    entered = await client.get(f"/enter?token={token}", headers={"Authorization": ""})
    assert entered.status_code == 303, entered.text
    guess = new_credential(random.Random(5).randbytes).key
    made = {
        "service key": key["key"],
        "stranger's guess": guess,
        "link token": token,
        "session": entered.cookies["prelabel_session"],
    }
    for name, path in (("webhook secret", "/status/500"), ("second webhook secret", "/ok")):
        wanted = {"url": sink + path, "types": [], "projects": [], "headers": {"X-Canary": HEADER}}
        subscription = (await client.post("/v1/subscriptions", json=wanted)).json()
        made[name] = subscription["secret"]
        made.setdefault("subscription", subscription["id"])
    rotated = await client.post(f"/v1/subscriptions/{made['subscription']}/secrets", json={})
    made["rotated secret"] = rotated.json()["secret"]
    return made


async def _use_and_misuse(client: httpx.AsyncClient, made: dict[str, str]) -> None:
    """Work, and mistakes of the kind that end in a log: secrets in wrong places."""
    own = {"Authorization": f"Bearer {made['service key']}"}
    for text in ("Ada", "now"):
        answer = await client.post("/v1/projects/mails/tasks", json={"data": {"text": text}}, headers=own)
        assert answer.status_code == 202, answer.text
    await client.get("/v1/projects/others/tasks", headers=own)
    await client.put("/v1/projects/mails", json=spec(), headers=own)
    for secret in made.values():
        key = {"Authorization": f"Bearer {secret}"}
        await client.get("/v1/keys", headers={"Authorization": f"Basic {secret}"})
        await client.get("/v1/keys", headers={"Authorization": f"Bearer {secret}x"})
        await client.get("/v1/projects", params={"token": secret, "limit": secret}, headers=key)
        await client.get(f"/nothing/{secret}", headers={"Authorization": "", "Cookie": f"prelabel_session={secret}"})
        await client.get("/enter", params={"token": secret}, headers={"Authorization": "", "Host": "evil.example"})
        await client.put("/v1/projects/mails", json={"title": secret, secret: 1})
        await client.post("/v1/keys", content=secret, headers={"Content-Type": "application/json"})
    annotation = {"project": "mails", "annotation": {"task": "nobody", "annotator": "eve", "regions": []}}
    event = {"specversion": "1.0", "type": "prelabel.annotation.submitted.v1", "source": "/crm", "id": "1"}
    event |= {"data": annotation}  # type: ignore[dict-item]
    kind = {"Content-Type": "application/cloudevents+json"}
    assert (await client.post("/v1/inbound/crm", content=json.dumps(event), headers=kind)).status_code == 202


async def _everything_shown(client: httpx.AsyncClient, made: dict[str, str]) -> dict[str, bytes]:
    """What the API says afterwards."""
    pages = ["/v1/keys", "/v1/keys?kind=session", "/v1/subscriptions", "/v1/audit", "/v1/me", "/v1/overview", "/"]
    pages += ["/v1/projects", "/v1/providers"]
    pages += [f"/v1/subscriptions/{made['subscription']}", "/v1/deadletters", "/v1/projects/mails/export"]
    deliveries = f"/v1/subscriptions/{made['subscription']}/deliveries"
    listed = await _until(client, deliveries, lambda said: bool(said["deliveries"]))
    await _until(client, "/v1/deadletters", lambda said: bool(said["deadletters"]))
    pages += [deliveries, *(f"{deliveries}/{one['delivery']}" for one in listed["deliveries"][:3])]
    return {page: (await client.get(page)).content for page in pages}


async def _until(client: httpx.AsyncClient, path: str, ready: Callable[[Any], bool]) -> Any:
    deadline = time.monotonic() + 180
    while not ready(said := (await client.get(path)).json()):
        assert time.monotonic() < deadline, said
    return said


def _files(prelabel: Prelabel) -> Iterator[tuple[str, bytes]]:
    """Logs, metrics, and all that is kept, as it lies on the disk."""
    log = prelabel.log(ALL_IN_ONE)
    yield "the log", log.read_bytes()
    health = prelabel.process(ALL_IN_ONE).health_port
    for probe in ("metrics", "readyz", "livez"):
        yield probe, httpx.get(f"http://127.0.0.1:{health}/{probe}", timeout=60, trust_env=False).content
    for path in sorted((log.parent / "data").rglob("*")):
        if path.is_file():
            with contextlib.suppress(FileNotFoundError):  # it was there for a moment
                yield path.name, path.read_bytes()


def _holds(text: bytes, secret: str) -> bool:
    """Whether a secret is in there, as it is or without its prefix."""
    bare = secret.removeprefix("whsec_")
    return bare.encode() in text or base64.b64encode(bare.encode()).rstrip(b"=") in text


def test_the_search_finds_what_is_there() -> None:
    assert _holds(b'{"x": "whsec_abcdefgh"}', "whsec_abcdefgh")
    assert not _holds(b'{"x": "whsec_abc\xe2\x80\xa6"}', "whsec_abcdefgh")
