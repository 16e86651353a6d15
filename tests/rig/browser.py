"""A headless Chromium, driven over a pipe in its own protocol: what a person's browser does with a page of ours.

    async with chromium(folder) as browser:
        page = await browser.page()
        await page.go("http://127.0.0.1:8080/")
        assert await page.said("document.title") == "Prelabel"

Every request that a page makes is written down, and everything that its console says. A browser that is not installed
fails the test with one line.
"""

import asyncio
import base64
import contextlib
import json
import os
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
PATIENCE = 60.0
_FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"),
    *("--no-first-run", "--disable-extensions", "--disable-component-update", "--disable-background-networking"),
    *("--disable-sync", "--remote-debugging-pipe", "--no-proxy-server", "--lang=en-US"),
)


class Browser:
    """The process, and the pipe to it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._number = 0
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._pages: dict[str, Page] = {}

    async def page(self, *, script: bool = True, dark: bool = False, width: int = 1280, height: int = 900) -> "Page":
        """A new page with cookies of its own."""
        context = (await self.ask("Target.createBrowserContext"))["browserContextId"]
        target = await self.ask("Target.createTarget", url="about:blank", browserContextId=context)
        session = await self.ask("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        page = self._pages[session["sessionId"]] = Page(self, session["sessionId"])
        for domain in ("Page", "Network", "Runtime", "Log", "Audits", "DOM"):
            await page.ask(f"{domain}.enable")
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await page.ask("Emulation.setEmulatedMedia", features=[scheme])
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        await page.ask("Emulation.setDeviceMetricsOverride", **size)
        await page.ask("Emulation.setScriptExecutionDisabled", value=not script)
        return page

    async def ask(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """One command of the protocol; its result."""
        self._number += 1
        question = {"id": self._number, "method": method, "params": parameters}
        if session is not None:
            question["sessionId"] = session
        answer = self._answers[self._number] = asyncio.get_running_loop().create_future()
        self._writer.write(json.dumps(question).encode() + b"\0")
        await self._writer.drain()
        async with asyncio.timeout(PATIENCE):
            result: dict[str, Any] = await answer
        return result

    async def listen(self) -> None:
        """Hand on what the browser says, until it ends."""
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                said = json.loads((await self._reader.readuntil(b"\0"))[:-1])
                if (answer := self._answers.pop(said.get("id", -1), None)) is None:
                    if (page := self._pages.get(said.get("sessionId", ""))) is not None:
                        page.hear(said["method"], said["params"])
                elif "error" in said:
                    answer.set_exception(RuntimeError(f"the browser: {said['error']['message']}"))
                else:
                    answer.set_result(said["result"])


@dataclass
class Page:
    """One tab."""

    browser: Browser
    session: str
    requests: list[str] = field(default_factory=list)
    """Every address that was asked for."""
    complaints: list[str] = field(default_factory=list)
    """What the console said: errors, warnings, breaches of the policy."""
    loads: int = 0
    """How often a document was loaded."""

    async def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command about this page."""
        return await self.browser.ask(method, self.session, **parameters)

    async def go(self, address: str) -> None:
        """Open an address; returns when it is loaded."""
        before = self.loads
        await self.ask("Page.navigate", url=address)
        async with asyncio.timeout(PATIENCE):
            while self.loads == before:  # noqa: ASYNC110 - the browser tells it on its pipe
                await asyncio.sleep(0.02)

    async def said(self, expression: str) -> Any:
        """The value of an expression in the page."""
        result = await self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise AssertionError(result["exceptionDetails"]["exception"].get("description", "it threw"))
        return result["result"].get("value")

    async def until(self, expression: str) -> Any:
        """The same, once it is true."""
        seen: Any = None
        try:
            async with asyncio.timeout(PATIENCE):
                while not (seen := await self.said(expression)):  # noqa: ASYNC110 - it changes in the page
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"{expression} never came true; {self.complaints}") from None
        return seen

    async def html(self) -> str:
        """The document as it is now; also where scripts are off."""
        root = (await self.ask("DOM.getDocument", depth=0))["root"]
        return str((await self.ask("DOM.getOuterHTML", nodeId=root["nodeId"]))["outerHTML"])

    async def screenshot(self, path: Path) -> Path:
        """The whole page as a picture."""
        taken = await self.ask("Page.captureScreenshot", captureBeyondViewport=True)
        await asyncio.to_thread(_write, path, base64.b64decode(taken["data"]))
        return path

    def hear(self, method: str, told: dict[str, Any]) -> None:
        """Something happened."""
        match method:
            case "Network.requestWillBeSent":
                self.requests.append(told["request"]["url"])
            case "Page.loadEventFired":
                self.loads += 1
            case "Log.entryAdded":
                self.complaints.append(f"{told['entry']['source']}: {told['entry']['text']}")
            case "Runtime.exceptionThrown":
                self.complaints.append(told["exceptionDetails"]["text"])
            case "Audits.issueAdded":
                self.complaints.append(told["issue"]["code"])


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


@contextlib.asynccontextmanager
async def chromium(folder: Path) -> AsyncIterator[Browser]:
    """A browser with a profile of its own; it ends with the block."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.fail("this test needs a Chromium; on Debian: apt-get install chromium", pytrace=False)
    to_browser, from_us = os.pipe()
    from_browser, to_us = os.pipe()

    def as_3_and_4() -> None:
        high = (os.dup(to_browser), os.dup(to_us))  # neither may be overwritten before it is in its place
        os.dup2(high[0], 3)
        os.dup2(high[1], 4)

    process = await asyncio.create_subprocess_exec(
        *(found, *_FLAGS, f"--user-data-dir={folder}", "about:blank"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        pass_fds=(3, 4, to_browser, to_us),
        preexec_fn=as_3_and_4,
    )
    os.close(to_browser)
    os.close(to_us)
    reader, writer = await _streams(from_browser, from_us)
    browser = Browser(reader, writer)
    listening = asyncio.create_task(browser.listen())
    try:
        yield browser
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        await listening
        writer.close()


async def _streams(from_browser: int, from_us: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=64 * 1024 * 1024)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(from_browser, "rb"))
    transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, os.fdopen(from_us, "wb"))
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)
