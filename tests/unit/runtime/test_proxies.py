"""Who calls is what a proxy says that is named in the settings, and what nobody else says."""

import asyncio
import contextlib

import httpx
import pytest
from prelabel_runtime.process import api_server, listen
from prelabel_runtime.settings import RuntimeSettings
from starlette.types import Receive, Scope, Send

from deploy.local.ports import free_port


async def who(scope: Scope, _: Receive, send: Send) -> None:
    """Answers the address that it takes a request to come from."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(scope["client"][0]).encode()})


@pytest.mark.parametrize(
    ("proxies", "seen"),
    [
        ("", "203.0.113.7"),
        ('["127.0.0.0/8"]', "203.0.113.7"),
        ('["127.0.0.0/8", "203.0.113.0/24"]', "198.51.100.9"),
        ('["10.0.0.0/8"]', "127.0.0.1"),
        ("[]", "127.0.0.1"),
    ],
)
async def test_only_the_proxies_in_front_are_believed_about_who_calls(
    proxies: str, seen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if proxies:
        monkeypatch.setenv("PRELABEL_PROXIES", proxies)
    port, serving = free_port(), api_server(who, RuntimeSettings())
    with contextlib.closing(listen("127.0.0.1", port, "")) as socket:
        task = asyncio.create_task(serving.serve([socket]))
        while not serving.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
        async with httpx.AsyncClient(timeout=60, trust_env=False) as client:
            told = {"X-Forwarded-For": "198.51.100.9, 203.0.113.7"}
            assert (await client.get(f"http://127.0.0.1:{port}/", headers=told)).text == seen
        serving.should_exit = True
        await asyncio.wait({task})
