"""An existing MongoDB: TLS, SCRAM, certificates. Both forms of the driver.

The server here knows neither TLS nor users, so a gate stands before it (tests/rig/mongo_gate.py): what our side does is
real, down to the handshakes.
"""

import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from prelabel_runtime.clock import SystemClock
from prelabel_runtime.errors import Refused
from prelabel_runtime.run import open_store
from prelabel_runtime.settings import RuntimeSettings
from prelabel_runtime.store.base import Store, StoredTask

from deploy.local.certificates import Authority
from deploy.local.ports import LOOPBACK
from tests.rig.mongo_gate import MongoGate
from tests.rig.servers import ServerHandle

pytestmark = pytest.mark.mongo

PASSWORD = "p@ss:w/rd,=42"
Environment = pytest.MonkeyPatch
TASK = StoredTask("u1", "mails", "t1", 1, 1, "c", "canary-9d1e")


@pytest.fixture(params=["motor", "pymongo"])
def driver(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "certificates")


@pytest.fixture
def store(monkeypatch: Environment, driver: str) -> Callable[..., Any]:
    """A store on a gate, opened with these settings; stopped at the end."""

    @contextlib.asynccontextmanager
    async def opened(gate: MongoGate, address: str = "", **settings: str) -> AsyncIterator[Store]:
        for name, value in settings.items():
            monkeypatch.setenv(f"PRELABEL_MONGO_{name.upper()}", value)
        chosen = RuntimeSettings(
            store=f"{address or gate.address}/secured-{driver}", mongo_driver=driver, start_seconds=4
        )
        one = open_store(chosen, SystemClock())
        await one.start()
        try:
            yield one
        finally:
            await one.stop()

    return opened


def served_by(authority: Authority, host: str = LOOPBACK, *, asks: bool = False) -> ssl.SSLContext:
    """The server's side of TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.issue("mongo", host).both)
    if asks:
        context.load_verify_locations(authority.cert)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


async def works(store: Store) -> None:
    await store.tasks.put([TASK])
    assert await store.tasks.get("mails", "u1") == TASK
    await store.check()


async def test_a_user_comes_in_by_a_password_from_a_file(
    mongo_server: ServerHandle, store: Callable[..., Any], tmp_path: Path
) -> None:
    file = tmp_path / "password"
    file.write_text(PASSWORD + "\n")
    async with MongoGate(mongo_server.address, {"prelabel": PASSWORD}).open() as gate:
        shown = {"username": "prelabel", "password_file": str(file), "auth_mechanism": "SCRAM-SHA-256"}
        async with store(gate, **shown, auth_source="people") as one:
            await works(one)
    assert set(gate.mechanisms) == {"SCRAM-SHA-256"}
    assert set(gate.sources) == {"people"}


async def test_a_user_in_the_address_comes_in_as_before(mongo_server: ServerHandle, store: Callable[..., Any]) -> None:
    async with MongoGate(mongo_server.address, {"prelabel": "simple"}).open() as gate:
        address = gate.address.replace("://", "://prelabel:simple@")
        chosen = f"{address}/db?authSource=admin&authMechanism=SCRAM-SHA-256"
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PRELABEL_STORE", chosen)
            one = open_store(RuntimeSettings(), SystemClock())
        await one.start()
        await works(one)
        await one.stop()


async def test_a_wrong_password_is_refused_at_once_in_a_line_without_it(
    mongo_server: ServerHandle, store: Callable[..., Any]
) -> None:
    async with MongoGate(mongo_server.address, {"prelabel": PASSWORD}).open() as gate:
        shown = {"username": "prelabel", "password": "not that one", "auth_mechanism": "SCRAM-SHA-256"}
        with pytest.raises(Refused, match=r"does not let us in: check .*PRELABEL_MONGO_PASSWORD") as refused:
            async with store(gate, **shown):
                pass
    assert "not that one" not in str(refused.value)
    assert "\n" not in str(refused.value)


async def test_a_user_without_the_right_to_write_is_told_so_without_what_was_written(
    mongo_server: ServerHandle, store: Callable[..., Any]
) -> None:
    gate = MongoGate(mongo_server.address, {"reader": PASSWORD}, readers=frozenset({"reader"}))
    async with gate.open():
        shown = {"username": "reader", "password": PASSWORD, "auth_mechanism": "SCRAM-SHA-256"}
        async with store(gate, **shown) as one:
            with pytest.raises(Refused, match=r"not authorized on secured-.*role readWrite") as refused:
                await one.tasks.put([TASK])
            assert TASK.body not in str(refused.value)


async def test_connections_are_encrypted_and_the_server_is_who_it_says(
    mongo_server: ServerHandle, store: Callable[..., Any], authority: Authority
) -> None:
    gate = MongoGate(mongo_server.address, tls=served_by(authority))
    async with gate.open(), store(gate, ca_file=str(authority.cert)) as one:
        await works(one)


@pytest.mark.parametrize(
    ("host", "settings", "said"),
    [
        (LOOPBACK, {"tls": "true"}, "do not trust: see PRELABEL_MONGO_CA_FILE"),
        ("elsewhere.invalid", {"ca_file": "ours"}, "for another .*PRELABEL_MONGO_VERIFY_HOSTNAME"),
    ],
)
async def test_a_server_that_we_do_not_trust_is_refused_with_the_setting(
    mongo_server: ServerHandle, store: Callable[..., Any], authority: Authority,
    host: str, settings: dict[str, str], said: str,
) -> None:  # fmt: skip
    chosen = {name: str(authority.cert) if value == "ours" else value for name, value in settings.items()}
    async with MongoGate(mongo_server.address, tls=served_by(authority, host)).open() as gate:
        with pytest.raises(Refused, match=said):
            async with store(gate, **chosen):
                pass


async def test_a_certificate_for_another_name_is_taken_when_told_to(
    mongo_server: ServerHandle, store: Callable[..., Any], authority: Authority
) -> None:
    gate = MongoGate(mongo_server.address, tls=served_by(authority, "elsewhere.invalid"))
    async with gate.open(), store(gate, ca_file=str(authority.cert), verify_hostname="false") as one:
        await works(one)


async def test_a_user_comes_in_by_a_certificate_whose_key_is_locked(
    mongo_server: ServerHandle, store: Callable[..., Any], authority: Authority
) -> None:
    ours = authority.issue("prelabel", password="opens it")
    gate = MongoGate(mongo_server.address, {"prelabel": ""}, tls=served_by(authority, asks=True))
    async with gate.open():
        shown = {"cert_file": str(ours.cert), "key_file": str(ours.key), "key_password": "opens it"}
        async with store(gate, ca_file=str(authority.cert), auth_mechanism="MONGODB-X509", **shown) as one:
            await works(one)
    assert set(gate.mechanisms) == {"MONGODB-X509"}
    assert set(gate.sources) == set()


async def test_tls_where_the_server_has_none_is_refused(mongo_server: ServerHandle, store: Callable[..., Any]) -> None:
    async with MongoGate(mongo_server.address).open() as gate:
        with pytest.raises(Refused, match=r"uses no TLS there: see PRELABEL_MONGO_TLS"):
            async with store(gate, tls="true"):
                pass
