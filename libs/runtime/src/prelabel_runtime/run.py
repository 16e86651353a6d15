"""The composition root: from settings to running services. Nothing is opened before `serve`.

`main` is what `python -m prelabel_<service>` runs. It exits with 0 after a graceful stop, 2 for settings or a command
that make no sense (one line says what would), 3 when something it needs never answered, 70 after a defect or a state
that only a new process can mend.
"""

import asyncio
import contextlib
import os
import random
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from prelabel_contract import names
from starlette.types import ASGIApp

from . import garbage, log, process
from .blobs import Blobs, NoBlobs, open_blobs
from .bus.base import Bus, TopicSpec
from .clock import Clock, SystemClock
from .credentials import KafkaCredentials, MongoCredentials
from .drivers import need
from .entropy import Entropy
from .errors import Fatal, Refused, Unavailable
from .floor import Floor
from .health import Health, probes
from .http.access_table import AccessTable
from .loop import Loop
from .metrics import Metrics
from .redaction import secrets_given
from .retry import backoff
from .service import Part, Service, Subscription
from .settings import RuntimeSettings
from .store.base import Store
from .streak import Streak
from .topics.needed import wait_for_topics
from .topics.spec import topic_spec

_log = log.get("prelabel.run")


@dataclass(frozen=True, slots=True)
class Runtime:
    """What services are built from."""

    settings: RuntimeSettings
    bus: Bus
    store: Store
    metrics: Metrics
    blobs: Blobs = field(default_factory=NoBlobs)
    clock: Clock = field(default_factory=SystemClock)
    rng: random.Random = field(default_factory=random.SystemRandom)
    random_bytes: Callable[[int], bytes] = field(default_factory=Entropy)
    access: AccessTable = field(init=False)
    """Keys and sessions; followed by every process that answers."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "access", AccessTable(self.bus, clock=self.clock, rng=self.rng))

    def new_id(self) -> str:
        """A version 7 UUID of this moment."""
        return names.uuid7(self.clock.now_ms(), self.random_bytes)


Build = Callable[[Runtime], Sequence[Service]]


# ------------------------------------------------------------------------------------------------------- backends


def open_bus(settings: RuntimeSettings, clock: Clock) -> Bus:
    """The bus that the settings name. Drivers are imported here, so that only what is used must be installed."""
    scheme, _, rest = settings.bus.partition("://")
    if scheme == "sqlite":
        from .bus.sqlite import SqliteBus

        return SqliteBus(_file(settings.bus, rest), clock=clock)
    if scheme == "kafka" and rest:
        need("PRELABEL_BUS", "kafka", "aiokafka", "faststream")
        from .bus.kafka import KafkaBus, KafkaSecurity, KafkaSettings

        return KafkaBus(
            rest.rstrip("/").split(","),
            prefix=settings.prefix,
            clock=clock,
            security=KafkaSecurity.of(KafkaCredentials()),
            deadline=settings.delivery_seconds,
            start_limit=settings.start_seconds,
            instance=settings.instance or None,
            settings=KafkaSettings(
                session_timeout=settings.session_seconds, heartbeat_interval=min(5.0, settings.session_seconds / 3)
            ),
        )
    raise Refused(f"PRELABEL_BUS is {settings.bus!r}: use sqlite:///FILE or kafka://HOST:PORT")


def open_store(settings: RuntimeSettings, clock: Clock) -> Store:
    """The store that the settings name."""
    scheme, _, rest = settings.store.partition("://")
    if scheme == "sqlite":
        from .store.sqlite import SqliteStore

        return SqliteStore(_file(settings.store, rest))
    if scheme in ("mongodb", "mongodb+srv") and rest:
        need("PRELABEL_STORE", "mongo", "pymongo", *(["motor"] if settings.mongo_driver == "motor" else []))
        from .store.mongo import MongoStore, refusal_of_tls, with_motor, with_pymongo

        database = urlsplit(settings.store).path.strip("/")
        if not database:
            raise Refused("PRELABEL_STORE names no database: write mongodb://HOST:PORT/DATABASE")
        credentials = MongoCredentials()
        credentials.check(settings.store)
        driver = with_motor if settings.mongo_driver == "motor" else with_pymongo

        def let_in(url: str, **options: Any) -> Any:
            with credentials.options() as shown:
                return driver(url, **options, **shown)

        return MongoStore(
            settings.store,
            clock=clock,
            database=database,
            driver=let_in,
            refused=lambda: refusal_of_tls(settings.store, credentials, timeout=3.0),
            start_seconds=settings.start_seconds,
        )
    shown = scheme + "://…" if rest else settings.store  # the rest may hold a password
    raise Refused(f"PRELABEL_STORE is {shown!r}: use sqlite:///FILE or mongodb://HOST:PORT/DATABASE")


def _file(url: str, rest: str) -> Path:
    if not rest.startswith("/") or rest == "/":
        raise Refused(f"{url!r} names no file: write sqlite:///data/x.db, or sqlite:////absolute/x.db")
    return Path(rest[1:])


# -------------------------------------------------------------------------------------------------------- serving


async def serve(
    runtime: Runtime,
    build: Build,
    *,
    name: str,
    ready: Callable[[Runtime], Awaitable[None]] | None = None,
    stopping: asyncio.Event | None = None,
) -> None:
    """Run services until `stopping` is set; without one, until SIGTERM or SIGINT.

    `ready` is awaited once everything has joined.
    """
    settings = runtime.settings
    health = Health(runtime.clock)
    if stopping is None:
        process.on_signals(stopping := asyncio.Event())
    with contextlib.ExitStack() as sockets:
        probe_socket = sockets.enter_context(
            process.listen(settings.host, settings.health_port, "PRELABEL_HEALTH_PORT")
        )
        async with asyncio.TaskGroup() as group:
            probe = process.server(probes(health, runtime.metrics))
            group.create_task(probe.serve([probe_socket]))
            try:
                # What makes no sense is refused before anything is opened, or waited for.
                services = build(runtime)
                keys, api = _api(services, runtime, name)
                api_socket = (
                    sockets.enter_context(process.listen(settings.host, settings.port, "PRELABEL_PORT"))
                    if api
                    else None
                )
                async with _backends(runtime, stopping):
                    await _run_services(runtime, [*keys, *services], health, stopping, api, api_socket, ready)
            except _Stopped:
                _log.info("stopped before everything had started")
            finally:
                probe.should_exit = True


@contextlib.asynccontextmanager
async def _backends(runtime: Runtime, stopping: asyncio.Event) -> AsyncIterator[None]:
    await _unless(stopping, runtime.bus.start())
    try:
        await _unless(stopping, runtime.store.start())
        try:
            yield
        finally:
            await runtime.store.stop()
    finally:
        runtime.blobs.stop()
        await runtime.bus.stop()


class _Stopped(Exception):
    """Told to stop while something was being waited for at start."""


async def _unless(stopping: asyncio.Event, starting: Coroutine[Any, Any, None]) -> None:
    """Wait for something to start, unless told to stop: a bus may not answer for minutes. Raises `_Stopped`."""
    start, stop = asyncio.create_task(starting), asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait({start, stop}, return_when=asyncio.FIRST_COMPLETED)
        if not start.done():
            raise _Stopped
        await start
    finally:
        for task in (start, stop):
            task.cancel()
        await asyncio.wait({start, stop})


async def _run_services(
    runtime: Runtime,
    services: Sequence[Service],
    health: Health,
    stopping: asyncio.Event,
    api: ASGIApp | None,
    api_socket: socket.socket | None,
    ready: Callable[[Runtime], Awaitable[None]] | None,
) -> None:
    if runtime.settings.create_topics or runtime.settings.bus.startswith("sqlite:"):
        await _unless(stopping, runtime.bus.provision(topics_of(services, runtime.settings.partitions)))
    await _unless(stopping, wait_for_topics(runtime.bus, services, runtime.clock, runtime.settings.start_seconds))
    parts = [part for service in services for part in service.parts]
    server = process.api_server(api, runtime.settings) if api is not None else None
    async with contextlib.AsyncExitStack() as started:
        await _unless(stopping, _start(services, started))
        floor = Floor()
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(part.run()) for part in parts]
            loops = [
                group.create_task(_supervise(runtime, subscription, health, stopping, floor))
                for service in services
                for subscription in service.subscriptions
            ]
            if server is not None and api_socket is not None:
                group.create_task(server.serve([api_socket]))
            await asyncio.sleep(0)  # each loop is among those that have to join, before anybody hears that all have
            health.started = True
            _log.info(
                "started", services=",".join(s.name for s in services), port=runtime.settings.port if api else None
            )
            if ready is not None:
                running.append(group.create_task(_when_ready(runtime, health, ready)))
            await stopping.wait()
            _log.info("stopping")
            health.started = False
            if server is not None:
                server.should_exit = True
            await _finish(loops, runtime.settings.grace_seconds)
            for task in running:
                task.cancel()
    _log.info("stopped")


async def _start(services: Sequence[Service], started: contextlib.AsyncExitStack) -> None:
    """Start all services side by side, the parts of each in their order: a model's process takes a second or more.

    `started` stops what has started, in the opposite order within each service.
    """

    async def start(parts: Sequence[Part]) -> None:
        for part in parts:
            await part.start()
            started.push_async_callback(part.stop)

    async with asyncio.TaskGroup() as group:
        for service in services:
            group.create_task(start(service.parts))


async def _finish(loops: Sequence[asyncio.Task[None]], grace: float) -> None:
    """Let the loops finish what is in flight; what takes longer is read again by the next process."""
    if loops:
        _, late = await asyncio.wait(loops, timeout=grace)
        for loop in late:
            loop.cancel()


async def _when_ready(runtime: Runtime, health: Health, ready: Callable[[Runtime], Awaitable[None]]) -> None:
    while health.unready():
        await runtime.clock.sleep(0.02)
    await ready(runtime)


async def _supervise(
    runtime: Runtime, subscription: Subscription, health: Health, stopping: asyncio.Event, floor: Floor
) -> None:
    """Keep one loop running. A defect ends the loop, not the process: the next one reads the same records again."""
    waits = backoff(0.5, 30.0, runtime.rng)
    group = subscription.group
    streak = Streak()
    while not stopping.is_set():
        loop = Loop(
            runtime.bus,
            subscription,
            clock=runtime.clock,
            metrics=runtime.metrics,
            rng=runtime.rng,
            streak=streak,
            floor=floor,
        )
        health.loops[group] = loop
        stopper = asyncio.create_task(_stop_with(loop, stopping))
        began = runtime.clock.monotonic()
        try:
            await loop.run()
        except BaseExceptionGroup as errors:
            if fatal := errors.subgroup((Fatal, Refused)):
                raise process.first(fatal) from None
            if stopping.is_set() and errors.split(Unavailable)[1] is None:
                return  # the records stay uncommitted
            defects, rest = errors.split(lambda e: isinstance(e, Exception) and not isinstance(e, BaseExceptionGroup))
            if rest is not None and defects is None:
                raise
            error = process.first(errors)
            runtime.metrics.restarts.labels(group).inc()
            runtime.metrics.failed.labels(group, type(error).__name__).inc()
            _log.error("loop ended by a defect, starting anew", group=group, error=type(error).__name__, exc_info=error)
            health.defects[group] = f"restarting after {type(error).__name__}"
        except Unavailable:
            return  # only while stopping
        else:
            return
        finally:
            stopper.cancel()
        if runtime.clock.monotonic() - began > 60:
            waits = backoff(0.5, 30.0, runtime.rng)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), next(waits))
        health.defects.pop(group, None)


async def _stop_with(loop: Loop, stopping: asyncio.Event) -> None:
    await stopping.wait()
    loop.stop()


def topics_of(services: Sequence[Service], partitions: int) -> list[TopicSpec]:
    """Every topic that these services read or write, as it should be provisioned."""
    wanted = {
        *(names.SUBMITTED, names.TASKS, names.PREDICTIONS, names.REPLIES, names.ANNOTATIONS, names.RUNS),
        *(names.CONFIGS, names.PROJECTS, names.MODELS, names.LEARNING, names.PROVIDERS, names.ACCESS),
        names.AUDIT,
    }
    for service in services:
        for subscription in service.subscriptions:
            wanted.update(subscription.topics)
            wanted.update((names.retry(subscription.group), names.dead_letters(subscription.group)))
    return [topic_spec(name, partitions) for name in sorted(wanted)]


def _api(services: Sequence[Service], runtime: Runtime, name: str) -> tuple[Sequence[Service], ASGIApp | None]:
    """The API of some services, and what must run so that it knows who calls. Neither where there are no routes."""
    routers = [router for service in services for router in service.routers]
    if not routers:
        return (), None
    from .http.entrance import entrance

    access, api = entrance(routers, runtime, name)
    return [access], api


# ---------------------------------------------------------------------------------------------------------- main


def main(name: str, build: Build, *, settings: Callable[[], RuntimeSettings] = RuntimeSettings) -> None:
    """Run services as a process of their own, and exit with what it came to."""
    sys.exit(run(name, build, settings=settings))


def run(
    name: str,
    build: Build,
    *,
    settings: Callable[[], RuntimeSettings] = RuntimeSettings,
    ready: Callable[[Runtime], Awaitable[None]] | None = None,
) -> int:
    """Run services until they are told to stop; returns the exit code."""
    try:
        chosen = settings()
        log.configure(chosen.log_level, pretty=sys.stderr.isatty(), hidden=secrets_given(os.environ))
        metrics = Metrics()
        runtime = Runtime(
            settings=chosen,
            bus=open_bus(chosen, SystemClock()),
            store=open_store(chosen, SystemClock()),
            metrics=metrics,
            blobs=open_blobs(chosen.blobs, metrics),
        )
        garbage.look_seldom()
        with asyncio.Runner(loop_factory=process.event_loop()) as runner:
            runner.run(serve(runtime, build, name=name, ready=ready))
    except (Refused, BaseExceptionGroup, Unavailable, Fatal) as error:
        return process.outcome(name, error)
    return 0


__all__ = ["Build", "Part", "Runtime", "Service", "main", "run", "serve"]
