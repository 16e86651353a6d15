"""What another program is, to the benchmarks: how it is installed, started, got ready and asked."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx

from deploy.local.ports import LOOPBACK, free_port
from deploy.local.process import ServerProcess
from tests.benchmarks.case import Lost

JSON = {"Content-Type": "application/json"}
ENVIRONMENTS = Path(".venvs")
_READY_S = 90.0
_LOOK_S = 0.1


Span = tuple[int, int, str]
"""First code point, the one behind the last, label."""


class NotInstalled(Exception):
    """The environment could not be made: mostly, no package index can be reached."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Another program that serves the NER model."""

    name: str
    """As in the names of its figures."""
    way: str
    """How it asks the model, in a few words."""
    requirements: tuple[str, ...]
    command: Callable[[int], Sequence[str]]
    """The program of its environment, and its arguments, for a port."""
    environment: Mapping[str, str]
    ready: str
    """A path that answers 200 when it can be asked."""
    introduce: Callable[[httpx.Client], None]
    """Once, before the first question."""
    body: Callable[[Sequence[str]], bytes]
    """One question, about some texts; sent to /predict."""
    spans: Callable[[Any], Sequence[Sequence[Span]]]
    """What the JSON of its answer says, by text."""

    def install(self, say: Callable[[str], None]) -> Path:
        """Its environment's `bin`, made first where it is not. Raises NotInstalled."""
        folder = (ENVIRONMENTS / f"peer-{self.requirements[0].partition('==')[0]}").absolute()
        done = folder / "installed.txt"
        wanted = "\n".join(self.requirements)
        if not done.exists() or done.read_text() != wanted:
            say(f"installing {self.name}, once")
            shutil.rmtree(folder, ignore_errors=True)
            _run([sys.executable, "-m", "venv", str(folder)])
            pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
            _run([*pip, *self.requirements])
            done.write_text(wanted)
        return folder / "bin"

    @contextmanager
    def serving(self, model: Path, logs: Path, say: Callable[[str], None]) -> Iterator[str]:
        """Its address, while it runs and can be asked. Raises NotInstalled and Lost."""
        programs = self.install(say)
        say(f"starting {self.name}")
        port = free_port()
        program, *arguments = self.command(port)
        log = logs / f"{self.name}.log"
        process = ServerProcess.start(
            [str(programs / program), *arguments],
            log=log,
            tied=True,
            environment={
                "PATH": f"{programs}:{os.environ['PATH']}",
                "HOME": str(logs),  # what it keeps for itself goes with this run
                "BENCH_MODEL": str(model.absolute()),
                **_ONE_THREAD,
                **self.environment,
            },
        )
        try:
            address = f"http://{LOOPBACK}:{port}"
            with httpx.Client(base_url=address, trust_env=False, timeout=60) as http:
                self._wait(http, process, log)
                self.introduce(http)
                http.post("/predict", content=self.body(["Raises OSError."]), headers=JSON).raise_for_status()
            yield address
        finally:
            _end(process)

    def found(self, address: str, texts: Sequence[str]) -> Sequence[Sequence[Span]]:
        """What it answers about some texts. Raises httpx.HTTPError."""
        answer = httpx.post(f"{address}/predict", content=self.body(texts), headers=JSON, trust_env=False, timeout=60)
        answer.raise_for_status()
        return self.spans(answer.json())

    def _wait(self, http: httpx.Client, process: ServerProcess, log: Path) -> None:
        deadline = time.monotonic() + _READY_S
        while True:
            try:
                if http.get(self.ready).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            if not process.alive or time.monotonic() > deadline:
                words = log.read_text(errors="replace").splitlines()[-3:]
                raise Lost(f"{self.name} did not start: {' | '.join(words)}")
            time.sleep(_LOOK_S)


_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS"), "1")


def our(package: str) -> str:
    """A requirement: the version of a package that this environment has, so that all run the same model."""
    return f"{package}=={version(package)}"


def _run(command: Sequence[str]) -> None:
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode:
        words = (ran.stderr or ran.stdout).strip().splitlines()[-1:]
        raise NotInstalled(f"{' '.join(command)}: {''.join(words)}")


def _end(process: ServerProcess) -> None:
    process.signal(signal.SIGTERM)
    if not process.wait(20):
        process.signal(signal.SIGKILL)
        process.wait(10)
