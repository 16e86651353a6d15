"""People and programs that an issuer of OpenID Connect vouches for: a bearer token instead of a key of ours.

The issuer says who somebody is and what groups they are in; the settings say what those are here: which role, which
projects. What they do not name, a token does not open.
"""

import base64
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import orjson
from joserfc import jwt
from joserfc.errors import ExpiredTokenError, InvalidClaimError, JoseError, MissingClaimError
from joserfc.jws import JWSRegistry
from starlette.types import Scope

from .. import log
from ..clock import Clock
from ..egress import Egress, Forbidden, check_url
from ..errors import Refused
from ..service import Part
from .access import Caller, Role
from .issuer_keys import IssuerKeys
from .oidc_settings import EVERY_PROJECT, OidcSettings
from .problems import Problem

_log = log.get("prelabel.oidc")

MAX_TOKEN = 16 * 1024
"""Bytes."""
_TYPES = ("jwt", "at+jwt", "application/at+jwt", "application/jwt")
_LATEST_S = 1 << 40
_LONGEST_SUBJECT = 255
_PROJECT = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")

Identify = Callable[[Scope], Awaitable[Caller | None]]


class Oidc(Part):
    """Who is behind a request, by the token it carries."""

    def __init__(self, settings: OidcSettings, *, egress: Egress, clock: Clock) -> None:
        """Raises `Refused`."""
        settings.check()
        try:
            check_url(settings.issuer, egress.policy)
        except Forbidden as error:
            raise Refused(f"PRELABEL_OIDC_ISSUER: {error.detail}") from None
        self._settings = settings
        self._egress = egress
        self._clock = clock
        self._keys = IssuerKeys(settings.issuer, egress=egress, clock=clock)

    async def start(self) -> None:
        """Nothing: an issuer that is down keeps nobody with a key from working."""

    async def stop(self) -> None:
        """Close."""
        await self._keys.aclose()
        await self._egress.aclose()

    def after(self, first: Identify) -> Identify:
        """Ask `first`, and for a token that it does not know, the issuer."""

        async def identify(scope: Scope) -> Caller | None:
            return await first(scope) or await self.identify(scope)

        return identify

    async def identify(self, scope: Scope) -> Caller | None:
        """Who sends this; None without a token. Raises `Unavailable`, and a 401 or 403 that says what is wrong."""
        sent = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        scheme, _, token = sent.partition(b" ")
        token = token.strip()
        if scheme.lower() != b"bearer" or token.count(b".") != 2:
            return None
        return self._caller(await self._claims(token))

    async def _claims(self, token: bytes) -> Mapping[str, Any]:
        """What a token says, once it is known to be the issuer's, for us and of now."""
        if len(token) > MAX_TOKEN:
            raise _refused("it is too large")
        header = _header(token)
        algorithm, kid = header.get("alg"), header.get("kid")
        if algorithm not in self._settings.algorithms:
            raise _refused("it is not signed in a way that is taken here")
        if "crit" in header or str(header.get("typ", "jwt")).lower() not in _TYPES:
            raise _refused("it is of a kind that is not taken here")
        if kid is not None and not isinstance(kid, str):
            raise _refused("it cannot be read")
        key = await self._keys.find(kid, algorithm)
        if key is None:
            raise _refused("it is not signed by a key of the issuer")
        try:
            claims = jwt.decode(token, key, registry=_Signed(algorithms=[algorithm], strict_check_header=False)).claims
        except (JoseError, ValueError, TypeError, RecursionError):
            raise _refused("it is not signed by a key of the issuer") from None
        self._check(claims)
        return claims

    def _check(self, claims: dict[str, Any]) -> None:
        settings = self._settings
        registry = jwt.JWTClaimsRegistry(
            now=self._clock.now_ms() // 1000,
            leeway=settings.leeway_seconds,
            iss={"essential": True, "value": settings.issuer},
            aud={"essential": True, "value": settings.audience},
            sub={"essential": True},
            exp={"essential": True},
        )
        try:
            registry.validate(claims)
        except ExpiredTokenError:
            raise _refused("it has expired") from None
        except (InvalidClaimError, MissingClaimError) as error:
            raise _refused(f"its claim {error.claim} is missing or not what it should be") from None
        if claims["exp"] > _LATEST_S:
            raise _refused("its claim exp is missing or not what it should be")
        if len(claims["sub"]) > _LONGEST_SUBJECT or not claims["sub"].isprintable():
            raise _refused("its claim sub is missing or not what it should be")

    def _caller(self, claims: Mapping[str, Any]) -> Caller:
        settings = self._settings
        granted = {settings.roles.get(value) for value in _values(claims, settings.role_claim)}
        role = next((role for role in Role if role in granted), None)  # as they stand there: the widest first
        if role is None:
            raise Problem(403, "no_role", "the issuer knows you, but none of your roles there is one here")
        projects = self._projects(claims)
        if (
            projects is not None and not projects
        ):  # to reach none is no state of a caller: a key without any reaches all
            raise Problem(403, "no_project", "the issuer knows you, but you reach none of the projects here")
        subject: str = claims["sub"]
        name = next((name for name in _values(claims, settings.name_claim) if name.isprintable() and name), subject)
        return Caller(
            id=f"oidc:{subject}",
            name=name[:200],
            role=role,
            projects=projects,
            kind="token",
            expires_ms=int(claims["exp"]) * 1000,
        )

    def _projects(self, claims: Mapping[str, Any]) -> frozenset[str] | None:
        settings = self._settings
        if settings.project_claim == EVERY_PROJECT:
            return None
        values = _values(claims, settings.project_claim)
        if not settings.projects:
            return frozenset(value for value in values if _PROJECT.fullmatch(value))
        mapped = frozenset(project for value in values for project in settings.projects.get(value, ()))
        return None if EVERY_PROJECT in mapped else mapped


class _Signed(JWSRegistry):
    """Tokens carry certificates in their headers, and what else their issuers like."""

    max_header_length = 8 * 1024


def _header(token: bytes) -> Mapping[str, Any]:
    """What a token says of itself before anything is proven."""
    part = token.partition(b".")[0]
    try:
        header = orjson.loads(base64.b64decode(part + b"=" * (-len(part) % 4), altchars=b"-_", validate=True))
    except ValueError:
        header = None
    if not isinstance(header, dict):
        raise _refused("it cannot be read")
    return header


def _values(claims: Mapping[str, Any], claim: str) -> Sequence[str]:
    """The strings of a claim: one, or a list of them. A claim whose own name has dots in it is found too."""
    value: Any = claims.get(claim)
    if value is None:
        value = claims
        for step in claim.split("."):
            value = value.get(step) if isinstance(value, Mapping) else None
    if isinstance(value, str):
        return [value]
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _refused(why: str) -> Problem:
    _log.info("token refused", reason=why)
    return Problem(
        401,
        "invalid_token",
        f"the token is not taken: {why}",
        headers={"WWW-Authenticate": 'Bearer realm="prelabel", error="invalid_token"'},
    )
