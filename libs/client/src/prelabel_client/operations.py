"""Operations are declared once, for both clients: `Client` answers with the value, `AsyncClient` with an awaitable.

class Operations:
    project = Once(projects.get)        client.project("mails"), await client.project("mails")
    tasks = Several(tasks.pages)        for task in client.tasks("mails"), async for task in ...
"""

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from functools import update_wrapper
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Self, TypeVar, overload

from .streams import Many
from .wire import Call

if TYPE_CHECKING:
    from .async_client import AsyncClient
    from .client import Client

P = ParamSpec("P")
T = TypeVar("T")


class Once(Generic[P, T]):
    """An operation with one answer."""

    def __init__(self, make: Callable[P, Call[T]]) -> None:
        self.make = make
        self.__doc__ = make.__doc__

    @overload
    def __get__(self, client: None, owner: type) -> Self: ...
    @overload
    def __get__(self, client: "Client", owner: type) -> Callable[P, T]: ...
    @overload
    def __get__(self, client: "AsyncClient", owner: type) -> Callable[P, Coroutine[Any, Any, T]]: ...
    def __get__(self, client: Any, owner: type) -> Any:
        if client is None:
            return self

        def operation(*args: P.args, **kwargs: P.kwargs) -> Any:
            return client.do(self.make(*args, **kwargs))

        return update_wrapper(operation, self.make)


class Several(Generic[P, T]):
    """An operation whose answers come one after the other."""

    def __init__(self, make: Callable[P, Many[T]]) -> None:
        self.make = make
        self.__doc__ = make.__doc__

    @overload
    def __get__(self, client: None, owner: type) -> Self: ...
    @overload
    def __get__(self, client: "Client", owner: type) -> Callable[P, Iterator[T]]: ...
    @overload
    def __get__(self, client: "AsyncClient", owner: type) -> Callable[P, AsyncIterator[T]]: ...
    def __get__(self, client: Any, owner: type) -> Any:
        if client is None:
            return self

        def operation(*args: P.args, **kwargs: P.kwargs) -> Any:
            return client.each(self.make(*args, **kwargs))

        return update_wrapper(operation, self.make)
