"""Prelabel's Python SDK: `Client`, `AsyncClient`, what they answer, and what they raise.

    with Client() as client:                  # address and key: arguments, environment, or the profile
        run = client.submit("mails", ({"data": {"text": line}} for line in lines))
        for progress in client.follow("mails", run.run):
            print(progress.done, progress.total)

Names are loaded when they are first used: the `prelabel` command starts in no time.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .async_client import AsyncClient as AsyncClient
    from .client import Client as Client
    from .errors import Defect as Defect
    from .errors import NoAccess as NoAccess
    from .errors import NotFound as NotFound
    from .errors import PrelabelError as PrelabelError
    from .errors import Refused as Refused
    from .errors import TryLater as TryLater
    from .errors import Unreachable as Unreachable
    from .retry import Retries as Retries

_WHERE = {
    "Client": "client",
    "AsyncClient": "async_client",
    "Retries": "retry",
    **dict.fromkeys(
        ("PrelabelError", "Refused", "NoAccess", "NotFound", "TryLater", "Unreachable", "Defect"), "errors"
    ),
}
__all__ = [  # noqa: PLE0604 - the names of _WHERE
    *_WHERE
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_WHERE[name]}", __name__), name)
