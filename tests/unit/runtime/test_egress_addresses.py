"""The guard at the dial: no packet leaves for an address that is denied, however it is written or reached."""

from ipaddress import ip_network

import pytest
from prelabel_runtime.egress import EgressPolicy, EgressSettings, Forbidden, Unreachable, check_url
from prelabel_runtime.egress_addresses import DENIED

from .egress_scene import HOST, Names, egress

PUBLIC = EgressPolicy()

# (range, first, last, just below, just above); "denied" where the neighbour belongs to a denied range of its own.
RANGES = [
    ("0.0.0.0/8", "0.0.0.0", "0.255.255.255", None, "1.0.0.0"),  # noqa: S104
    ("10.0.0.0/8", "10.0.0.0", "10.255.255.255", "9.255.255.255", "11.0.0.0"),
    ("100.64.0.0/10", "100.64.0.0", "100.127.255.255", "100.63.255.255", "100.128.0.0"),
    ("127.0.0.0/8", "127.0.0.0", "127.255.255.255", "126.255.255.255", "128.0.0.0"),
    ("169.254.0.0/16", "169.254.0.0", "169.254.255.255", "169.253.255.255", "169.255.0.0"),
    ("172.16.0.0/12", "172.16.0.0", "172.31.255.255", "172.15.255.255", "172.32.0.0"),
    ("192.0.0.0/24", "192.0.0.0", "192.0.0.255", "191.255.255.255", "192.0.1.0"),
    ("192.0.2.0/24", "192.0.2.0", "192.0.2.255", "192.0.1.255", "192.0.3.0"),
    ("192.88.99.0/24", "192.88.99.0", "192.88.99.255", "192.88.98.255", "192.88.100.0"),
    ("192.168.0.0/16", "192.168.0.0", "192.168.255.255", "192.167.255.255", "192.169.0.0"),
    ("198.18.0.0/15", "198.18.0.0", "198.19.255.255", "198.17.255.255", "198.20.0.0"),
    ("198.51.100.0/24", "198.51.100.0", "198.51.100.255", "198.51.99.255", "198.51.101.0"),
    ("203.0.113.0/24", "203.0.113.0", "203.0.113.255", "203.0.112.255", "203.0.114.0"),
    ("224.0.0.0/4", "224.0.0.0", "239.255.255.255", "223.255.255.255", "denied"),
    ("240.0.0.0/4", "240.0.0.0", "255.255.255.255", "denied", None),
    ("168.63.129.16/32", "168.63.129.16", "168.63.129.16", "168.63.129.15", "168.63.129.17"),
    ("192.0.0.192/32", "192.0.0.192", "192.0.0.192", "denied", "denied"),
    ("100.100.100.200/32", "100.100.100.200", "100.100.100.200", "denied", "denied"),
    ("::/96", "::2", "::ffff:ffff", None, "denied"),
    ("::1/128", "::1", "::1", "denied", "denied"),
    ("64:ff9b::/96", "64:ff9b::", "64:ff9b::ffff:ffff", "denied", "denied"),
    ("64:ff9b:1::/48", "64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", "denied", "denied"),
    ("100::/64", "100::", "100::ffff:ffff:ffff:ffff", "denied", "denied"),
    ("2001::/23", "2001::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", "2000:ffff::1", "2001:200::"),
    ("2001:db8::/32", "2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db7:ffff::1", "2001:db9::"),
    ("2002::/16", "2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2001:ffff::1", "2003::"),
    ("3fff::/20", "3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", "3ffe:ffff::1", "3fff:1000::"),
    ("5f00::/16", "5f00::", "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "denied", "denied"),
    ("fc00::/7", "fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "denied", "denied"),
    ("fe80::/10", "fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "denied", "denied"),
    ("fec0::/10", "fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "denied", "denied"),
    ("ff00::/8", "ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "denied", None),
]
EDGES = [(text, f"first or last of {name}") for name, first, last, *_ in RANGES for text in (first, last)]
NEIGHBOURS = sorted({text for *_, below, above in RANGES for text in (below, above) if text not in (None, "denied")})

EMBEDDED = [
    ("::ffff:127.0.0.1", "mapped loopback"),
    ("::ffff:7f00:1", "the same in hexadecimal"),
    ("::ffff:10.0.0.1", "mapped private"),
    ("::ffff:169.254.169.254", "mapped metadata"),
    ("::ffff:0.0.0.0", "mapped unspecified"),
    ("::127.0.0.1", "compatible loopback"),
    ("::10.0.0.1", "compatible private"),
    ("::ffff:0:10.0.0.1", "translated"),
    ("64:ff9b::127.0.0.1", "NAT64 of loopback"),
    ("64:ff9b::a9fe:a9fe", "NAT64 of metadata"),
    ("64:ff9b:1::a00:1", "local NAT64"),
    ("2002:7f00:1::", "6to4 of loopback"),
    ("2002:a00:1::", "6to4 of 10.0.0.1"),
    ("2002:a9fe:a9fe::1", "6to4 of metadata"),
    ("2001:0:7f00:1::", "Teredo"),
    ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "Teredo in full"),
    ("::", "unspecified"),
    ("fe80::1", "link-local"),
    ("fe80::1%eth0", "a scope id"),
    ("fe80::1%1", "a scope id as a number"),
    ("2606:4700::1%lo", "a scope id on a public address"),
    ("fd00:ec2::254", "Amazon's metadata by IPv6"),
    ("fd20:ce::254", "Google's metadata by IPv6"),
    ("4000::1", "handed out to nobody"),
    ("not an address", "no address at all"),
]


@pytest.mark.parametrize(("address", "why"), [*EDGES, *EMBEDDED])
async def test_no_packet_leaves_for_a_denied_address(address: str, why: str) -> None:
    async with egress(PUBLIC, [address]) as (guarded, dialler):
        with pytest.raises(Forbidden) as refused:
            await guarded.request("POST", f"https://{HOST}/")
    assert dialler.dialled == [], why
    assert str(refused.value) == str(Unreachable("x")), "an outsider sees no difference"


@pytest.mark.parametrize("address", NEIGHBOURS)
async def test_the_public_neighbours_of_denied_ranges_are_dialled(address: str) -> None:
    async with egress(PUBLIC, [address]) as (guarded, dialler):
        with pytest.raises(Unreachable):
            await guarded.request("POST", f"https://{HOST}/")
    assert dialler.dialled == [address]


def test_every_denied_range_stands_in_the_table() -> None:
    tested = {ip_network(name) for name, *_ in RANGES}
    others = {"fd00:ec2::/32", "fd20:ce::/32", "::/128"}
    assert {denied.network for denied in DENIED} == tested | {ip_network(name) for name in others}


SPELLINGS = [
    *("127.0.0.1", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.0.0.1", "0x7f.1", "017700000001"),
    *("0177.0.0.1", "0177.1", "127.0.0.01", "127.000.000.001", "0", "0.0.0.0", "127.0.0.1.", "127.0.0.0x1"),  # noqa: S104
    *("１２７．０．０．１", "127。0。0。1", "①②⑦.0.0.①", "127.0.0.1%00", "127.0.0.1%20", "%31%32%37.0.0.1"),  # noqa: RUF001
    *("[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:0:0:1]", "[::127.0.0.1]", "[::1%25lo]"),
    *("localhost", "LOCALHOST", "localhost.", "ip6-localhost", "localhost.localdomain", "x.localhost"),
]


@pytest.mark.parametrize("host", SPELLINGS)
async def test_no_packet_leaves_for_loopback_however_it_is_written(host: str) -> None:
    # DNS says that all of them are public: what is judged first is how the host is written.
    names = Names({name: [["8.8.8.8"]] for name in (host, host.lower(), host.strip("[]."))})
    async with egress(PUBLIC, names=names) as (guarded, dialler):
        with pytest.raises(Forbidden):
            await guarded.request("GET", f"https://{host}/")
    assert dialler.dialled == []
    assert names.asked == [], "not even DNS is asked"


METADATA = [
    *("169.254.169.254", "[fd00:ec2::254]", "[fd20:ce::254]", "168.63.129.16", "192.0.0.192", "100.100.100.200"),
    *("metadata", "metadata.google.internal", "metadata.packet.net", "metadata.platformequinix.com"),
    *("metadata.tencentyun.com", "instance-data.ec2.internal", "instance-data", "169.254.170.2", "2852039166"),
]
INTERNAL = [
    *("kafka", "mongo.local", "printer.lan", "api.prelabel.svc", "api.prelabel.svc.cluster.local", "db.internal"),
    *("kubernetes.default", "kubernetes.default.svc", "router.home.arpa", "wiki.corp", "a.intranet", "b.private"),
]


@pytest.mark.parametrize("host", [*METADATA, *INTERNAL])
async def test_no_packet_leaves_for_a_cloud_s_metadata_or_a_local_name(host: str) -> None:
    names = Names({host.strip("[]"): [["8.8.8.8"]]})
    async with egress(PUBLIC, names=names) as (guarded, dialler):
        with pytest.raises(Forbidden) as refused:
            await guarded.request("GET", f"https://{host}/latest/meta-data/")
    assert dialler.dialled == []
    assert names.asked == []
    assert "PRELABEL_EGRESS_ALLOW" in refused.value.detail or "notation" in refused.value.detail


# ------------------------------------------------------------------------------------------------- changing answers


async def test_a_name_that_was_public_when_it_was_registered_is_judged_again_at_each_dial() -> None:
    async with egress(PUBLIC, ["8.8.8.8"], ["127.0.0.1"]) as (guarded, dialler):
        check_url(f"https://{HOST}/", guarded.policy)
        with pytest.raises(Unreachable):
            await guarded.request("POST", f"https://{HOST}/")
        for _ in range(3):
            with pytest.raises(Forbidden, match="could not be reached"):
                await guarded.request("POST", f"https://{HOST}/")
    assert dialler.dialled == ["8.8.8.8"]


async def test_what_is_dialled_is_what_was_judged_not_what_a_second_look_up_says() -> None:
    names = Names({HOST: [["8.8.8.8"], ["127.0.0.1"]]})
    async with egress(PUBLIC, names=names) as (guarded, dialler):
        with pytest.raises(Unreachable):
            await guarded.request("POST", f"https://{HOST}/")
    assert names.asked == [HOST]
    assert dialler.dialled == ["8.8.8.8"]


@pytest.mark.parametrize(
    "answer",
    [
        ["8.8.8.8", "127.0.0.1"],
        ["8.8.8.8", "2606:4700::1", "::1"],
        ["2606:4700::1", "10.0.0.1"],
        ["8.8.8.8", "::ffff:10.0.0.1"],
        ["8.8.8.8", "fe80::1%eth0"],
    ],
)
async def test_one_denied_address_among_good_ones_refuses_the_host(answer: list[str]) -> None:
    async with egress(PUBLIC, answer) as (guarded, dialler):
        with pytest.raises(Forbidden):
            await guarded.request("POST", f"https://{HOST}/")
    assert dialler.dialled == []


async def test_the_next_address_is_tried_where_one_does_not_answer() -> None:
    async with egress(PUBLIC, ["2606:4700::1", "8.8.8.8", "::ffff:9.9.9.9"]) as (guarded, dialler):
        with pytest.raises(Unreachable):
            await guarded.request("POST", f"https://{HOST}/")
    assert dialler.dialled == ["2606:4700::1", "8.8.8.8", "9.9.9.9"]


@pytest.mark.parametrize("names", [Names({HOST: [[]]}), Names({})], ids=["no address", "no such host"])
async def test_a_host_without_an_address_may_have_one_later(names: Names) -> None:
    async with egress(PUBLIC, names=names) as (guarded, _):
        with pytest.raises(Unreachable) as failed:
            await guarded.request("GET", f"https://{HOST}/")
    assert "no address" in failed.value.detail


# -------------------------------------------------------------------------------------------------------- allowed


def allowing(*entries: str, deny: tuple[str, ...] = ()) -> EgressPolicy:
    return EgressPolicy.of(EgressSettings(allow=entries, deny=deny))


@pytest.mark.parametrize(
    ("allow", "host", "resolved", "reached"),
    [
        (("10.2.0.0/16",), HOST, "10.2.3.4", True),
        (("10.2.0.0/16",), HOST, "10.3.0.1", False),
        (("10.2.0.0/16",), HOST, "::ffff:10.2.3.4", True),
        (("fd12::/16",), HOST, "fd12::7", True),
        (("ner.ml.svc",), "ner.ml.svc", "10.9.9.9", True),
        (("ner.ml.svc",), "other.ml.svc", "10.9.9.9", False),
        (("kafka",), "kafka", "172.18.0.3", True),
        (("*.models.lan",), "a.models.lan", "192.168.1.4", True),
        (("*.models.lan",), "models.lan", "192.168.1.4", False),
        (("*.models.lan",), "evilmodels.lan", "192.168.1.4", False),
        (("ner.ml.svc",), "ner.ml.svc", "169.254.169.254", False),
        (("ner.ml.svc",), "ner.ml.svc", "168.63.129.16", False),
        (("ner.ml.svc",), "ner.ml.svc", "224.0.0.1", False),
        (("0.0.0.0/0",), HOST, "10.0.0.1", True),
        (("0.0.0.0/0",), HOST, "169.254.169.254", False),
        (("169.254.0.0/16",), HOST, "169.254.169.254", False),
        (("169.254.169.254/32",), HOST, "169.254.169.254", True),
        (("168.63.129.16",), HOST, "168.63.129.16", True),
        (("198.18.0.0/15",), HOST, "198.18.0.1", True),
        (("::/0",), HOST, "fd00:ec2::254", False),
    ],
)
async def test_a_private_target_is_reached_only_where_it_is_allowed(
    allow: tuple[str, ...], host: str, resolved: str, reached: bool
) -> None:
    async with egress(allowing(*allow), [resolved], host=host) as (guarded, dialler):
        with pytest.raises(Unreachable if reached else Forbidden):
            await guarded.request("GET", f"https://{host}/")
    assert bool(dialler.dialled) == reached


async def test_a_denied_public_range_counts_before_what_is_allowed() -> None:
    policy = allowing("8.8.8.0/24", "dns.example", deny=("8.8.0.0/16",))
    for host in (HOST, "dns.example"):
        async with egress(policy, ["8.8.8.8"], host=host) as (guarded, dialler):
            with pytest.raises(Forbidden) as refused:
                await guarded.request("GET", f"https://{host}/")
        assert dialler.dialled == []
        assert "PRELABEL_EGRESS_DENY" in refused.value.detail


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
async def test_the_one_process_form_may_call_its_own_machine(host: str) -> None:
    resolved = {"localhost": "127.0.0.1"}.get(host, host.strip("[]"))
    for loopback in (True, False):
        policy = EgressPolicy.of(EgressSettings(), loopback=loopback)
        async with egress(policy, [resolved], host=host.strip("[]")) as (guarded, dialler):
            with pytest.raises(Unreachable if loopback else Forbidden) as told:
                await guarded.request("GET", f"http://{host}:9000/hook")
        assert dialler.dialled == ([resolved] if loopback else [])
        assert loopback or "PRELABEL_EGRESS_ALLOW" in told.value.detail


async def test_a_socket_of_this_machine_is_no_target() -> None:
    async with egress(PUBLIC) as (guarded, _):
        backend = guarded._transport._pool._network_backend
        with pytest.raises(Forbidden):
            await backend.connect_unix_socket("/var/run/docker.sock")


async def test_nothing_of_the_environment_becomes_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with egress(PUBLIC, ["8.8.8.8"]) as (guarded, dialler):
        with pytest.raises(Unreachable):
            await guarded.request("GET", f"https://{HOST}/")
    assert dialler.dialled == ["8.8.8.8"]
