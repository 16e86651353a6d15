"""How much one key, or one address without a key, may ask of one process: a bucket of tokens each, in bounded memory.

A request costs one token, however much it uploads. Tokens come back at an even rate up to the burst. What is left is
told with every answer (draft-ietf-httpapi-ratelimit-headers); who has none left gets a 429 with the time to wait.
"""

import ipaddress
import math
import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import parse_qs

from prelabel_contract.errors import FieldError
from prelabel_contract.limits import MAX_BODY_BYTES
from pydantic import BaseModel, ConfigDict, Field
from pydantic_settings import SettingsConfigDict
from starlette.types import Scope

from ..clock import Clock
from ..settings import Frozen
from .access import Caller, Role
from .problems import Problem

_NUMBER = re.compile("0|[1-9][0-9]{0,8}")
MOST_BUCKETS = 20_000
"""Kept at once; the one that was used longest ago goes first, and would be full soon anyway."""


class Rate(BaseModel):
    """So many requests a second, and so many at once."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    per_second: Annotated[float, Field(gt=0, le=1_000_000)]
    burst: Annotated[int, Field(ge=1, le=10_000_000)]


class LimitsSettings(Frozen):
    """How much callers may ask, by each process on its own."""

    model_config = SettingsConfigDict(env_prefix="PRELABEL_LIMITS_")

    per_second: Annotated[float, Field(gt=0, le=1_000_000)] = 1000.0
    """Requests of one key per second, in the long run. An upload is one request."""
    burst: Annotated[int, Field(ge=1, le=10_000_000)] = 5000
    """Requests of one key at once."""
    roles: Mapping[Role, Rate] = Field(default_factory=dict)
    """Other limits for some roles, as JSON: {"labeler": {"per_second": 20, "burst": 200}}."""
    stranger_per_second: Annotated[float, Field(gt=0, le=1_000_000)] = 50.0
    """Requests without a key that is known, per second, from one address."""
    stranger_burst: Annotated[int, Field(ge=1, le=10_000_000)] = 1000
    """The same at once."""
    body_bytes: Annotated[int, Field(ge=1024, le=MAX_BODY_BYTES)] = MAX_BODY_BYTES
    """A body that is not streamed. Uploads of NDJSON are, line by line."""
    page_items: Annotated[int, Field(ge=100, le=1000)] = 1000
    """Items of one page."""


@dataclass(frozen=True, slots=True)
class Quota:
    """What is left after a request."""

    name: str
    rate: Rate
    tokens: float
    """Less than 0: the request was one too many, and took none."""

    @property
    def exceeded(self) -> bool:
        """Whether the request may not be answered."""
        return self.tokens < 0

    @property
    def headers(self) -> Mapping[str, str]:
        """For the answer."""
        left = max(0.0, self.tokens)
        full = math.ceil((self.rate.burst - left) / self.rate.per_second)
        window = max(1, math.ceil(self.rate.burst / self.rate.per_second))
        return {
            "RateLimit-Policy": f'"{self.name}";q={self.rate.burst};w={window}',
            "RateLimit": f'"{self.name}";r={math.floor(left)};t={full}',
        }

    def problem(self) -> Problem:
        """The answer to a request too many."""
        wait = max(1, math.ceil(-self.tokens / self.rate.per_second))
        detail = f"at most {self.rate.per_second:g} requests a second, and {self.rate.burst} at once: wait {wait} s"
        return Problem(429, "quota-exceeded", detail, headers={"Retry-After": str(wait)})


class Limits:
    """Who has asked how much lately."""

    def __init__(self, settings: LimitsSettings, clock: Clock, *, most: int = MOST_BUCKETS) -> None:
        self._settings = settings
        self._all = Rate(per_second=settings.per_second, burst=settings.burst)
        self._roles: Mapping[str, Rate] = {str(role): rate for role, rate in settings.roles.items()}
        self._strangers = Rate(per_second=settings.stranger_per_second, burst=settings.stranger_burst)
        self.clock = clock
        self._most = most
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """(tokens, when), the one that was used last at the end."""

    def take(self, caller: Caller | None, scope: Scope) -> Quota:
        """One token for a request of somebody, or of an address."""
        if caller is None:
            return self._take(f"address {_network(scope)}", "address", self._strangers)
        return self._take(f"key {caller.id}", "key", self._roles.get(caller.role, self._all))

    def check_page(self, scope: Scope) -> None:
        """Raises a 422 for a page that is larger than is set."""
        for value in parse_qs(scope["query_string"].decode("latin-1")).get("limit", ()):
            # What is not written as people write numbers (0999, +999, 999.0) the route may read as one all the same.
            if not _NUMBER.fullmatch(value) or int(value) > self._settings.page_items:
                wrong = FieldError(
                    pointer="/query/limit", detail=f"at most {self._settings.page_items} are on one page"
                )
                raise Problem(422, "invalid", f"{wrong.pointer}: {wrong.detail}", [wrong])

    def _take(self, who: str, name: str, rate: Rate) -> Quota:
        now = self.clock.monotonic()
        tokens, when = self._buckets.pop(who, (float(rate.burst), now))
        tokens = min(float(rate.burst), tokens + (now - when) * rate.per_second)
        left = tokens - 1
        self._buckets[who] = (left if left >= 0 else tokens, now)
        if len(self._buckets) > self._most:
            self._buckets.popitem(last=False)
        return Quota(name, rate, left)


def _network(scope: Scope) -> str:
    """The address a request comes from. Of IPv6 its network: one customer has 2^64 addresses."""
    host = str((scope.get("client") or ("",))[0])
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    return host if address.version == 4 else str(ipaddress.ip_network((address, 64), strict=False))
