"""Bearer tokens of an issuer: what is not surely the issuer's, for us, of now and for a role here opens nothing."""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from fastapi import APIRouter, Request
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jws, jwt
from joserfc.jwk import ECKey, OctKey, RSAKey
from prelabel_runtime.egress import Egress, EgressPolicy, EgressSettings
from prelabel_runtime.errors import Refused, Unavailable
from prelabel_runtime.http.access import Caller, Role, allow, caller_of
from prelabel_runtime.http.app import application
from prelabel_runtime.http.guard import Guarded
from prelabel_runtime.http.issuer_keys import AGAIN_SECONDS, LONGEST_SECONDS, REFRESH_SECONDS, RETRY_SECONDS
from prelabel_runtime.http.limits import Limits, LimitsSettings
from prelabel_runtime.http.oidc import MAX_TOKEN, Oidc, _header
from prelabel_runtime.http.oidc_settings import OidcSettings
from prelabel_runtime.http.problems import Problem
from prelabel_runtime.metrics import Metrics
from prelabel_runtime.testing.doubles import ManualClock

from .egress_scene import public_authorities
from .issuer import AUDIENCE, Issuer, running
from .scene import until

NOW = 1_700_000_000
MAPPED: dict[str, Any] = {
    "audience": AUDIENCE,
    "roles": {"boss": "admin", "annotators": "labeler", "pipeline": "service"},
    "project_claim": "*",
}


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    async with running() as running_one:
        yield running_one


class Door:
    """What checks tokens, with a clock to turn."""

    def __init__(self, issuer: Issuer, **settings: Any) -> None:
        self.clock = ManualClock(NOW * 1000)
        policy = EgressPolicy.of(EgressSettings(), loopback=True)
        context = public_authorities()
        egress = Egress(policy, EgressSettings(), purpose="oidc", metrics=Metrics(), context=context)
        chosen = OidcSettings(issuer=issuer.url, **{**MAPPED, **settings})
        self.oidc = Oidc(chosen, egress=egress, clock=self.clock)

    async def caller(self, token: str | bytes) -> Caller | None:
        sent = token if isinstance(token, bytes) else token.encode()
        return await self.oidc.identify({"type": "http", "headers": [(b"authorization", b"Bearer " + sent)]})

    async def refused(self, token: str | bytes) -> Problem:
        with pytest.raises(Problem) as refusal:
            await self.caller(token)
        return refusal.value


@pytest.fixture
async def door(issuer: Issuer) -> AsyncIterator[Door]:
    opened = Door(issuer)
    yield opened
    await opened.oidc.stop()


def claims(issuer: Issuer, **changed: Any) -> dict[str, Any]:
    said = {"iss": issuer.url, "aud": AUDIENCE, "sub": "u1", "exp": NOW + 300, "iat": NOW, "roles": ["annotators"]}
    return {name: value for name, value in {**said, **changed}.items() if value is not None}


# ------------------------------------------------------------------------------------------------------- what opens


async def test_a_token_of_the_issuer_is_somebody_with_a_role_until_it_expires(issuer: Issuer, door: Door) -> None:
    token = issuer.sign(claims(issuer, preferred_username="ann"))
    assert await door.caller(token) == Caller(
        id="oidc:u1", name="ann", role=Role.LABELER, projects=None, kind="token", expires_ms=(NOW + 300) * 1000
    )


@pytest.mark.parametrize(
    "changed",
    [
        {"aud": ["other", AUDIENCE]},
        {"exp": NOW - 29},
        {"exp": NOW + 0.5},
        {"nbf": NOW + 29},
        {"iat": NOW + 29},
        {"roles": "annotators"},
        {"roles": ["unknown", "annotators"]},
    ],
)
async def test_what_is_good_enough(issuer: Issuer, door: Door, changed: dict[str, Any]) -> None:
    assert await door.caller(issuer.sign(claims(issuer, **changed))) is not None


@pytest.mark.parametrize("header", [{"typ": "at+jwt"}, {"typ": "JWT"}, {"nonce": "x"}, {"x5t": "abc"}])
async def test_headers_that_issuers_write_are_taken(issuer: Issuer, door: Door, header: dict[str, str]) -> None:
    lenient = jws.JWSRegistry(strict_check_header=False)
    token = jwt.encode({"alg": "RS256", "kid": "first", **header}, claims(issuer), issuer.keys["first"], None, lenient)
    assert await door.caller(token) is not None


async def test_a_key_of_an_elliptic_curve_and_a_token_without_a_kid_are_taken(issuer: Issuer, door: Door) -> None:
    issuer.keys["curve"] = ECKey.generate_key("P-256", {"kid": "curve"})
    assert await door.caller(issuer.sign(claims(issuer), kid="curve")) is not None
    bare = jwt.encode({"alg": "ES256"}, claims(issuer), issuer.keys["curve"])
    assert await door.caller(bare) is not None, "only one key can have signed it"
    issuer.keys["curve2"] = ECKey.generate_key("P-256", {"kid": "curve2"})
    door.clock.advance(REFRESH_SECONDS + 1)
    await door.caller(issuer.sign(claims(issuer, exp=NOW + 9999), kid="curve"))
    await until(lambda: len(door.oidc._keys._keys) == 3)
    late = jwt.encode({"alg": "ES256"}, claims(issuer, exp=NOW + 9999), issuer.keys["curve"])
    assert (await door.refused(late)).status == 401, "one of two"


async def test_the_widest_of_several_roles_counts(issuer: Issuer, door: Door) -> None:
    caller = await door.caller(issuer.sign(claims(issuer, roles=["pipeline", "annotators", "boss"])))
    assert caller is not None
    assert caller.role is Role.ADMIN


@pytest.mark.parametrize(
    ("settings", "said", "reached"),
    [
        ({"project_claim": "*"}, {}, None),
        ({"project_claim": "projects"}, {"projects": ["mails", "bills"]}, {"mails", "bills"}),
        ({"project_claim": "projects"}, {"projects": "mails"}, {"mails"}),
        ({"project_claim": "projects"}, {"projects": ["*", "Team A", "mails"]}, {"mails"}),
        ({"project_claim": "a.teams", "projects": {"x": ["mails"]}}, {"a": {"teams": ["x", "y"]}}, {"mails"}),
        ({"project_claim": "a.teams", "projects": {"x": ["mails"]}}, {"a.teams": ["x"]}, {"mails"}),
        ({"project_claim": "teams", "projects": {"x": ["*"], "y": ["mails"]}}, {"teams": ["x"]}, None),
        ({"project_claim": "teams", "projects": {"x": ["*"], "y": ["mails"]}}, {"teams": ["y"]}, {"mails"}),
    ],
)
async def test_a_token_reaches_the_projects_that_its_claim_names_and_no_others(
    issuer: Issuer, settings: dict[str, Any], said: dict[str, Any], reached: set[str] | None
) -> None:
    door = Door(issuer, **settings)
    caller = await door.caller(issuer.sign(claims(issuer, **said)))
    await door.oidc.stop()
    assert caller is not None
    assert caller.projects == reached
    assert caller.reaches("mails") == (reached is None or "mails" in reached)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"project_claim": "projects"}, {}),
        ({"project_claim": "projects"}, {"projects": []}),
        ({"project_claim": "projects"}, {"projects": ["*"]}),
        ({"project_claim": "projects"}, {"projects": {"mails": True}}),
        ({"project_claim": "teams", "projects": {"x": ["*"]}}, {"teams": ["*"]}),
        ({"project_claim": "teams", "projects": {"x": []}}, {"teams": ["x"]}),
    ],
)
async def test_who_reaches_no_project_opens_nothing_so_that_no_key_they_make_reaches_all(
    issuer: Issuer, settings: dict[str, Any], said: dict[str, Any]
) -> None:
    door = Door(issuer, **settings)
    refusal = await door.refused(issuer.sign(claims(issuer, roles=["boss"], **said)))
    await door.oidc.stop()
    assert (refusal.status, refusal.code) == (403, "no_project")


@pytest.mark.parametrize(
    ("name", "shown"), [("ann", "ann"), ("", "u1"), ("\x1b[31m", "u1"), (7, "u1"), ("n" * 300, "n" * 200)]
)
async def test_a_name_is_shown_where_it_can_be(issuer: Issuer, door: Door, name: Any, shown: str) -> None:
    caller = await door.caller(issuer.sign(claims(issuer, preferred_username=name)))
    assert caller is not None
    assert caller.name == shown


async def test_a_nested_role_claim_is_found(issuer: Issuer) -> None:
    door = Door(issuer, role_claim="realm_access.roles")
    token = issuer.sign(claims(issuer, roles=None, realm_access={"roles": ["boss"]}))
    caller = await door.caller(token)
    await door.oidc.stop()
    assert caller is not None
    assert caller.role is Role.ADMIN


async def test_who_has_no_role_here_is_told_so(issuer: Issuer, door: Door) -> None:
    for roles in (None, [], ["unknown"], 7, {"boss": 1}, [["boss"]]):
        refusal = await door.refused(issuer.sign(claims(issuer, roles=roles)))
        assert (refusal.status, refusal.code) == (403, "no_role")


async def test_what_is_no_token_is_left_to_others_and_keys_are_asked_first(issuer: Issuer, door: Door) -> None:
    known = Caller("k1", "a key", Role.ADMIN)

    async def keys(scope: Any) -> Caller | None:
        return known if (b"authorization", b"Bearer pl_key") in scope["headers"] else None

    identify = door.oidc.after(keys)
    for headers in ([], [(b"authorization", b"Basic a.b.c")], [(b"authorization", b"Bearer pl_unknown")]):
        assert await identify({"headers": headers}) is None
    assert await identify({"headers": [(b"authorization", b"Bearer pl_key")]}) is known
    assert issuer.asked == []
    token = issuer.sign(claims(issuer)).encode()
    assert (await identify({"headers": [(b"authorization", b"bearer  " + token)]})) is not None


# ------------------------------------------------------------------------------------------------- what opens nothing


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"iss": "https://evil.example"}, "iss"),
        ({"iss": None}, "iss"),
        ({"iss": 7}, "iss"),
        ({"aud": "other"}, "aud"),
        ({"aud": ["other"]}, "aud"),
        ({"aud": []}, "aud"),
        ({"aud": None}, "aud"),
        ({"aud": {AUDIENCE: 1}}, "aud"),
        ({"aud": f"{AUDIENCE}2"}, "aud"),
        ({"exp": None}, "exp"),
        ({"exp": NOW - 30}, "expired"),
        ({"exp": NOW - 3600}, "expired"),
        ({"exp": "never"}, "exp"),
        ({"exp": True}, "exp"),
        ({"exp": 10**400}, "exp"),
        ({"exp": 1e300}, "exp"),
        ({"nbf": NOW + 31}, "nbf"),
        ({"nbf": "x"}, "nbf"),
        ({"iat": NOW + 31}, "iat"),
        ({"sub": None}, "sub"),
        ({"sub": ""}, "sub"),
        ({"sub": ["u1"]}, "sub"),
        ({"sub": "u" * 256}, "sub"),
        ({"sub": "u\n1"}, "sub"),
        ({"sub": "\ud800"}, "sub"),
    ],
)
async def test_a_token_with_wrong_claims_opens_nothing(
    issuer: Issuer, door: Door, changed: dict[str, Any], said: str
) -> None:
    token = signed_by_hand(issuer, {"alg": "RS256", "kid": "first"}, claims(issuer, **changed))
    refusal = await door.refused(token)
    assert (refusal.status, refusal.code) == (401, "invalid_token")
    assert said in refusal.detail
    assert 'error="invalid_token"' in refusal.headers["WWW-Authenticate"]


def encoded(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def by_hand(header: Any, payload: Any, signature: bytes = b"") -> str:
    return f"{encoded(header)}.{encoded(payload)}.{encoded(signature)}"


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", "", None, 7, ["RS256"], {}, "HS256", "RS1"])
async def test_a_token_that_names_no_signature_of_ours_opens_nothing(
    issuer: Issuer, door: Door, algorithm: Any
) -> None:
    for signature in (b"", b"x" * 256):
        refusal = await door.refused(by_hand({"alg": algorithm, "kid": "first"}, claims(issuer), signature))
        assert refusal.status == 401
    assert issuer.asked == [], "not worth a look at the issuer"


async def test_the_public_key_is_no_shared_secret(issuer: Issuer, door: Door) -> None:
    public = issuer.keys["first"].as_pem(private=False)
    for algorithms in (("RS256", "ES256"), ("RS256",)):
        forger = Door(issuer, algorithms=algorithms)
        for secret in (public, public.strip(), json.dumps(issuer.keys["first"].as_dict(private=False)).encode()):
            start = f"{encoded({'alg': 'HS256', 'kid': 'first'})}.{encoded(claims(issuer))}"
            signature = hmac.new(secret, start.encode(), hashlib.sha256).digest()
            assert (await forger.refused(f"{start}.{encoded(signature)}")).status == 401
        await forger.oidc.stop()


def test_shared_secrets_are_no_setting() -> None:
    for algorithm in ("HS256", "none", "EdDSA"):
        with pytest.raises(Refused, match="PRELABEL_OIDC_ALGORITHMS"):
            OidcSettings(algorithms=(algorithm,))


async def test_a_token_signed_by_another_key_opens_nothing(issuer: Issuer, door: Door) -> None:
    stranger = RSAKey.generate_key(2048, {"kid": "first"})
    curve = ECKey.generate_key("P-256", {"kid": "first"})
    for header, key in (
        ({"alg": "RS256", "kid": "first"}, stranger),
        ({"alg": "RS256", "kid": "stranger"}, stranger),
        ({"alg": "RS256"}, stranger),
        ({"alg": "RS256", "kid": "first", "jwk": stranger.as_dict(private=False)}, stranger),
        ({"alg": "RS256", "kid": "first", "jku": "https://evil.example/keys"}, stranger),
        ({"alg": "ES256", "kid": "first"}, curve),
        ({"alg": "RS256", "kid": "../../../dev/null"}, stranger),
    ):
        refusal = await door.refused(jwt.encode(header, claims(issuer), key))
        assert refusal.status == 401
    assert not any("evil" in path for path in issuer.asked)


async def test_a_token_that_was_changed_opens_nothing(issuer: Issuer, door: Door) -> None:
    token = issuer.sign(claims(issuer))
    head, payload, signature = token.split(".")
    admin = encoded(claims(issuer, roles=["boss"]))
    flipped = signature[:40] + ("A" if signature[40] != "A" else "B") + signature[41:]
    for changed in (
        f"{head}.{admin}.{signature}",
        f"{head}.{payload}.{flipped}",
        f"{head}.{payload}.",
        f"{head}..{signature}",
        f".{payload}.{signature}",
        "..",
        f"{head}.{payload}.{signature[:-4]}",
    ):
        assert (await door.refused(changed)).status == 401, changed[-30:]


@pytest.mark.parametrize("crit", [["exp"], ["foo"], ["b64"], [], "foo", None])
async def test_a_token_with_critical_extensions_opens_nothing(issuer: Issuer, door: Door, crit: Any) -> None:
    header = {"alg": "RS256", "kid": "first", "foo": 1, "exp": 1, "b64": True}
    assert await door.caller(signed_by_hand(issuer, header, claims(issuer))) is not None
    refusal = await door.refused(signed_by_hand(issuer, {**header, "crit": crit}, claims(issuer)))
    assert refusal.status == 401


def signed_by_hand(issuer: Issuer, header: dict[str, Any], payload: dict[str, Any]) -> str:
    """Signed as it should be, whatever it says."""
    start = f"{encoded(header)}.{encoded(payload)}"
    key = issuer.keys["first"].private_key
    assert isinstance(key, RSAPrivateKey)
    return f"{start}.{encoded(key.sign(start.encode(), PKCS1v15(), SHA256()))}"


@pytest.mark.parametrize("kind", ["logout+jwt", "dpop+jwt", "secevent+jwt", "JWE", 7, None, ["JWT"]])
async def test_a_token_of_another_kind_opens_nothing(issuer: Issuer, door: Door, kind: Any) -> None:
    token = signed_by_hand(issuer, {"alg": "RS256", "kid": "first", "typ": kind}, claims(issuer))
    assert (await door.refused(token)).status == 401


@pytest.mark.parametrize("kid", [7, [], {}, True, "\x00", "x" * 5000])
async def test_an_odd_kid_opens_nothing(issuer: Issuer, door: Door, kid: Any) -> None:
    assert (await door.refused(by_hand({"alg": "RS256", "kid": kid}, claims(issuer)))).status == 401


async def test_a_huge_token_opens_nothing_and_costs_nothing(issuer: Issuer, door: Door) -> None:
    for token in ("a" * MAX_TOKEN + "..", issuer.sign(claims(issuer, more="x" * MAX_TOKEN)), "." * 2 + "e" * 60_000):
        assert (await door.refused(token)).detail.endswith("too large")
    assert issuer.asked == []


@pytest.mark.parametrize(
    "header",
    [b"[" * 9000, b'{"alg":' * 900, b"\xff\xfe", b"null", b"[]", b'"RS256"', b"{", b'{"alg": NaN}', b"\x00", b"7"],
)
async def test_a_header_that_cannot_be_read_opens_nothing(issuer: Issuer, door: Door, header: bytes) -> None:
    assert (await door.refused(by_hand(header, claims(issuer)))).status == 401


async def test_a_signed_payload_that_is_no_object_opens_nothing(issuer: Issuer, door: Door) -> None:
    for payload in (b"[]", b"7", b"", b"\xff", b"{", b"[" * 9000, b"null"):
        token = jws.serialize_compact({"alg": "RS256", "kid": "first"}, payload, issuer.keys["first"])
        assert (await door.refused(token)).status == 401


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_no_header_breaks_anything(part: bytes) -> None:
    for written in (part, base64.urlsafe_b64encode(part)):
        with contextlib.suppress(Problem):
            assert isinstance(_header(written + b".a.b"), dict)


# -------------------------------------------------------------------------------------------------- over HTTP


async def test_over_http_each_is_told_what_is_the_matter_and_nothing_is_a_defect(issuer: Issuer, door: Door) -> None:
    router = APIRouter()

    @router.get("/v1/projects/{project}/x", dependencies=[allow("x.read", {Role.ADMIN})])
    async def read(project: str, request: Request) -> dict[str, str]:
        return {"caller": caller_of(request).id}

    async def nobody(scope: Any) -> Caller | None:
        return None

    limits = Limits(LimitsSettings(), ManualClock())
    app = Guarded(application([router], title="Test"), door.oidc.after(nobody), frozenset(), limits, Metrics())
    admin = issuer.sign(claims(issuer, roles=["boss"]))
    issuer.down = True
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:

        async def told(token: str) -> tuple[int, str]:
            answer = await client.get("/v1/projects/mails/x", headers={"Authorization": f"Bearer {token}"})
            body = answer.json()
            return answer.status_code, body.get("caller") or body["type"].rpartition(":")[2]

        assert await told(admin) == (503, "unavailable")
        issuer.down = False
        door.clock.advance(RETRY_SECONDS)
        assert await told(admin) == (200, "oidc:u1")
        assert await told(issuer.sign(claims(issuer))) == (403, "forbidden_role")
        assert await told(issuer.sign(claims(issuer, roles=None))) == (403, "no_role")
        assert await told(issuer.sign(claims(issuer, exp=NOW - 60))) == (401, "invalid_token")
        assert await told("a.b.c") == (401, "invalid_token")
        assert await told("abc") == (401, "no_key")


# ----------------------------------------------------------------------------------------------- keys come and go


async def test_keys_are_read_once_for_whoever_waits_and_then_kept(issuer: Issuer, door: Door) -> None:
    token = issuer.sign(claims(issuer))
    assert None not in await asyncio.gather(*(door.caller(token) for _ in range(20)))
    issuer.down = True
    assert await door.caller(token) is not None
    assert issuer.asked == ["/realm/.well-known/openid-configuration", "/realm/keys"]


async def test_a_new_key_is_found_and_an_unknown_one_does_not_have_the_issuer_asked_each_time(
    issuer: Issuer, door: Door
) -> None:
    await door.caller(issuer.sign(claims(issuer)))
    old = issuer.sign(claims(issuer))
    issuer.rotate("second")
    token = issuer.sign(claims(issuer))
    for _ in range(5):
        assert (await door.refused(token)).status == 401
    assert len(issuer.asked) == 2, "it was asked a moment ago"
    door.clock.advance(AGAIN_SECONDS)
    assert await door.caller(token) is not None
    assert len(issuer.asked) == 4
    assert (await door.refused(old)).status == 401, "the key it was signed with is gone"
    for kid in range(50):
        await door.refused(by_hand({"alg": "RS256", "kid": f"made-up-{kid}"}, claims(issuer)))
    assert len(issuer.asked) == 4


async def test_an_issuer_that_was_never_reached_is_unavailable_and_asked_again_soon(issuer: Issuer, door: Door) -> None:
    token = issuer.sign(claims(issuer))
    issuer.down = True
    for _ in range(3):
        with pytest.raises(Unavailable):
            await door.caller(token)
    assert len(issuer.asked) == 1
    issuer.down = False
    door.clock.advance(RETRY_SECONDS)
    assert await door.caller(token) is not None


async def test_keys_are_kept_for_a_day_while_the_issuer_is_down_and_no_longer(issuer: Issuer, door: Door) -> None:
    token = issuer.sign(claims(issuer, exp=NOW + 10 * 86_400))
    await door.caller(token)
    issuer.down = True
    door.clock.advance(REFRESH_SECONDS + 1)
    assert await door.caller(token) is not None
    await until(lambda: len(issuer.asked) == 3)
    with pytest.raises(Unavailable):
        await door.caller(by_hand({"alg": "RS256", "kid": "new"}, claims(issuer)))
    door.clock.advance(LONGEST_SECONDS)
    with pytest.raises(Unavailable):
        await door.caller(token)


async def test_a_key_that_the_issuer_takes_back_ends_within_the_hour(issuer: Issuer, door: Door) -> None:
    token = issuer.sign(claims(issuer, exp=NOW + 10 * 86_400))
    await door.caller(token)
    issuer.rotate("second")
    door.clock.advance(REFRESH_SECONDS + 1)
    await door.caller(token)  # has them read again
    await until(lambda: len(issuer.asked) == 4)
    await until(lambda: door.oidc._keys._reading is None)
    assert (await door.refused(token)).status == 401


@pytest.mark.parametrize(
    "changed",
    [
        {"issuer": "https://evil.example"},
        {"issuer": None},
        {"jwks_uri": None},
        {"jwks_uri": 7},
        {"jwks_uri": "http://169.254.169.254/keys"},
        {"jwks_uri": "https://10.0.0.1/keys"},
        {"jwks_uri": "file:///etc/passwd"},
    ],
)
async def test_a_discovery_document_that_leads_elsewhere_is_not_followed(
    issuer: Issuer, door: Door, changed: dict[str, Any]
) -> None:
    issuer.changed = changed
    with pytest.raises(Unavailable) as refusal:
        await door.caller(issuer.sign(claims(issuer)))
    assert "169" not in refusal.value.what
    assert len(issuer.asked) == 1


@pytest.mark.parametrize(
    "says",
    [
        b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]",
        b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nnull",
        b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n<p>",
        b"HTTP/1.1 200 OK\r\ncontent-length: 9000\r\n\r\n" + b"[" * 9000,
        b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n" + b" " * 1_000_000,
        b"nonsense\r\n\r\n",
    ],
)
async def test_an_issuer_that_says_nonsense_is_unavailable(issuer: Issuer, door: Door, says: bytes) -> None:
    issuer.says = says
    with pytest.raises(Unavailable):
        await door.caller(issuer.sign(claims(issuer)))
    assert "/elsewhere" not in issuer.asked


@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")  # keys that are too short
async def test_a_key_set_is_taken_without_what_is_no_key_in_it(issuer: Issuer, door: Door) -> None:
    weak = RSAKey.generate_key(1024, {"kid": "weak"})
    shared = OctKey.generate_key(256, {"kid": "shared"})
    private = RSAKey.generate_key(2048, {"kid": "private"})
    issuer.more_keys = [
        *(None, 7, "x", [], {}, {"kty": "RSA"}, {"kty": "RSA", "n": "?", "e": "?"}, {"kty": "XYZ", "kid": "first"}),
        *({"kty": "EC", "crv": "P-0", "x": "", "y": ""}, {"kty": [], "kid": {}}),
        {**private.as_dict(private=False), "key_ops": 7},
        {**private.as_dict(private=False), "use": "enc"},
        weak.as_dict(private=False),
        shared.as_dict(private=True),
        private.as_dict(private=True),
    ]
    assert await door.caller(issuer.sign(claims(issuer))) is not None
    assert (await door.refused(jwt.encode({"alg": "RS256", "kid": "weak"}, claims(issuer), weak))).status == 401
    assert (await door.refused(jwt.encode({"alg": "RS256", "kid": "private"}, claims(issuer), private))).status == 401
    start = f"{encoded({'alg': 'HS256', 'kid': 'shared'})}.{encoded(claims(issuer))}"
    assert (await door.refused(f"{start}.{encoded(b'x' * 32)}")).status == 401


async def test_a_caller_who_breaks_off_does_not_end_the_reading_for_others(issuer: Issuer, door: Door) -> None:
    token = issuer.sign(claims(issuer))
    first, second = (asyncio.create_task(door.caller(token)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    assert await second is not None


# ---------------------------------------------------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"audience": ""}, "PRELABEL_OIDC_AUDIENCE"),
        ({"roles": {}}, "PRELABEL_OIDC_ROLES"),
        ({"project_claim": ""}, "PRELABEL_OIDC_PROJECT_CLAIM"),
        ({"issuer": "http://login.example/"}, "PRELABEL_OIDC_ISSUER: .*https"),
        ({"issuer": "https://login.internal/"}, "PRELABEL_OIDC_ISSUER: .*PRELABEL_EGRESS_ALLOW"),
        ({"issuer": "login.example"}, "PRELABEL_OIDC_ISSUER"),
        ({"roles": {"a": "king"}}, "PRELABEL_OIDC_ROLES"),
        ({"leeway_seconds": 61}, "PRELABEL_OIDC_LEEWAY_SECONDS"),
        ({"algorithms": ()}, "PRELABEL_OIDC_ALGORITHMS"),
        ({"projects": {"a": ["Not a slug"]}}, "PRELABEL_OIDC_PROJECTS"),
    ],
)
async def test_settings_that_let_in_nobody_or_too_many_are_refused(settings: dict[str, Any], said: str) -> None:
    egress = Egress(EgressPolicy(), EgressSettings(), purpose="oidc", metrics=Metrics())
    with pytest.raises(Refused, match=f"^{said}"):
        Oidc(
            OidcSettings(**{"issuer": "https://login.example", **MAPPED, **settings}),
            egress=egress,
            clock=ManualClock(),
        )
    await egress.aclose()
