"""A client that waits for a Prelabel that is busy: what does not answer now does a moment later."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

import httpx

from tests.rig.client import Client, NotDone, Sent

PATIENCE: Final = 240.0
"""Seconds for which nobody answers, after which it gives up."""
AGAIN_SECONDS: Final = 0.5
_PASSES: Final = frozenset({HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT})
"""What is answered where something behind does not answer just now."""


class PatientClient(Client):
    """Asks again where it was not answered, or was told to."""

    async def get(self, path: str) -> Any:
        """A query's answer. Raises httpx.HTTPStatusError for any other."""
        until = time.monotonic() + PATIENCE
        while True:
            try:
                return await super().get(path)
            except httpx.HTTPStatusError as error:
                if error.response.status_code not in _PASSES or time.monotonic() > until:
                    raise
            except httpx.TransportError as error:
                if time.monotonic() > until:
                    raise NotDone(f"{path}: {type(error).__name__}") from error
            await asyncio.sleep(AGAIN_SECONDS)

    async def uploaded(self, project: str, tasks: Sequence[Mapping[str, Any]], key: str) -> Sent:
        """The answer to tasks that were taken, sent under one key as often as that takes. Raises `NotDone`."""
        until = time.monotonic() + PATIENCE
        while True:
            answer = await self.upload(project, tasks, key=key)
            if answer.acknowledged:
                return answer
            if (answer.status and answer.status not in _PASSES) or time.monotonic() > until:
                raise NotDone(f"the upload was answered {answer.status}: {answer.body.get('detail')}")
            await asyncio.sleep(AGAIN_SECONDS)
