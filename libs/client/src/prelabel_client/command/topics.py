"""`prelabel topics plan | apply`: what a Kafka that others run must have."""

import contextlib
import io
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Annotated

import typer

from ..errors import Refused
from .exits import Ended
from .options import Json

topics = typer.Typer(
    help="Topics and rights of a Kafka that others run. Its address and credentials are settings: PRELABEL_BUS, …",
    no_args_is_help=True,
)
Providers = Annotated[str, typer.Option("--providers", help="Model providers, between commas; else those installed.")]
Sources = Annotated[str, typer.Option("--sources", help="Inbound sources, between commas; else those configured.")]
Replication = Annotated[int | None, typer.Option("--replication", min=1, help="Replicas; else the brokers' default.")]
KeepDays = Annotated[
    int | None, typer.Option("--keep-days", min=1, help="Keep for so many days what is kept for ever.")
]
Principal = Annotated[str, typer.Option("--principal", help="Who a service is to Kafka.")]
Upstream = Annotated[str | None, typer.Option("--upstream", help="Who writes to an inbound source.")]
SERVICE = "User:prelabel-{service}"


@topics.command()
def plan(
    providers: Providers = "",
    sources: Sources = "",
    replication: Replication = None,
    keep_days: KeepDays = None,
    principal: Principal = SERVICE,
    upstream: Upstream = None,
    check: Annotated[bool, typer.Option("--check", help="Exit with 1 if anything is missing or differs.")] = False,
    json: Json = False,
) -> None:
    """Show topics and rights that are needed, and how Kafka differs.

    \b
    Example:
      PRELABEL_BUS=kafka://broker:9092 prelabel topics plan --providers rules,spacy
    """
    options = _options(providers, sources, replication, keep_days, principal, upstream, json=json)
    _run(["plan", *options, *(["--check"] if check else [])])


@topics.command()
def apply(
    providers: Providers = "",
    sources: Sources = "",
    replication: Replication = None,
    keep_days: KeepDays = None,
    principal: Principal = SERVICE,
    upstream: Upstream = None,
    acls: Annotated[bool, typer.Option("--acls", help="Add the missing rights, too.")] = False,
    json: Json = False,
) -> None:
    """Create the topics that are missing. What is there is never changed.

    \b
    Example:
      PRELABEL_BUS=kafka://broker:9092 prelabel topics apply --acls
    """
    options = _options(providers, sources, replication, keep_days, principal, upstream, json=json)
    _run(["apply", *options, *(["--acls"] if acls else [])])


def _options(
    providers: str,
    sources: str,
    replication: int | None,
    keep_days: int | None,
    principal: str,
    upstream: str | None,
    *,
    json: bool,
) -> list[str]:
    given = {
        "--providers": providers,
        "--sources": sources,
        "--replication": replication,
        "--keep-days": keep_days,
        "--principal": principal,
        "--upstream": upstream,
    }
    options = [word for name, value in given.items() if value for word in (name, str(value))]
    return [*options, *(["--json"] if json else [])]


def _run(arguments: Sequence[str]) -> None:
    if find_spec("prelabel_runtime") is None:
        raise Refused("this needs the package prelabel-runtime[kafka] beside this one: pip install it")
    from prelabel_runtime.topics.command import main

    code = main(arguments)
    if code:
        raise Ended(code)


def differs() -> int:
    """The exit code of `plan --check`, without what it prints."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            _run(["plan", "--check"])
        except Ended as ended:
            return ended.code
    return 0
