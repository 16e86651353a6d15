"""The guard before all routes: who calls, and whether they have asked too much."""

from collections.abc import Awaitable, Callable

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..errors import Unavailable
from ..metrics import Metrics
from . import problems
from .access import Caller, no_key
from .limits import Limits
from .problems import Problem

Identify = Callable[[Scope], Awaitable[Caller | None]]
"""Who is behind a request; None if nobody that is known here. Raises `Unavailable`, or a `Problem` to be answered."""


class Guarded:
    """Refuses every request of nobody that is known, and every one too many.

    Denies by default: what no rule opens to anyone needs a key.
    """

    def __init__(
        self, app: ASGIApp, identify: Identify, public: frozenset[str], limits: Limits, metrics: Metrics
    ) -> None:
        self._app = app
        self._identify = identify
        self._public = public
        self._limits = limits
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what somebody sends, with who that is."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        caller, refusal = await self._caller(scope)
        quota = self._limits.take(caller, scope)

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(quota.headers)
            await send(message)

        if quota.exceeded:
            self._metrics.http_limited.labels(caller.role if caller else "stranger").inc()
            refusal = quota.problem()
        if refusal is None:
            refusal = self._refusal(caller, scope)
        if refusal is not None:
            await refusal.response()(scope, receive, counted)
            return
        scope.setdefault("state", {})["caller"] = caller
        await self._app(scope, receive, counted)

    async def _caller(self, scope: Scope) -> tuple[Caller | None, Problem | None]:
        try:
            return await self._identify(scope), None
        except Unavailable as error:
            return None, problems.unavailable(error)
        except Problem as problem:
            return None, problem

    def _refusal(self, caller: Caller | None, scope: Scope) -> Problem | None:
        if caller is None and scope["path"] not in self._public:
            return no_key()
        try:
            self._limits.check_page(scope)
        except Problem as problem:
            return problem
        return None
