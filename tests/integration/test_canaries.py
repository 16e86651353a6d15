"""Secrets are nowhere but where they belong: in no log, metric, list or audit, and in no file that is kept."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prelabel_runtime.http.credentials import new_credential
from prelabel_runtime.testing.doubles import counted_bytes

from deploy.local.ports import free_port
from tests.rig.in_process import spec
from tests.rig.processes import Prelabel

WITHOUT_FORM = "canary of a header, which nothing tells by its form"


@pytest.fixture(scope="module")
def prelabel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prelabel]:
    """Everything in one process, saying all that it can."""
    folder = tmp_path_factory.mktemp("canaries")
    with Prelabel.all_in_one(folder, providers=["rules"], environment={"PRELABEL_LOG_LEVEL": "debug"}) as running:
        yield running


@pytest.fixture(scope="module")
def admin(prelabel: Prelabel) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {prelabel.key}"}
    with httpx.Client(base_url=prelabel.address, headers=headers, timeout=30, trust_env=False) as client:
        yield client


@pytest.fixture(scope="module")
def canaries(prelabel: Prelabel, admin: httpx.Client) -> dict[str, str]:
    """Every kind of secret, made, used and misused."""
    found = {"the bootstrap key": prelabel.key, "a stranger's guess": new_credential(counted_bytes()).key}
    found["a key"] = _made(admin, "/v1/keys", {"name": "x", "role": "admin"})["key"]
    link = _made(admin, "/v1/links", {})["url"]
    found["a link's token"] = link.split("token=")[1]
    with httpx.Client(base_url=prelabel.address, trust_env=False) as browser:
        browser.get(link)
        found["a session"] = next(iter(browser.cookies.values()))
        for path in ("/v1/me", "/", link, f"/nothing/{found['a session']}"):
            browser.get(path)
    found["a webhook's header"] = WITHOUT_FORM
    url = f"http://127.0.0.1:{free_port()}/nobody"
    hook = {"url": url, "headers": {"X-Api": WITHOUT_FORM}, "projects": ["canaries"]}
    subscription = _made(admin, "/v1/subscriptions", hook)
    found["a webhook's secret"] = subscription["secret"]
    _misuse(prelabel, found)
    admin.put("/v1/projects/canaries", json=spec(models=[]))
    admin.post(f"/v1/subscriptions/{subscription['id']}/test")
    return found


def _made(admin: httpx.Client, path: str, body: Any) -> Any:
    answer = admin.post(path, json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()


def _misuse(prelabel: Prelabel, secrets: dict[str, str]) -> None:
    """Send each where it does not belong."""
    with httpx.Client(base_url=prelabel.address, trust_env=False) as client:
        for secret in secrets.values():
            key = {"Authorization": f"Bearer {secret}"}
            client.get("/v1/projects", headers=key)
            client.get("/v1/projects", headers={"Authorization": f"Basic {secret}"})
            client.get("/v1/projects", params={"token": secret, "limit": secret})
            client.get("/v1/projects", headers={"Cookie": f"prelabel_session={secret}"})
            client.put(f"/v1/projects/{secret}", json={"title": secret, secret: 1}, headers=key)
            client.post("/v1/keys", content=secret, headers=key | {"Content-Type": "application/json"})
            client.get("/enter", params={"token": secret}, headers={"Host": "evil.example"})


def test_no_line_of_the_log_shows_one(prelabel: Prelabel, canaries: dict[str, str]) -> None:
    said = [line for line in prelabel.log("all_in_one").read_text().splitlines() if line.startswith("{")]
    assert said  # what stands before is for the person who started it: the address, the key
    for line in said:
        json.loads(line)
        for name, canary in canaries.items():
            assert canary not in line, name


def test_no_metric_and_no_probe_shows_one(prelabel: Prelabel, canaries: dict[str, str]) -> None:
    port = prelabel.process("all_in_one").health_port
    for path in ("/metrics", "/readyz", "/livez"):
        text = httpx.get(f"http://127.0.0.1:{port}{path}", trust_env=False).text
        for name, canary in canaries.items():
            assert canary not in text, name


@pytest.mark.parametrize(
    "path",
    ["keys", "keys?kind=session", "audit", "subscriptions", "me", "projects", "overview", "deadletters", "providers"],
)
def test_no_list_shows_one_again(admin: httpx.Client, canaries: dict[str, str], path: str) -> None:
    answer = admin.get(f"/v1/{path}")
    assert answer.status_code == 200
    for name, canary in canaries.items():
        assert canary not in answer.text, name


def test_no_log_of_deliveries_shows_one(admin: httpx.Client, canaries: dict[str, str]) -> None:
    for one in admin.get("/v1/subscriptions").json()["subscriptions"]:
        base = f"/v1/subscriptions/{one['id']}/deliveries"
        deliveries = admin.get(base).json()["deliveries"]
        for text in [admin.get(base).text, *(admin.get(f"{base}/{each['id']}").text for each in deliveries)]:
            for name, canary in canaries.items():
                assert canary not in text, name


def test_no_file_that_is_kept_holds_one(prelabel: Prelabel, canaries: dict[str, str]) -> None:
    folder = prelabel.log("all_in_one").parent / "data"
    files: list[Path] = [path for path in folder.rglob("*") if path.is_file()]
    assert {"log.db", "results.db"} <= {path.name for path in files}
    for path in files:
        kept = path.read_bytes()
        for name, canary in canaries.items():
            assert canary.encode() not in kept, f"{name} is in {path.name}"
