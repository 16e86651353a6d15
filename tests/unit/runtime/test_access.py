"""Rules of routes, and how keys are written."""

import os
from collections.abc import Callable

import pytest
from fastapi import APIRouter, Response
from prelabel_runtime.http.access import ADMINS, READERS, Caller, Reach, allow, changes, ruled
from prelabel_runtime.http.app import application
from prelabel_runtime.http.credentials import hash_of, id_in, new_credential
from starlette.requests import Request


async def _answer() -> Response:
    return Response()


def _nested(add: Callable[[APIRouter], object], prefix: str = "") -> list[APIRouter]:
    """A router in a router, as services write them."""
    inner, outer = APIRouter(), APIRouter(prefix=prefix)
    add(inner)
    outer.include_router(inner)
    return [outer]


@pytest.mark.parametrize(
    "add",
    [
        lambda router: router.get("/x")(_answer),
        lambda router: router.get("/x", dependencies=[allow("x.get", READERS, Reach.LISTING)] * 2)(_answer),
        lambda router: router.get("/x", dependencies=[allow("x.get", READERS)])(_answer),
        lambda router: router.get("/x/{project}", dependencies=[allow("x.get", READERS, Reach.LISTING)])(_answer),
        lambda router: router.get("/x/{y}", dependencies=[allow("x.get", READERS, Reach.ANYONE)])(_answer),
        lambda router: router.get("/x", include_in_schema=False, dependencies=[allow("x.get", READERS, Reach.LISTING)])(
            _answer
        ),
        lambda router: router.add_route("/x", lambda request: Response()),
        lambda router: router.websocket("/x")(_answer),
    ],
    ids=["none", "two", "no project", "not its project", "open", "hidden", "plain", "websocket"],
)
def test_an_application_with_a_route_whose_rule_cannot_be_kept_does_not_start(
    add: Callable[[APIRouter], object],
) -> None:
    with pytest.raises(TypeError, match="/x"):
        application(_nested(add), title="x")


def test_every_operation_says_its_rule_with_the_path_it_is_reached_by() -> None:
    def add(router: APIRouter) -> None:
        router.get("/x", dependencies=[allow("x.get", READERS)])(_answer)
        router.put("/x", dependencies=[changes("x.put", ADMINS)])(_answer)

    app = application(_nested(add, "/v1/projects/{project}"), title="x")
    (path,) = app.openapi()["paths"].items()
    assert path[0] == "/v1/projects/{project}/x"
    assert {method: operation["x-prelabel-rule"] for method, operation in path[1].items()} == {
        "get": {"action": "x.get", "audited": False, "reach": "project", "roles": sorted(READERS)},
        "put": {"action": "x.put", "audited": True, "reach": "project", "roles": ["admin"]},
    }
    assert {route.path for route in ruled(app)} == {"/v1/projects/{project}/x"}


async def test_a_rule_lets_nobody_pass_whom_no_guard_has_named() -> None:
    dependency = allow("x.get", READERS, Reach.LISTING).dependency
    with pytest.raises(Exception, match="no key"):
        await dependency(Request({"type": "http", "state": {"caller": None}, "path_params": {}}))


def test_a_caller_of_some_projects_reaches_no_other() -> None:
    assert Caller("a", "a", "admin").reaches("mails")
    assert Caller("a", "a", "admin", frozenset({"mails"})).reaches("mails")
    assert not Caller("a", "a", "admin", frozenset({"mails"})).reaches("mail")
    assert not Caller("a", "a", "admin", frozenset()).reaches("mails")


# ---------------------------------------------------------------------------------------------- how keys are written


def test_no_two_keys_are_the_same_and_each_says_its_id() -> None:
    made = [new_credential(os.urandom) for _ in range(200)]
    assert len({one.key for one in made}) == len({one.id for one in made}) == 200
    for one in made:
        assert id_in(one.key) == one.id
        assert len(one.key) == len("pl_") + 12 + 1 + 33
        assert one.key not in repr(one)
        assert hash_of(one.key) not in repr(one)


def test_every_typo_is_told_from_a_key_without_a_look_up() -> None:
    key = new_credential(os.urandom).key
    for place in range(3, len(key)):
        if key[place] != "_":
            typo = key[:place] + ("a" if key[place] != "a" else "b") + key[place + 1 :]
            assert id_in(typo) is None, typo
    for start in range(16, len(key) - 1):
        swapped = key[:start] + key[start + 1] + key[start] + key[start + 2 :]
        assert swapped == key or id_in(swapped) is None


@pytest.mark.parametrize("sent", ["", "pl_", "pl_a_b", "pl_" + "a" * 100, "x" * 10_000, "pl_é_ü", "\0"])
def test_what_is_no_key_has_no_id(sent: str) -> None:
    assert id_in(sent) is None


def test_a_key_around_which_something_stands_is_none() -> None:
    key = new_credential(os.urandom).key
    for sent in (f" {key}", f"{key} ", f"{key}\n", key.upper(), key.replace("pl_", "PL_")):
        assert id_in(sent) is None
