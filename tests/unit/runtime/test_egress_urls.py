"""A URL is judged as it is written, when it is registered: each refusal says what is wrong with it."""

import re
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prelabel_runtime.egress import EgressPolicy, EgressSettings, Forbidden, check_headers, check_url
from prelabel_runtime.errors import Refused

PUBLIC = EgressPolicy()


@pytest.mark.parametrize(
    ("url", "called"),
    [
        ("https://hooks.example", "https://hooks.example/"),
        ("https://hooks.example/a/b?c=d&e", "https://hooks.example/a/b?c=d&e"),
        ("HTTPS://Hooks.Example:443/", "https://hooks.example/"),
        ("https://hooks.example:8443/", "https://hooks.example:8443/"),
        ("https://hooks.example:80/", "https://hooks.example:80/"),
        ("https://hooks.example:65535/", "https://hooks.example:65535/"),
        ("https://bücher.example/", "https://xn--bcher-kva.example/"),
        ("https://例え。テスト/", "https://xn--r8jz45g.xn--zckzah/"),
        ("https://xn--bcher-kva.example/", "https://xn--bcher-kva.example/"),
        ("https://my_host.example/", "https://my_host.example/"),
        ("https://hooks.example/straße?q=ü", "https://hooks.example/stra%C3%9Fe?q=%C3%BC"),
        ("https://hooks.example/%2e%2e/a%20b", "https://hooks.example/%2e%2e/a%20b"),
        ("https://127.0.0.1.nip.example/", "https://127.0.0.1.nip.example/"),
    ],
)
def test_a_url_is_called_in_one_form(url: str, called: str) -> None:
    target = check_url(url, PUBLIC)
    assert target.url == called
    assert check_url(target.url, PUBLIC) == target


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "https://"),
        ("hooks.example", "https://"),
        ("//hooks.example/", "https://"),
        ("https:/hooks.example/", "https://"),
        ("ftp://hooks.example/", "https://"),
        ("file:///etc/passwd", "https://"),
        ("gopher://hooks.example:6379/_INFO", "https://"),
        ("unix:///var/run/docker.sock", "https://"),
        ("http+unix://%2Fvar%2Frun%2Fdocker.sock/", "https://"),
        ("javascript://hooks.example/", "https://"),
        ("data:text/plain,x", "https://"),
        ("ws://hooks.example/", "https://"),
        ("http://hooks.example/", "PRELABEL_EGRESS_HTTP"),
        ("https://", "host"),
        ("https:///path", "host"),
        ("https://?q", "host"),
        ("https://good@hooks.example/", "user name"),
        ("https://u:p@hooks.example/", "user name"),
        ("https://@hooks.example/", "user name"),
        ("http://good@169.254.169.254/", "user name"),
        ("https://hooks.example@127.0.0.1/", "user name"),
        ("https://hooks.example/#a", "fragment"),
        ("https://hooks.example#@127.0.0.1/", "fragment"),
        ("https://hooks.example/#", "fragment"),
        ("https://hooks.example\\@127.0.0.1/", "backslash"),
        ("https:\\\\hooks.example\\", "backslash"),
        ("https://hooks.example/a b", "spaces"),
        (" https://hooks.example/", "spaces"),
        ("https://hooks.example/\r\nHost: x", "control"),
        ("https://hooks.example/\t", "control"),
        ("ht\ntps://hooks.example/", "control"),
        ("https://hooks.exam\tple/", "control"),
        ("https://hooks.example/\x00", "control"),
        ("https://hooks.example/\u202egnp", "control"),
        ("https://hooks\u200b.example/", "control"),
        ("https://hooks.example/\ud800", "control"),
        ("https://hooks.example:0/", "port 0"),
        ("https://hooks.example:22/", "port 22"),
        ("https://hooks.example:25/", "port 25"),
        ("https://hooks.example:1023/", "port 1023"),
        ("https://hooks.example:65536/", "cannot be read"),
        ("https://hooks.example:-1/", "cannot be read"),
        ("https://hooks.example:/", "cannot be read"),
        ("https://hooks.example:8_0/", "cannot be read"),
        ("https://hooks.example:８０/", "cannot be read"),  # noqa: RUF001
        ("https://hooks.example:443:443/", "cannot be read"),
        ("https://[::1/", "cannot be read"),
        ("https://x[::1]/", "cannot be read"),
        ("https://[::1]x/", "cannot be read"),
        ("https://[v1.x]/", "cannot be read"),
        ("https://hooks..example/", "no host name"),
        ("https://.example/", "no host name"),
        ("https://hooks.example./", "no host name"),
        ("https://-a.example/", "no host name"),
        ("https://a-.example/", "no host name"),
        ("https://" + "a" * 64 + ".example/", "no host name"),
        ("https://" + "a." * 127 + "example/", "no host name"),
        ("https://hooks%2eexample/", "no host name"),
        ("https://hooks.example%00.x/", "no host name"),
        ("https://hooks.example,evil.example/", "no host name"),
        ("https://a/../b.example\u2100/", "word"),
        ("https://\uff0f.example/", "cannot be read"),
        ("https://8.8.8.8/", "in place of a host name"),
        ("https://[2606:4700::1]/", "in place of a host name"),
        ("https://999.999.999.999/", "unusual notation"),
        ("https://1.2.3/", "unusual notation"),
        ("https://example.0x7f/", "unusual notation"),
        ("https://hooks/", "single word"),
        ("https://hooks.example/" + "a" * 2048, "longer"),
    ],
)
def test_a_url_is_refused_with_what_is_wrong_about_it(url: str, said: str) -> None:
    with pytest.raises(Forbidden) as refused:
        check_url(url, PUBLIC)
    assert said in refused.value.detail
    assert "\n" not in refused.value.detail
    assert str(refused.value) == "the target could not be reached"


_PIECES = st.sampled_from(
    [
        *("https://", "http://", "//", ":", "@", "/", "?", "#", "[", "]", "%", ".", "。", "\\", "\t", "443", "22"),
        *("localhost", "127.0.0.1", "::1", "hooks.example", "8.8.8.8", "xn--", "ü", "%2e", "0x7f", "①", "\u00ad"),
        *("\u200d", "\u2113", "\uff0e", "\u2100"),
    ]
)


@settings(max_examples=1000, deadline=None)
@given(st.lists(_PIECES | st.characters(), max_size=8).map("".join), st.booleans())
def test_any_text_is_refused_or_is_a_url_in_one_form(text: str, with_scheme: bool) -> None:
    try:
        target = check_url(("https://" if with_scheme else "") + text, PUBLIC)
    except Forbidden:
        return
    assert target.url.isascii()
    assert check_url(target.url, PUBLIC) == target
    sent = httpx.URL(target.url)
    assert sent.raw_host == target.host.encode(), "the client reads the host that was judged"
    assert (sent.port or 443) == target.port
    assert not re.fullmatch(r"[0-9.]+|.*:.*|localhost", target.host)


def policy(**chosen: Any) -> EgressPolicy:
    return EgressPolicy.of(EgressSettings(**chosen))


@pytest.mark.parametrize(
    ("allowed", "url"),
    [
        (policy(http=True), "http://hooks.example/"),
        (policy(allow=("ner.ml.svc",)), "http://ner.ml.svc:8000/predict"),
        (policy(allow=("NER.ml.svc",)), "https://ner.ML.svc/"),
        (policy(allow=("kafka",)), "https://kafka/"),
        (policy(allow=("10.2.0.0/16",)), "http://10.2.3.4:8000/"),
        (policy(allow=("fd12::/16",)), "http://[fd12::1]:8000/"),
        (policy(allow=("8.8.8.8",)), "https://8.8.8.8/"),
        (policy(ports=("22",)), "https://hooks.example:22/"),
        (policy(ports=("8000-8999",)), "https://hooks.example:8999/"),
    ],
)
def test_what_a_setting_allows_is_refused_without_it(allowed: EgressPolicy, url: str) -> None:
    check_url(url, allowed)
    if ":8999" not in url:
        with pytest.raises(Forbidden) as refused:
            check_url(url, PUBLIC)
        assert refused.value.setting is not None
        assert refused.value.setting in refused.value.detail


def test_ports_that_are_not_listed_are_refused() -> None:
    for port in (443, 7999, 9000):
        with pytest.raises(Forbidden, match="reached"):
            check_url(f"https://hooks.example:{port}/", policy(ports=("8000-8999",)))


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("ALLOW", '["10.0.0.0/33"]', "neither a range"),
        ("ALLOW", '["10.0.0.1/8"]', "neither a range"),
        ("ALLOW", '["http://x"]', "neither a range"),
        ("ALLOW", '["*"]', "neither a range"),
        ("ALLOW", "kafka", "JSON"),
        ("DENY", '["evil.example"]', "names are not denied"),
        ("PORTS", '["0"]', "1-65535"),
        ("PORTS", '["9-8"]', "1-65535"),
        ("PORTS", '["x"]', "neither a port"),
        ("CONNECTIONS", "0", "greater"),
    ],
)
def test_a_setting_that_makes_no_sense_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(f"PRELABEL_EGRESS_{name}", value)
    with pytest.raises(Refused, match=f"^PRELABEL_EGRESS_{name}.*{said}"):
        EgressSettings()


@pytest.mark.parametrize(
    "header",
    [
        *[("Host", "x"), ("content-length", "1"), ("Transfer-Encoding", "chunked"), ("Connection", "close")],
        *[("Upgrade", "h2c"), ("Proxy-Authorization", "x"), ("Accept-Encoding", "gzip"), ("TE", "trailers")],
        *[("", "x"), ("a b", "x"), ("a:b", "x"), ("a\r\nb", "x"), ("ä", "x"), ("a" * 201, "x")],
        *[("a", "x\r\nHost: y"), ("a", "x\n"), ("a", "\x00"), ("a", "ü"), ("a", "x" * 4097)],
    ],
)
def test_a_header_that_would_change_the_request_is_refused(header: tuple[str, str]) -> None:
    with pytest.raises(Forbidden) as refused:
        check_headers([("x-good", "yes"), header])
    assert "\n" not in refused.value.detail
    check_headers([("Authorization", "Bearer secret"), ("x-empty", "")])
