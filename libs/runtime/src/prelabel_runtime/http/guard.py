"""The guard before all routes: who calls, and whether they have asked too much.

What takes long is guarded as long as it takes: an upload, an export, a stream of events end with the key that began it.
"""

from collections.abc import Awaitable, Callable

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..clock import Clock
from ..errors import Unavailable
from ..metrics import Metrics
from . import problems
from .access import Caller, no_key
from .limits import Limits, Quota
from .problems import Problem

AGAIN_SECONDS = 0.5
"""How often the key of a request that takes long is looked at again."""

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
        try:
            caller = await self._identify(scope)
        except Unavailable as error:
            await problems.unavailable(error).response()(scope, receive, send)
            return
        except Problem as problem:
            await problem.response()(scope, receive, send)
            return
        quota = self._limits.take(caller, scope)

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(quota.headers)
            await send(message)

        refusal = self._refusal(caller, scope, quota)
        if refusal is not None:
            await refusal.response()(scope, receive, counted)
            return
        scope.setdefault("state", {})["caller"] = caller
        if caller is None:
            await self._app(scope, receive, counted)
        else:
            await Held(self._identify, scope, caller, self._limits.clock).serve(self._app, receive, counted)

    def _refusal(self, caller: Caller | None, scope: Scope, quota: Quota) -> Problem | None:
        if quota.exceeded:
            self._metrics.http_limited.labels(caller.role if caller else "stranger").inc()
            return quota.problem()
        if caller is None and scope["path"] not in self._public:
            return no_key()
        try:
            self._limits.check_page(scope)
        except Problem as problem:
            return problem
        return None


class Held:
    """One request of somebody, let through as long as they are who they were."""

    def __init__(self, identify: Identify, scope: Scope, caller: Caller, clock: Clock) -> None:
        self._identify = identify
        self._scope = scope
        self._caller = caller
        self._clock = clock
        self._looked = clock.monotonic()

    async def serve(self, app: ASGIApp, receive: Receive, send: Send) -> None:
        """Answer it. What a lost key had begun to get stays incomplete, so that nobody takes it for all."""
        cut = False

        async def received() -> Message:
            message = await receive()
            if message.get("more_body") and not await self._holds():
                raise no_key()
            return message

        async def sent(message: Message) -> None:
            nonlocal cut
            if message.get("more_body") and not await self._holds():
                cut = True
                raise _Cut
            await send(message)

        try:
            await app(self._scope, received, sent)
        except Exception:
            if not cut:
                raise

    async def _holds(self) -> bool:
        now = self._clock.monotonic()
        if now - self._looked < AGAIN_SECONDS:
            return True
        self._looked = now
        try:
            return await self._identify(self._scope) == self._caller
        except Unavailable:
            return True
        except Problem:
            return False


class _Cut(Exception):
    """The rest of an answer is for nobody."""
