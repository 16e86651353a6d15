"""Prelabel as real processes: all in one on SQLite, or one per service on Kafka and a Mongo-wire server.

Either has one address: where services are apart, a gateway's.

    prelabel = Prelabel.all_in_one(folder, providers=["rules"])
    with prelabel:                       # starts, waits until ready; stops at the end, whatever happened
        ... prelabel.address, prelabel.key ...
        prelabel.kill("all_in_one")
        prelabel.restart("all_in_one")

Ports, data, topic prefix and database are this Prelabel's own. Its processes are killed by the kernel when
the process that started them ends, however it ends (Linux). Output goes to files: `log(name)`.

Everything blocks: in async code call it through `asyncio.to_thread`.
"""

import base64
import json
import os
import secrets
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

from deploy.local.ports import LOOPBACK, free_port
from deploy.local.process import ServerProcess

ALL_IN_ONE = "all_in_one"
GATEWAY = "gateway"
SERVICES = ("ingestion", "projection", "training", "webhooks")
"""What stands behind the gateway."""
_LOOK_EVERY_S = 0.02
_REFUSED = 2
"""Exit code: a setting makes no sense, or its port is taken."""
_NOTHING: Mapping[str, str] = MappingProxyType({})
_LOCAL = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class NotRunning(Exception):
    """A process ended, or did not do within its time what it was asked to."""


class PrelabelProcess:
    """One process of Prelabel: its ports, its variables and its log stay the same over every start."""

    def __init__(
        self, name: str, module: str, variables: Mapping[str, str], folder: Path, arguments: Sequence[str] = ()
    ) -> None:
        self.name = name
        self.port = self.health_port = 0
        self.log = folder / f"{name}.log"
        self._command = [sys.executable, "-m", module, *arguments]
        self._of = (module, variables, folder, arguments)
        self._variables = {
            **_inherited(),
            "PRELABEL_INSTANCE": name,
            "PRELABEL_INGESTION_WAIT_SECONDS": "60",
            **variables,
        }
        self._process: ServerProcess | None = None
        self._was_ready = False
        self._draw_ports()

    @property
    def variables(self) -> Mapping[str, str]:
        """Its environment."""
        return self._variables

    @property
    def address(self) -> str:
        """Where its API is."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def pid(self) -> int:
        """The process id, also of one that has ended. Raises NotRunning where none was started."""
        if self._process is None:
            raise NotRunning(f"{self.name} was not started")
        return self._process.pid

    @property
    def alive(self) -> bool:
        """True while the process lives; says nothing about its health."""
        return self._process is not None and self._process.alive

    @property
    def exit_code(self) -> int | None:
        """What it ended with; minus the signal's number where one killed it. None while it lives."""
        return self._process.exit_code if self._process is not None else None

    def twin(self, name: str) -> "PrelabelProcess":
        """One more of the same service, with a name, ports and a log of its own; not started."""
        return PrelabelProcess(name, *self._of)

    def tell(self, variables: Mapping[str, str]) -> bool:
        """Variables for its next start; False if it has them already."""
        known = all(self._variables.get(name) == value for name, value in variables.items())
        self._variables |= variables
        return not known

    def start(self) -> None:
        """Start it, and return at once. One that lives is left as it is."""
        if not self.alive:
            self.log.parent.mkdir(parents=True, exist_ok=True)
            self._process = ServerProcess.start(self._command, log=self.log, tied=True, environment=self._variables)

    def answers_ready(self) -> bool:
        """True when /readyz answers 200 now."""
        try:
            with _LOCAL.open(f"http://{LOOPBACK}:{self.health_port}/readyz", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:  # a 503 is an HTTPError, which is one
            return False

    def ready(self, timeout: float = 180.0) -> None:
        """Return when it is ready. Raises NotRunning when it ended, or after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        # Alive is asked after the answer: what answered may be somebody else on a port that ours did not get.
        while not (self.answers_ready() and self.alive):
            if not self.alive and self._lost_its_port():
                self._draw_ports()
                self.log.unlink()
                self.start()
            elif not self.alive:
                raise NotRunning(f"{self.name} ended with {self.exit_code}; {self.last_words()}")
            if time.monotonic() > deadline:
                raise NotRunning(f"{self.name} was not ready in {timeout:g} s; {self.last_words()}")
            time.sleep(_LOOK_EVERY_S)
        self._was_ready = True

    def _draw_ports(self) -> None:
        self.port, self.health_port = free_port(), free_port()
        while self.health_port == self.port:
            self.health_port = free_port()
        self._variables |= {
            "PRELABEL_PORT": str(self.port),
            "PRELABEL_HEALTH_PORT": str(self.health_port),
        }

    def _lost_its_port(self) -> bool:
        """Somebody took a port between our draw and the first start: nobody knows our address yet."""
        return not self._was_ready and self.exit_code == _REFUSED and "cannot listen on" in self.last_words()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; an ended process is left in peace."""
        if self._process is not None:
            self._process.signal(number)

    def wait(self, timeout: float) -> int:
        """Its exit code, once it has ended. Raises NotRunning after `timeout` seconds."""
        if self._process is None or not self._process.wait(timeout) or self.exit_code is None:
            raise NotRunning(f"{self.name} did not end in {timeout:g} s; {self.last_words()}")
        return self.exit_code

    def workers(self) -> Sequence[int]:
        """Process ids of the model workers it has now."""
        return [pid for pid, parent in _workers().items() if parent == self.pid]

    def last_words(self) -> str:
        """The end of its log, one line."""
        lines = self.log.read_text(errors="replace").splitlines()[-3:] if self.log.exists() else []
        return f"{self.log} ends with: {' | '.join(lines) or 'nothing'}"


class Prelabel:
    """All processes of one Prelabel. Made by `all_in_one` or `separate`; `start` starts them.

    `names` are the processes: "all_in_one"; or one per service and provider, and the gateway.
    """

    def __init__(self, processes: Sequence[PrelabelProcess], *, bus: str, store: str, prefix: str, key: str) -> None:
        self._processes = {process.name: process for process in processes}
        self.bus = bus
        """The bus as in PRELABEL_BUS."""
        self.store = store
        """The store as in PRELABEL_STORE."""
        self.prefix = prefix
        """Before the name of every topic."""
        self.key = key
        """The API key."""

    @classmethod
    def all_in_one(
        cls,
        folder: Path,
        *,
        providers: Sequence[str] = ("ledger",),
        environment: Mapping[str, str] = _NOTHING,
    ) -> Self:
        """Everything in one process on SQLite, its data in `folder`/data. `environment` adds variables."""
        folder = folder.resolve()
        data = folder / "data"
        key = _new_key()
        names = ", ".join(f'"{name}"' for name in providers)
        variables = {
            "PRELABEL_DATA": str(data),
            "PRELABEL_API_KEY": key,
            "PRELABEL_PROVIDERS": f"[{names}]",
            "PRELABEL_SAMPLE": "false",
            **environment,
        }
        process = PrelabelProcess(ALL_IN_ONE, "prelabel_all_in_one", variables, folder)
        bus, store = f"sqlite:///{data / 'log.db'}", f"sqlite:///{data / 'results.db'}"
        return cls([process], bus=bus, store=store, prefix="", key=key)

    @classmethod
    def separate(
        cls,
        folder: Path,
        *,
        kafka: str,
        mongo: str,
        providers: Sequence[str] = ("ledger",),
        trainers: Sequence[str] = (),
        environment: Mapping[str, str] = _NOTHING,
    ) -> Self:
        """Every service its own process, logs in `folder`; `kafka` HOST:PORT, `mongo` mongodb://HOST:PORT.

        `trainers`: providers whose trainer runs too, as `trainer-<provider>`.
        """
        folder = folder.resolve()
        key = _new_key()
        own = f"t{secrets.token_hex(5)}"
        bus, store, prefix = f"kafka://{kafka}", f"{mongo}/{own}", f"{own}."
        variables = {
            "PRELABEL_BUS": bus,
            "PRELABEL_STORE": store,
            "PRELABEL_PREFIX": prefix,
            "PRELABEL_CREATE_TOPICS": "true",
            "PRELABEL_PARTITIONS": "4",
            "PRELABEL_WEBHOOKS_KEYS": json.dumps([base64.b64encode(secrets.token_bytes(32)).decode()]),
            "PRELABEL_EGRESS_ALLOW": '["127.0.0.0/8"]',
            "PRELABEL_API_KEY": key,
            "PRELABEL_MODELS": str(folder / "models"),
            "PRELABEL_MODELS_CACHE": str(folder / "models-cache"),
            **environment,
        }
        modules = {name: f"prelabel_{name}" for name in SERVICES}
        modules |= {name: f"prelabel_inference_{name}" for name in providers}
        processes = [PrelabelProcess(name, module, variables, folder) for name, module in modules.items()]
        processes += [
            PrelabelProcess(f"trainer-{name}", f"prelabel_inference_{name}", variables, folder, ("trainer",))
            for name in trainers
        ]
        processes.append(PrelabelProcess(GATEWAY, "prelabel_gateway", {}, folder))  # it knows no key and no server
        return cls(processes, bus=bus, store=store, prefix=prefix, key=key)

    @property
    def names(self) -> Sequence[str]:
        """The processes."""
        return tuple(self._processes)

    @property
    def address(self) -> str:
        """The API, all of it."""
        return self._processes.get(GATEWAY, next(iter(self._processes.values()))).address

    def process(self, name: str) -> PrelabelProcess:
        """One process. Raises KeyError for a name that is none."""
        return self._processes[name]

    def start(self) -> None:
        """Start every process that does not run, and return at once."""
        self._introduce()
        for process in self._processes.values():
            process.start()

    def ready(self, timeout: float = 240.0) -> None:
        """Return when all are ready. Raises NotRunning."""
        deadline = time.monotonic() + timeout
        for name, process in self._processes.items():
            # The gateway is the last; a service that lost its port meanwhile has another address.
            if name == GATEWAY and self._introduce():
                self.restart(GATEWAY)
            process.ready(max(1.0, deadline - time.monotonic()))

    def _introduce(self) -> bool:
        """Tell the gateway where the services are; True if it did not know."""
        if GATEWAY not in self._processes:
            return False
        services = {name: self._processes[name].address for name in SERVICES}
        return self._processes[GATEWAY].tell({"PRELABEL_GATEWAY_SERVICES": json.dumps(services)})

    def kill(self, name: str) -> None:
        """SIGKILL one; returns when it is gone. Raises NotRunning if it does not run: a fault must be one."""
        process = self._processes[name]
        if not process.alive:
            raise NotRunning(f"{name} had ended with {process.exit_code} before it could be killed")
        process.signal(signal.SIGKILL)
        if (code := process.wait(60)) != -signal.SIGKILL:
            raise NotRunning(f"{name} had ended with {code} before it could be killed")

    def terminate(self, name: str, timeout: float = 60.0) -> int:
        """SIGTERM one; its exit code. Raises NotRunning after `timeout` seconds."""
        self._processes[name].signal(signal.SIGTERM)
        return self._processes[name].wait(timeout)

    def restart(self, name: str, timeout: float = 180.0) -> None:
        """Start one that has ended (one that runs is stopped first); returns when it is ready."""
        process = self._processes[name]
        if process.alive:
            self.terminate(name)
        process.start()
        process.ready(timeout)

    def stop(self, timeout: float = 60.0) -> Mapping[str, int]:
        """SIGTERM all, SIGKILL what takes longer than `timeout` seconds; exit codes by name."""
        started = {name: process for name, process in self._processes.items() if process.alive}
        for process in started.values():
            process.signal(signal.SIGTERM)
        deadline = time.monotonic() + timeout
        codes: dict[str, int] = {}
        for name, process in started.items():
            try:
                codes[name] = process.wait(max(0.1, deadline - time.monotonic()))
            except NotRunning:
                process.signal(signal.SIGKILL)
                codes[name] = process.wait(60)
        return codes

    def log(self, name: str) -> Path:
        """What a process printed, over all its starts."""
        return self._processes[name].log

    def workers(self) -> Sequence[int]:
        """Process ids of all model workers that live now."""
        return [pid for process in self._processes.values() if process.alive for pid in process.workers()]

    def __enter__(self) -> Self:
        try:
            self.start()
            self.ready()
        except BaseException:
            self.stop(5)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def worker_lives(pid: int) -> bool:
    """True while a model worker with that id lives."""
    return pid in _workers()


def _workers() -> Mapping[int, int]:
    """Model workers by process id, each with the id of the process that it was started for (Linux)."""
    found: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue  # it ended while we looked
        if b"prelabel_provider.worker.main" in words and b"--parent" in words:
            found[int(folder.name)] = int(words[words.index(b"--parent") + 1])
    return found


def _inherited() -> Mapping[str, str]:
    """Our variables without what would configure Prelabel."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PRELABEL_")}


def _new_key() -> str:
    return f"pl_{secrets.token_urlsafe(32)}"
