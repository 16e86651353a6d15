"""One server as a plain process on loopback: what Kafka's and Mongo's have in common."""

import os
import shutil
import signal
import tempfile
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from deploy.local.errors import PortTaken, ServerError
from deploy.local.installation import Installation, Say, install
from deploy.local.ports import LOOPBACK, is_free
from deploy.local.process import ServerProcess
from deploy.local.readiness import wait_until_ready

_LAST_LINES = 3


def say_nothing(_: str) -> None:
    """For those who want no progress."""


def servers_home() -> Path:
    """`.servers` at the root of the checkout: jars, and the folders of what `up` starts."""
    return Path(__file__).resolve().parents[2] / ".servers"


class Server(ABC):
    """A server with a data folder of its own and a port that stays the same over every restart.

    folder: data, log and settings; made when missing, kept by stop() and kill().
    port: on 127.0.0.1, 1 to 65535; free when start() is called.
    tied: the process is killed when this one ends, however it ends (Linux). False: it lives on (`up`).
    home: where the jars are kept, shared by all servers of a checkout.
    say: told about slow steps, one line each.

    Not made for several threads at once. Every method blocks: in async code call it in a thread.
    """

    name: ClassVar[str]
    main: ClassVar[str]
    heap_mib: ClassVar[int]
    kind: ClassVar[str] = ""
    """What tells it from another server of the same name."""

    def __init__(
        self, folder: Path, port: int, *, tied: bool = True, home: Path | None = None, say: Say = say_nothing
    ) -> None:
        self.folder = folder.resolve()
        self.port = port
        self.process: ServerProcess | None = None
        self._tied = tied
        self._home = home or servers_home()
        self._say = say
        self._installation: Installation | None = None

    @property
    def host(self) -> str:
        return LOOPBACK

    @property
    def address(self) -> str:
        """What a client is given to connect."""
        return f"{self.host}:{self.port}"

    @property
    def ports(self) -> list[int]:
        """Every port that the process listens on."""
        return [self.port]

    @property
    def log(self) -> Path:
        """What the process printed, over all its starts."""
        return self.folder / "server.log"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def mark(self) -> str:
        """What tells this server's process from others by its command line."""
        return f"-Dprelabel.server={self.folder}"

    @property
    def pid(self) -> int:
        """The process id. Raises ServerError when there is no process."""
        if self.process is None:
            raise ServerError(f"{self.name} on {self.address} was not started")
        return self.process.pid

    @property
    def running(self) -> bool:
        """True while the process lives; says nothing about its health."""
        process = self.process  # another thread may be ending it
        return process is not None and process.alive

    def hints(self) -> list[str]:
        """What somebody who has started it by hand should know, line by line."""
        return []

    def last_words(self) -> str:
        """The end of the log, one line."""
        lines = self.log.read_text(errors="replace").splitlines()[-_LAST_LINES:] if self.log.exists() else []
        return f"{self.log} ends with: {' | '.join(lines) or 'nothing'}"

    @abstractmethod
    def answers(self) -> bool:
        """True when the server answers a question in its own protocol now."""

    @abstractmethod
    def prepare(self, installation: Installation) -> list[str]:
        """Writes what a start needs into the folder; the arguments of the main class."""

    def install(self) -> Installation:
        """Fetches and prepares the program, once per checkout. Raises ToolMissing or another ServerError."""
        source = Path(__file__).parent / self.name
        self._installation = install(self.name, source, self._home, finish=self._finish, say=self._say)
        return self._installation

    def format(self, installation: Installation) -> None:
        """What a new installation needs before any server can start from it: nothing, where not said."""
        return

    @abstractmethod
    def throw_away(self, folder: Path) -> "Server":
        """A server of the same kind on a free port, to be run once for the installation's sake."""

    def _finish(self, installation: Installation) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            first = self.throw_away(Path(scratch))
            first.format(installation)
            first._launch(installation, options=[f"-XX:ArchiveClassesAtExit={installation.archive}"])
            try:
                first.wait_ready(180)
            finally:
                first.stop(timeout=60)

    def start(self) -> None:
        """Starts the process and returns at once. Raises PortTaken, ToolMissing or another ServerError."""
        if self.running:
            raise ServerError(f"{self.name} runs already on {self.address}")
        self._launch(self._installation or self.install())

    def wait_ready(self, timeout: float = 120.0) -> None:
        """Returns when the server answers. Raises NotReady when it ended or `timeout` seconds passed."""
        wait_until_ready(self, timeout)

    def stop(self, timeout: float = 60.0) -> None:
        """Ends the process cleanly (SIGTERM). After `timeout` seconds kills it and raises ServerError."""
        if self.process is None:
            return
        self.process.signal(signal.SIGTERM)
        if not self.process.wait(timeout):
            self.kill()
            raise ServerError(f"{self.name} did not stop in {timeout:g} s and was killed; its log: {self.log}")
        self.process = None

    def kill(self) -> None:
        """Ends the process at once (SIGKILL); returns when it is gone."""
        if self.process is None:
            return
        self.process.signal(signal.SIGKILL)
        self.process.wait(60)
        self.process = None

    def remove(self) -> None:
        """Ends the process at once and deletes its data; the log stays."""
        self.kill()
        shutil.rmtree(self.data, ignore_errors=True)

    def restart(self, timeout: float = 120.0) -> None:
        """Stops the process if it runs, starts it on the same folder and port, and waits until it answers."""
        self.stop()
        self.start()
        self.wait_ready(timeout)

    def freeze(self) -> None:
        """Halts the process (SIGSTOP): connections stay open and nothing answers."""
        if self.process is not None:
            self.process.signal(signal.SIGSTOP)
            with suppress(ChildProcessError):  # it was started by somebody else: it halts a moment later
                os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WNOWAIT)  # every thread of it

    def thaw(self) -> None:
        """Lets a frozen process go on (SIGCONT)."""
        if self.process is not None:
            self.process.signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        self.start()
        try:
            self.wait_ready()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _launch(self, installation: Installation, options: list[str] | None = None) -> None:
        for port in self.ports:
            if not is_free(port):
                raise PortTaken(
                    f"{self.name} cannot start: something listens on {self.host}:{port}; stop it or give another port"
                )
        self.folder.mkdir(parents=True, exist_ok=True)
        arguments = self.prepare(installation)
        command = installation.command(
            self.main, *arguments, heap_mib=self.heap_mib, options=[self.mark, *(options or [])]
        )
        self.process = ServerProcess.start(command, log=self.log, tied=self._tied)
