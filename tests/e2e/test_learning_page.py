"""The overview page while a model learns: its curve, what serves and how well labels are found appear by themselves.

The pictures that are taken lie in out/overview.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.e2e.test_overview_page import CONTRASTS, OUT, foreign, link, until_completed
from tests.rig.browser import Browser, chromium
from tests.rig.in_process import eventually, task
from tests.rig.processes import Prelabel

TASKS = 60
PATIENCE = 300.0
LABELS = ("urgent", "later")
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def prelabel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prelabel]:
    """All in one, with a provider whose trainer learns in no time."""
    with Prelabel.all_in_one(tmp_path_factory.mktemp("page"), providers=["ledger"]) as prelabel:
        yield prelabel


@pytest.fixture(scope="module")
def api(prelabel: Prelabel) -> Iterator[httpx.Client]:
    """The API, with the key; and a project whose tasks are predicted."""
    headers = {"Authorization": f"Bearer {prelabel.key}"}
    with httpx.Client(base_url=prelabel.address, headers=headers, timeout=60, trust_env=False) as client:
        question = {"name": "label", "kind": "choice", "field": "text", "labels": list(LABELS), "multiple": False}
        model = {"name": "first", "provider": "ledger", "settings": {"choice": LABELS[0]}}
        project = {"label_set": {"questions": [question]}, "models": [model]}
        assert client.put("/v1/projects/mails", json=project).status_code == 201
        tasks = [task(f"{'now' if n % 2 else 'soon'} {n}", id=f"t{n}") for n in range(TASKS)]
        answer = client.post("/v1/projects/mails/tasks", json=tasks)
        until_completed(client, answer.json()["links"]["events"])
        yield client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Browser]:
    async with chromium(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


def annotate(api: httpx.Client) -> None:
    """The truth of every task, begun from what the model suggested."""
    found = api.get("/v1/projects/mails/tasks", params={"predictions": True, "limit": 500}).json()["tasks"]
    body: list[dict[str, Any]] = [
        {
            "task": one["id"],
            "annotator": "ada",
            "parent_prediction": one["predictions"][0]["request"],
            "regions": [
                {"kind": "choice", "field": "text", "question": "label", "labels": [LABELS[int(one["id"][1:]) % 2]]}
            ],
        }
        for one in found
    ]
    assert api.post("/v1/projects/mails/annotations", json=body).status_code == 202


def annotated(api: httpx.Client) -> int:
    """Tasks that there is something to learn from."""
    return int(api.get("/v1/projects/mails/examples").json()["examples"])


def train(api: httpx.Client) -> httpx.Response:
    """Ask for a training."""
    return api.post("/v1/projects/mails/trainings", json={"model": "first"})


def versions(api: httpx.Client) -> list[str]:
    """The states of the model's versions."""
    found = api.get("/v1/projects/mails/models/first/versions").json()["versions"]
    return [str(one["state"]) for one in found]


async def until_served(api: httpx.Client) -> None:
    """Ask for a training, as soon as there is a trainer, and wait until its version serves.

    A training stands back where processors are short, and may take long; the page is quick to show what came of it.
    """
    deadline = time.monotonic() + PATIENCE
    while (asked := await asyncio.to_thread(train, api)).status_code == httpx.codes.CONFLICT:
        assert asked.json()["type"].endswith(":no_trainer"), asked.text
        assert time.monotonic() < deadline, "no trainer announced itself"
        await asyncio.sleep(0.1)
    assert asked.status_code == httpx.codes.ACCEPTED, asked.text
    while (seen := await asyncio.to_thread(versions, api)) != ["serving"]:
        assert time.monotonic() < deadline, seen
        await asyncio.sleep(0.1)


async def test_what_a_model_learned_appears_by_itself(prelabel: Prelabel, browser: Browser, api: httpx.Client) -> None:
    page = await browser.page()
    await page.go(link(api))
    await page.until("document.getElementById('live').textContent == 'Live'")
    assert await page.said("document.querySelectorAll('.learning').length") == 0
    annotate(api)
    await eventually(lambda: asyncio.to_thread(annotated, api), lambda count: count == TASKS)
    await until_served(api)
    await page.until("document.querySelectorAll('.learning circle.served').length == 1")
    picture = await page.said("document.querySelector('.learning svg').getAttribute('aria-label')")
    assert "1.00 after" in picture
    await page.until("document.querySelector('.learning').innerText.includes('Suggestions accepted')")
    assert await page.said("document.querySelector('.learning code').textContent.startsWith('1-')")
    fold = "document.querySelector('.learning [data-fold=trainings]')"
    await page.said(f"{fold}.open = true")
    assert train(api).status_code == httpx.codes.ACCEPTED
    await page.until(f"{fold}.querySelectorAll('tbody tr').length == 2")
    await page.until(f"{fold}.open && {fold}.innerText.includes('Log of training 2')")
    await page.screenshot(OUT / "learning.png")
    assert (foreign(page, prelabel), page.complaints) == ([], [])


@pytest.mark.parametrize("dark", [False, True])
async def test_it_can_be_read_by_people_who_see_less_and_without_scripts(
    browser: Browser, api: httpx.Client, dark: bool
) -> None:
    page = await browser.page(dark=dark)
    await page.go(link(api))
    await page.said("document.querySelector('.learning details').open = true")
    lowest = await page.said(CONTRASTS)
    assert lowest[0][0] >= 4.5, lowest
    plain = await browser.page(script=False, dark=dark)
    await plain.go(link(api))
    assert 'class="panel learning"' in await plain.html()
