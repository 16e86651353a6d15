"""What one address costs: the same small request to a server itself, and through a gateway.

python -m tests.benchmarks.gateway [--requests 2000]
"""

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import os
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import uvicorn
from starlette.types import Receive, Scope, Send

from deploy.local.ports import free_port
from tests.rig.processes import PrelabelProcess

PATH = "/v1/projects/mails"
BODY = b'{"id": "mails", "labels": ["' + b"x" * 400 + b'"]}'
TICKS = os.sysconf("SC_CLK_TCK")


async def _answer(_: Scope, receive: Receive, send: Send) -> None:
    await receive()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(BODY)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": BODY})


def _serve(port: int) -> None:
    uvicorn.run(_answer, port=port, log_config=None, access_log=False, lifespan="off")


@contextlib.contextmanager
def _server() -> Iterator[str]:
    port = free_port()
    server = multiprocessing.get_context("spawn").Process(target=_serve, args=(port,), daemon=True)
    server.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.join()


async def load(address: str, requests: int, callers: int) -> list[float]:
    """Seconds of each request, with so many at a time, sorted."""
    seconds: list[float] = []
    async with httpx.AsyncClient(base_url=address, trust_env=False, timeout=30) as client:

        async def call() -> None:
            for _ in range(requests // callers):
                began = time.perf_counter()
                (await client.get(PATH)).raise_for_status()
                seconds.append(time.perf_counter() - began)

        await client.get(PATH)
        await asyncio.gather(*(call() for _ in range(callers)))
    return sorted(seconds)


def _processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def main() -> None:
    """Measure, and print a line for each way."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.gateway", description=__doc__)
    parser.add_argument("--requests", type=int, default=2000)
    requests: int = parser.parse_args().requests
    with _server() as server, tempfile.TemporaryDirectory() as folder:
        told = {"PRELABEL_GATEWAY_SERVICES": json.dumps({"ingestion": server})}
        gateway = PrelabelProcess("gateway", "prelabel_gateway", told, Path(folder))
        gateway.start()
        gateway.ready()
        for callers in (1, 8):
            for name, address in (("direct", server), ("gateway", gateway.address)):
                before = _processor_seconds(gateway.pid)
                seconds = asyncio.run(load(address, requests, callers))
                spent = (_processor_seconds(gateway.pid) - before) / len(seconds)
                p50, p99 = seconds[len(seconds) // 2], seconds[int(len(seconds) * 0.99)]
                print(
                    f"{name:8} {callers} at a time: p50 {p50 * 1e3:6.2f} ms, p99 {p99 * 1e3:6.2f} ms, "
                    f"gateway's processor {spent * 1e3:.2f} ms per request"
                )
        gateway.signal(signal.SIGTERM)
        gateway.wait(20)


if __name__ == "__main__":
    main()
