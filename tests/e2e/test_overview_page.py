"""The overview page as a person meets it: the printed address, a browser, results that appear by themselves.

The pictures that are taken lie in out/overview.
"""

import asyncio
import contextlib
import os
import pty
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import pytest_asyncio

from deploy.local.ports import free_port
from tests.rig.browser import Browser, Page, chromium
from tests.rig.in_process import spec, task
from tests.rig.processes import Prelabel

OUT = Path("out/overview")
PATIENCE = 180.0
HOSTILE = "<script>document.title='broken'</script> Ada \u202e& <img src=https://example.org/x> Grace, now"
TEXTS = (
    "Ada Lovelace wrote the first program for a machine that was never built, and Grace wrote the first compiler.",
    "Please call Grace back now: the harbour office closes at five.",
    "Nobody of note attended the opening.",
    HOSTILE,
    "قالت Ada إن الآلة ستعمل غداً",
    "It rained. " * 60 + "Then Ada came in, and everybody wanted to know about the engine. " + "It rained. " * 40,
)
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def prelabel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prelabel]:
    """All in one, as `make run` starts it."""
    with Prelabel.all_in_one(tmp_path_factory.mktemp("page"), providers=["rules", "echo"]) as prelabel:
        yield prelabel


@pytest.fixture(scope="module")
def api(prelabel: Prelabel) -> Iterator[httpx.Client]:
    """The API, with the key."""
    headers = {"Authorization": f"Bearer {prelabel.key}"}
    with httpx.Client(base_url=prelabel.address, headers=headers, timeout=60, trust_env=False) as client:
        yield client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Browser]:
    async with chromium(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


def link(api: httpx.Client) -> str:
    """A one-time address, as `prelabel open` makes it."""
    made = api.post("/v1/links", json={})
    assert made.status_code == 201, made.text
    return str(api.base_url.join(made.json()["url"]))


def make_project(api: httpx.Client) -> None:
    """With spans and choices, sure ones and others."""
    unsure = [
        {"label": "PLACE", "words": ["harbour"], "score": 0.3},
        {"label": "later", "substring": "engine", "as": "choice", "score": 0.2},
    ]
    project = spec()
    finder = project["models"][0]
    finder["settings"]["rules"] += unsure
    finder["threshold"] = 0.5
    assert api.put("/v1/projects/mails", json=project).status_code == 201


def submit(api: httpx.Client, *texts: str, project: str = "mails") -> None:
    """Texts as tasks, predicted."""
    answer = api.post(f"/v1/projects/{project}/tasks", json=[task(text) for text in texts])
    assert answer.status_code == 202, answer.text
    until_completed(api, answer.json()["links"]["events"])


def until_completed(api: httpx.Client, events: str) -> None:
    """Follow a run to its end. An upload is answered before the projection has heard of it."""
    deadline = time.monotonic() + PATIENCE
    while (progress := api.get(events)).status_code == httpx.codes.NOT_FOUND:
        assert time.monotonic() < deadline, progress.text
        time.sleep(0.05)
    assert '"completed"' in progress.text, progress.text


def foreign(page: Page, prelabel: Prelabel) -> list[str]:
    """Requests to anybody but us."""
    ours = urlsplit(prelabel.address).netloc
    return [one for one in page.requests if urlsplit(one).scheme != "data" and urlsplit(one).netloc != ours]


CARDS = "document.querySelectorAll('[data-card]').length"
MARKED = "[...document.querySelectorAll('mark')].map(mark => mark.textContent)"


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Callable[[], str]]:
    """Prelabel, started at a terminal; what it has written there so far."""
    ours, theirs = pty.openpty()
    variables = {
        "PRELABEL_DATA": str(tmp_path / "data"), "PRELABEL_SAMPLE": "false", "PRELABEL_PROVIDERS": '["echo"]',
        "PRELABEL_PORT": str(free_port()), "PRELABEL_HEALTH_PORT": str(free_port()),
    }  # fmt: skip
    command = [sys.executable, "-m", "prelabel_all_in_one"]
    written = bytearray()
    os.set_blocking(ours, False)

    def seen() -> str:
        with contextlib.suppress(BlockingIOError):
            written.extend(os.read(ours, 65536))
        return written.decode(errors="replace")  # the last character may be on its way

    with subprocess.Popen(command, env=os.environ | variables, stdout=theirs, stderr=subprocess.DEVNULL) as process:
        os.close(theirs)
        yield seen
        process.terminate()
    os.close(ours)


async def test_the_printed_address_opens_the_page_once(terminal: Callable[[], str], browser: Browser) -> None:
    found: re.Match[str] | None = None
    async with asyncio.timeout(PATIENCE):
        while not (found := re.search(r"^page +(http://\S+/enter\?token=\S+)\r?$", terminal(), re.M)):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    address = found[1]
    page = await browser.page()
    await page.go(address)
    assert await page.said("location.pathname + location.search") == "/"
    assert "Make a project" in await page.said("document.body.innerText")
    await page.screenshot(OUT / "empty.png")
    assert await page.said("document.cookie") == "", "no script may read the session"
    await page.go(address)
    assert "link_spent" in await page.html()
    await page.go("/".join(address.split("/")[:3]))
    assert "Make a project" in await page.said("document.body.innerText"), "the session goes on"


async def test_somebody_without_a_session_is_told_how_to_get_one(prelabel: Prelabel, browser: Browser) -> None:
    page = await browser.page()
    await page.go(prelabel.address)
    assert "prelabel open" in await page.said("document.body.innerText")
    await page.screenshot(OUT / "entrance.png")


async def test_predictions_appear_by_themselves_with_their_labels(
    prelabel: Prelabel, browser: Browser, api: httpx.Client
) -> None:
    page = await browser.page()
    await page.go(link(api))
    make_project(api)
    await page.until("document.body.innerText.includes('Hand something in')")
    await page.until("document.getElementById('live').textContent == 'Live'")
    loads = page.loads
    submit(api, *TEXTS)
    await page.until(f"{CARDS} == {len(TEXTS)} && {MARKED}.length == 8")
    assert page.loads == loads, "it was not loaded anew"
    marked = await page.said(MARKED)
    assert sorted(marked) == [*["Ada\u00a0PERSON"] * 4, *["Grace\u00a0PERSON"] * 3, "harbour\u00a0PLACE"]
    chosen = await page.said("[...document.querySelectorAll('.area')].map(one => one.textContent)")
    assert sorted(chosen) == ["later 0.20 below threshold", *["urgent"] * 2]
    await page.until("document.querySelector('[data-part=state]').textContent.includes('has been answered')")
    await page.screenshot(OUT / "light.png")
    assert (foreign(page, prelabel), page.complaints) == ([], [])


async def test_what_is_unfolded_stays_so_when_something_new_comes(browser: Browser, api: httpx.Client) -> None:
    page = await browser.page()
    await page.go(link(api))
    await page.until("document.getElementById('live').textContent == 'Live'")
    name = await page.said(
        "(() => { const card = document.querySelector('[data-card]'); card.querySelector('details').open = true;"
        " return card.dataset.card })()"
    )
    submit(api, "Grace came later.")
    await page.until("document.querySelector('[data-card] .text').textContent.startsWith('Grace')")
    assert await page.said(f"document.querySelector('[data-card=\"{name}\"] details').open") is True


async def test_who_pauses_is_left_in_peace(browser: Browser, api: httpx.Client) -> None:
    page = await browser.page()
    await page.go(link(api))
    await page.until("document.getElementById('live').textContent == 'Live'")
    await page.said("document.getElementById('pause').click()")
    assert await page.said("document.getElementById('live').textContent") == "Paused"
    before = len(page.requests)
    submit(api, "Ada came while nobody looked.")
    assert "while nobody looked" not in await page.said("document.body.innerText")
    assert len(page.requests) == before
    await page.said("document.getElementById('pause').click()")
    await page.until("document.body.innerText.includes('while nobody looked')")


@pytest.mark.parametrize("end", ["fail(new Error('not reached'))", "answer({ status: 401, text: async () => '' })"])
async def test_who_pauses_is_not_disturbed_by_the_end_of_what_was_asked_before(
    browser: Browser, api: httpx.Client, end: str
) -> None:
    page = await browser.page()
    await page.go(link(api))
    await page.until("document.getElementById('live').textContent == 'Live'")
    await page.said("window.fetch = () => new Promise((answer, fail) => Object.assign(window, { answer, fail }))")
    submit(api, "Ada came as somebody paused.")
    await page.until("'fail' in window")
    await page.said("document.getElementById('pause').click()")
    await page.said(end)
    assert await page.said("document.getElementById('live').textContent") == "Paused"
    await page.said("document.getElementById('pause').click()")
    await page.until("document.getElementById('live').textContent == 'Live'")
    assert await page.said("'fail' in window"), "it was not loaded anew"


async def test_texts_of_strangers_are_texts(prelabel: Prelabel, browser: Browser, api: httpx.Client) -> None:
    page = await browser.page()
    await page.go(link(api))
    assert await page.said("document.title") == "Prelabel"
    assert await page.said("document.querySelectorAll('main img, main script').length") == 0
    shown = await page.said("[...document.querySelectorAll('.text')].map(text => text.textContent).join()")
    assert "<script>document.title='broken'</script>" in shown
    assert (foreign(page, prelabel), page.complaints) == ([], [])


async def test_without_scripts_the_page_says_all_of_it(prelabel: Prelabel, browser: Browser, api: httpx.Client) -> None:
    page = await browser.page(script=False)
    await page.go(link(api))
    html = await page.html()
    assert html.count('<mark class="k0"') >= 7
    assert "Reload the page to see what is new" in html
    await page.screenshot(OUT / "without-scripts.png")
    assert foreign(page, prelabel) == []


async def test_it_fits_a_small_screen_and_the_dark(browser: Browser, api: httpx.Client) -> None:
    dark = await browser.page(dark=True)
    await dark.go(link(api))
    await dark.said("document.querySelector('[data-card] details').open = true")
    await dark.screenshot(OUT / "dark.png")
    small = await browser.page(width=390, height=844)
    await small.go(link(api))
    assert await small.said("document.documentElement.scrollWidth") == 390
    await small.screenshot(OUT / "small.png")


CONTRASTS = (Path(__file__).parent / "contrasts.js").read_text(encoding="utf-8")


@pytest.mark.parametrize("dark", [False, True])
async def test_everything_can_be_read_by_people_who_see_less(browser: Browser, api: httpx.Client, dark: bool) -> None:
    page = await browser.page(dark=dark)
    await page.go(link(api))
    lowest = await page.said(CONTRASTS)
    assert lowest[0][0] >= 4.5, lowest
