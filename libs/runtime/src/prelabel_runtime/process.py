"""What every process does the same: sockets, HTTP servers, signals, and what it ends with."""

import asyncio
import contextlib
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from . import log
from .connections import Connection
from .errors import Refused, Unavailable
from .health import Health, probes
from .metrics import Metrics
from .service import Part
from .settings import ProcessSettings, RuntimeSettings

_log = log.get("prelabel.process")

EXIT_REFUSED, EXIT_UNAVAILABLE, EXIT_DEFECT = 2, 3, 70


class Server(uvicorn.Server):
    """A server that leaves signals to us: they must stop loops and servers in order."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave them."""
        yield


def server(app: ASGIApp, **options: Any) -> Server:
    """A server of an application, for a socket of `listen`. `options` are uvicorn's own."""
    common: dict[str, Any] = {
        "log_config": None,
        "access_log": False,
        "lifespan": "off",
        "server_header": False,
        "http": Connection,
        "timeout_graceful_shutdown": 10,
        "h11_max_incomplete_event_size": 64 * 1024,
    }
    return Server(uvicorn.Config(app, **common | options))


def api_server(app: ASGIApp, settings: RuntimeSettings) -> Server:
    """A service's server: it believes the proxies in front about who calls, and nobody else."""
    return server(app, forwarded_allow_ips=[str(network) for network in settings.proxies])


def listen(host: str, port: int, setting: str) -> socket.socket:
    """A bound socket. Raises `Refused`, naming the setting that would help."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise Refused(f"cannot listen on {host}:{port} ({error.strerror}): set {setting} to another port") from None
    return listener  # whoever serves it listens: until then a caller is refused, not left waiting


def on_signals(stopping: asyncio.Event) -> None:
    """Set it when told to end."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)


def event_loop() -> Callable[[], asyncio.AbstractEventLoop]:
    """What makes this process's event loop: uvloop's where there is one."""
    try:
        import uvloop
    except ImportError:  # not there on Windows
        return asyncio.new_event_loop
    return uvloop.new_event_loop


async def serve_application(
    app: ASGIApp,
    parts: Sequence[Part],
    *,
    settings: ProcessSettings,
    health: Health,
    metrics: Metrics,
    stopping: asyncio.Event | None = None,
    **options: Any,
) -> None:
    """Serve one application that needs no bus and no store until `stopping` is set; without one, until a signal."""
    if stopping is None:
        on_signals(stopping := asyncio.Event())
    with contextlib.ExitStack() as sockets:
        probe_socket = sockets.enter_context(listen(settings.host, settings.health_port, "PRELABEL_HEALTH_PORT"))
        api_socket = sockets.enter_context(listen(settings.host, settings.port, "PRELABEL_PORT"))
        async with contextlib.AsyncExitStack() as started, asyncio.TaskGroup() as group:
            probe, api = server(probes(health, metrics)), server(app, **options)
            group.create_task(probe.serve([probe_socket]))
            for part in parts:
                await part.start()
                started.push_async_callback(part.stop)
            running = [group.create_task(part.run()) for part in parts]
            serving = group.create_task(api.serve([api_socket]))
            health.started = True
            _log.info("started", port=settings.port)
            await stopping.wait()
            _log.info("stopping")
            health.started = False
            api.should_exit = True
            await asyncio.wait([serving])
            for task in running:
                task.cancel()
            probe.should_exit = True
    _log.info("stopped")


def run(name: str, work: Callable[[], Awaitable[None]]) -> int:
    """Run a process's work on an event loop of ours; returns the exit code. `Fatal` and defects are logged."""

    async def working() -> None:
        await work()

    try:
        with asyncio.Runner(loop_factory=event_loop()) as runner:
            runner.run(working())
    except Exception as error:
        return outcome(name, error)
    return 0


def outcome(name: str, error: BaseException) -> int:
    """The exit code of what ended a process, said in one line or logged."""
    cause = first(error) if isinstance(error, BaseExceptionGroup) else error
    if isinstance(cause, Refused):
        return _tell(name, str(cause), EXIT_REFUSED)
    if isinstance(cause, Unavailable):
        # Some say what does not answer, most say it all.
        whole = any(word in cause.what for word in (" not ", " no ", " is ", ": "))
        return _tell(name, cause.what if whole else f"{cause.what} does not answer", EXIT_UNAVAILABLE)
    _log.critical("ended by a defect", error=type(cause).__name__, detail=str(cause), exc_info=cause)
    return EXIT_DEFECT


def first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first error that is no group."""
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _tell(name: str, line: str, code: int) -> int:
    sys.stderr.write(f"prelabel {name}: {line}\n")
    return code
