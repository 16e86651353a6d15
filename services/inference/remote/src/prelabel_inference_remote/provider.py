"""Any HTTP service as a provider."""

from collections.abc import Sequence
from typing import Any, Self
from urllib.parse import urlsplit

import orjson
from prelabel_contract.names import content_hash
from prelabel_contract.regions import KINDS
from prelabel_provider.base import Description, Input
from prelabel_provider.remote.base import Answers, Calling, Http, RemoteProvider, Request
from prelabel_provider.remote.failures import InputRefused, TargetFailed
from prelabel_provider.remote.quota import Rate
from prelabel_provider.remote.secrets import Secret

from .bodies import answers_of, batch_body, json_of, single_body, tasks_of
from .settings import RestSettings
from .templates import Filling, TooMuch, Unfit


class RestProvider(RemoteProvider[RestSettings]):
    """Calls a service by our contract, or by templates."""

    name = "remote"
    kinds = KINDS
    Settings = RestSettings

    def __init__(self, settings: RestSettings) -> None:
        self._settings = settings
        self._request = Filling(settings.request) if settings.request is not None else None
        self._response = Filling(settings.response) if settings.response is not None else None
        given: list[tuple[str, str | Secret]] = [*settings.headers.items(), *settings.secret_headers.items()]
        named = {name.lower() for name, _ in given}
        ours = [(name, "application/json") for name in ("content-type", "accept") if name not in named]
        self._headers: tuple[tuple[str, str | Secret], ...] = (*ours, *given)

    @classmethod
    def load(cls, settings: RestSettings) -> Self:
        """Compile the templates."""
        return cls(settings)

    def describe(self) -> Description:
        """What its settings say."""
        settings = self._settings
        content = content_hash(settings.model_dump(mode="json"))
        return Description(settings.version or f"remote+{content[:16]}", frozenset(settings.kinds or self.kinds))

    def calling(self) -> Calling:
        """As its settings say."""
        settings = self._settings
        secrets = sorted({secret.secret for secret in settings.secret_headers.values()})
        return Calling(
            target=" ".join((settings.url, *secrets)),
            tasks_per_call=settings.tasks_per_call,
            attempt_seconds=min(settings.attempt_seconds, settings.total_seconds),
            total_seconds=settings.total_seconds,
            attempts=settings.attempts,
            concurrency=settings.concurrency,
            rate=self._rate(secrets),
        )

    def _rate(self, secrets: Sequence[str]) -> Rate | None:
        rate = self._settings.rate
        if rate is None:
            return None
        shared_by = rate.name or " ".join((urlsplit(self._settings.url).netloc.lower(), *secrets))
        return Rate(f"remote {shared_by}", rate.calls_per_second)

    async def ask(self, batch: Sequence[Input], http: Http) -> Answers:
        """One POST."""
        settings = self._settings
        request = Request("POST", settings.url, self._headers, _written(await self._body(batch)))
        answer = json_of((await http.send(request)).body)
        if self._response is not None:
            try:
                answer = await self._response.of({"body": answer, "tasks": tasks_of(batch)})
            except TooMuch:
                raise InputRefused("the response template would make too much of the answer") from None
            except Unfit as error:
                raise TargetFailed(f"the response template does not fit the answer: {error}") from None
        return answers_of(answer, batch, by_order=settings.match == "order")

    async def _body(self, batch: Sequence[Input]) -> Any:
        parameters = self._settings.parameters
        if self._request is None:
            single = self._settings.tasks_per_call == 1
            return single_body(batch[0], parameters) if single else batch_body(batch, parameters)
        tasks = tasks_of(batch)
        try:
            body = await self._request.of({"tasks": tasks, "task": tasks[0], "parameters": dict(parameters)})
        except TooMuch:
            raise InputRefused("the request template would make too much of the task") from None
        except Unfit as error:
            raise InputRefused(f"the request template does not fit the task: {error}") from None
        if body is None:
            raise InputRefused("the request template finds nothing in the task")
        return body

    async def check(self, http: Http) -> None:
        """One GET, where there is an address for it."""
        if self._settings.health_url is not None:
            await http.send(Request("GET", self._settings.health_url, self._headers))


def _written(body: Any) -> bytes:
    """Raises `InputRefused`."""
    try:
        return orjson.dumps(body)
    except TypeError:  # too deep, or a number of hundreds of digits
        raise InputRefused("the request template makes what cannot be written as JSON") from None
