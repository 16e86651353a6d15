"""Errors that reach a caller: enough to act on, and nothing of our inside."""

from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient
from prelabel_runtime.errors import Refused
from prelabel_runtime.http import every_error


async def test_a_bus_or_store_that_lets_us_in_no_more_is_a_503_that_does_not_say_whom_we_are() -> None:
    app = FastAPI()
    every_error.install(app)

    @app.get("/")
    async def route() -> None:
        raise Refused("Kafka: user prelabel-ingestion has no right to WRITE to topic prelabel.submitted")

    async with AsyncClient(transport=ASGITransport(app), base_url="http://here") as client:
        answer = await client.get("/")
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert "prelabel-ingestion" not in answer.text
