"""Answers in many parts: pages, lines, events."""

import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prelabel_client.errors import NotFound, TryLater, Unreachable
from prelabel_client.retry import Retries
from prelabel_client.sse import EventParser, ServerEvent
from prelabel_client.streams import Many, Page, events, ndjson, pages
from prelabel_client.wire import Close, Give, Lost, Open, Read, Reply, Request, Send, Wait, get

BROKEN = Lost("broke off", sent=True)
REQUEST = Request("GET", "/v1/x", repeatable=True)


class Server:
    """Answers in order: to requests, and to reads."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.requests: list[Request] = []

    def items(self, many: Many[Any], *, seconds: float = 0.0) -> list[Any]:
        """What the caller is given. `seconds`: how long each read takes."""
        now = 0.0
        steps, found = many.flow(Retries(rng=random.Random(1), now=lambda: now)), []
        try:
            step = next(steps)
            while True:
                got = None
                match step:
                    case Give(item):
                        found.append(item)
                    case Send(request) | Open(request):
                        self.requests.append(request)
                        got = self.answers.pop(0)
                    case Read():
                        now += seconds
                        got = self.answers.pop(0)
                    case Wait() | Close():
                        pass
                step = steps.send(got)
        except StopIteration:
            return found


def page(*items: int, after: str | None) -> Reply:
    return Reply(200, {}, b'{"items": %s, "next": %s}' % (str(list(items)).encode(), _quoted(after)))


def _quoted(word: str | None) -> bytes:
    return b"null" if word is None else f'"{word}"'.encode()


ASKED = get("/v1/x", lambda found: Page(found["items"], found["next"]), limit=2)


def test_pages_are_read_to_their_end() -> None:
    server = Server(page(1, 2, after="a"), page(3, 4, after="b"), page(5, after=None))
    assert server.items(pages(ASKED)) == [1, 2, 3, 4, 5]
    assert [request.query.get("cursor") for request in server.requests] == [None, "a", "b"]


def test_no_page_is_asked_for_beyond_the_limit() -> None:
    server = Server(page(1, 2, after="a"), page(3, 4, after="b"))
    assert server.items(pages(ASKED, limit=3)) == [1, 2, 3]
    assert len(server.requests) == 2


@pytest.mark.parametrize("cut", range(1, 24))
def test_lines_may_be_cut_anywhere(cut: int) -> None:
    whole = b'{"n": 1}\n{"n": 2}\n{"n": 3}\n'
    server = Server(Reply(200, {}), whole[:cut], whole[cut:], None)
    assert server.items(ndjson(REQUEST, dict)) == [{"n": 1}, {"n": 2}, {"n": 3}]


@pytest.mark.parametrize("end", [(BROKEN,), (b'{"n": 2', None)])
def test_an_export_that_breaks_off_never_looks_complete(end: Sequence[Any]) -> None:
    with pytest.raises(Unreachable):
        Server(Reply(200, {}), b'{"n": 1}\n', *end).items(ndjson(REQUEST, dict))


def told(number: int) -> bytes:
    return b"id: %d\nevent: progress\ndata: %d\n\n" % (number, number)


def followed() -> Many[int]:
    return events(REQUEST, lambda e: int(e.data) if e.event == "progress" else None, lambda n: n >= 3)


def test_a_run_is_followed_over_a_lost_connection() -> None:
    server = Server(Reply(200, {}), told(1) + b"id: 9\ndata: hal", BROKEN, Reply(200, {}), told(2) + told(3))
    assert server.items(followed()) == [1, 2, 3]
    assert [request.headers.get("Last-Event-ID") for request in server.requests] == [None, "9"]


def test_a_stream_that_ends_early_is_opened_again() -> None:
    server = Server(Reply(200, {}), told(1), None, Lost("nobody", sent=False), Reply(200, {}), told(3))
    assert server.items(followed()) == [1, 3]
    assert server.requests[-1].headers["Last-Event-ID"] == "1"


def test_a_run_that_is_not_known_yet_is_waited_for_at_first_only() -> None:
    unknown, many = Reply(404, {}), events(REQUEST, lambda e: int(e.data), lambda n: n >= 3, appear=1.0)
    assert Server(unknown, unknown, Reply(200, {}), told(3)).items(many) == [3]
    with pytest.raises(NotFound):
        Server(*[unknown] * 5).items(many)
    with pytest.raises(NotFound):
        Server(Reply(200, {}), told(1), None, unknown, unknown).items(many)


def test_a_stream_that_never_says_anything_is_given_up() -> None:
    with pytest.raises(TryLater):
        Server(*[Reply(200, {}), None] * 20).items(followed())


def test_a_stream_that_the_server_ends_now_and_then_is_followed_for_days() -> None:
    server = Server(Reply(200, {}), told(1), *[b": still here\n\n", None, Reply(200, {})] * 50, told(3))
    assert server.items(followed(), seconds=300.0) == [1, 3]


@given(st.lists(st.integers(0, 120), max_size=6), st.sampled_from([b"\n", b"\r\n"]))
def test_events_may_be_cut_anywhere(cuts: list[int], newline: bytes) -> None:
    stream = b": hello\nretry: 1500\n\nid: 7\nevent: a\ndata: one\ndata: tw\xc3\xb6\n\ndata:x\n\n"
    stream += b"event: nothing\n\ndata: open"
    stream = stream.replace(b"\n", newline)
    parser, found, at = EventParser(), [], 0
    for cut in [*sorted(cuts), len(stream)]:
        found += parser.feed(stream[at:cut])
        at = max(at, cut)
    assert found == [ServerEvent("a", "one\ntwö", "7"), ServerEvent("message", "x", "7")]
    assert parser.retry_seconds == 1.5
