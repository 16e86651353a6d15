"""`prelabel up` and `prelabel down`: everything in one process on this machine."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from .. import profiles
from ..errors import PrelabelError, Refused, TryLater
from ..profiles import LOCAL, Connection
from .exits import UNAVAILABLE, Ended
from .options import Json
from .output import Out

MODULE = "prelabel_all_in_one"
ADDRESS_FILE, KEY_FILE, PID_FILE, LOG_FILE = "address", "api-key", "pid", "prelabel.log"
LONGEST_START = 300.0
"""Seconds; the first start trains a model."""
_LOOK_EVERY = 0.1

Data = Annotated[Path, typer.Option("--data", help="The folder that holds everything.", envvar="PRELABEL_DATA")]
DATA = Path("data")


def up(
    data: Data = DATA,
    port: Annotated[int | None, typer.Option("--port", min=1, max=65535, help="Of the API; else 8080.")] = None,
    health_port: Annotated[
        int | None, typer.Option("--health-port", min=1, max=65535, help="Of the probes; else one more than --port.")
    ] = None,
    sample: Annotated[bool, typer.Option(help="Set up the sample project, which trains a small model once.")] = True,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return once it is ready; it goes on.")] = False,
    name: Annotated[str, typer.Option("--profile", help="The profile to write.", metavar="NAME")] = LOCAL,
    json: Json = False,
) -> None:
    """Start Prelabel on this machine, and keep where it is.

    It runs in one process, with everything in one folder, until Ctrl-C. Its address and key are kept in a profile that
    every other command uses.

    \b
    Example:
      prelabel up
      prelabel up --detach --port 9000 && prelabel status
    """
    if find_spec(MODULE) is None:
        raise Refused("prelabel up needs the package prelabel-all-in-one beside this one: pip install it")
    out = Out(json=json)
    data = data.absolute()
    if (running := _running(data)) is not None:
        _keep(out, name, running, sample)
        out.note(f"it runs already at {running.address}")
        return
    environment = _environment(data, port, health_port, sample)
    address = data / ADDRESS_FILE
    before = written(address)
    with _started(data, environment, detach=detach) as process:
        _until_ready(process, lambda: written(address) not in (None, before), data / LOG_FILE if detach else None)
        _keep(out, name, _connection(data, environment), sample)
        if detach:
            (data / PID_FILE).write_text(str(process.pid))
            out.note(f"it runs as process {process.pid}; `prelabel down` stops it, {data / LOG_FILE} is its log")
            return
        code = _waited(process)
    if code:
        raise Ended(code if code > 0 else UNAVAILABLE)


def down(data: Data = DATA, json: Json = False) -> None:
    """Stop what `prelabel up --detach` started. What was accepted is kept.

    \b
    Example:
      prelabel down
    """
    out = Out(json=json)
    file = data.absolute() / PID_FILE
    pid = _pid(file)
    if pid is None:
        raise Refused(f"nothing was started by `prelabel up --detach` with the folder {data}")
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + 60
    while _pid(file) is not None:
        if time.monotonic() > deadline:
            raise TryLater(f"process {pid} is still at it after a minute")
        time.sleep(_LOOK_EVERY)
    file.unlink(missing_ok=True)
    if json:
        out.value({"stopped": pid})
    out.note("stopped")


def _environment(data: Path, port: int | None, health_port: int | None, sample: bool) -> dict[str, str]:
    environment = {**os.environ, "PRELABEL_DATA": str(data)}
    if port is not None:
        environment["PRELABEL_PORT"] = str(port)
        environment["PRELABEL_HEALTH_PORT"] = str(port + 1 if port < 65535 else port - 1)
    if health_port is not None:
        environment["PRELABEL_HEALTH_PORT"] = str(health_port)
    if not sample:
        environment["PRELABEL_SAMPLE"] = "false"
    return environment


@contextlib.contextmanager
def _started(data: Path, environment: dict[str, str], *, detach: bool) -> Iterator["subprocess.Popen[bytes]"]:
    command = [sys.executable, "-m", MODULE]
    if not detach:
        with subprocess.Popen(command, env=environment) as process:  # noqa: S603 - our own module
            signal.signal(signal.SIGTERM, lambda *_: process.terminate())
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.terminate()
        return
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (data / LOG_FILE).open("ab") as log:
        process = subprocess.Popen(  # noqa: S603
            command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
        try:
            yield process
        except BaseException:
            process.terminate()  # nobody would know of it
            raise


def written(file: Path) -> int | None:
    """When a file was written; None if there is none, or nothing in it yet."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns if found.st_size else None


def _until_ready(process: "subprocess.Popen[bytes]", ready: Callable[[], bool], log: Path | None) -> None:
    """It writes its address once everything has joined. Raises `Ended` if it ends instead."""
    deadline = time.monotonic() + LONGEST_START
    while not ready():
        if (code := process.poll()) is not None:
            if log is not None:
                raise Refused(f"it did not start: {_last_line(log)}")
            raise Ended(code if code > 0 else UNAVAILABLE)
        if time.monotonic() > deadline:
            process.terminate()
            raise TryLater(f"it was not ready in {LONGEST_START:g} s")
        time.sleep(_LOOK_EVERY)


def _waited(process: "subprocess.Popen[bytes]") -> int:
    """Its exit code. Ctrl-C reaches it too, from the terminal; it is given the time to finish."""
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue


def _running(data: Path) -> Connection | None:
    """The one that runs with this folder already, if it answers."""
    from ..client import Client
    from ..retry import Retries

    try:
        found = _connection(data, {})
        with Client(found.address, found.key, retries=Retries(times=1)) as client:
            list(client.projects())
    except (OSError, PrelabelError):
        return None
    return found


def _connection(data: Path, environment: dict[str, str]) -> Connection:
    address = (data / ADDRESS_FILE).read_text().strip()
    key = environment.get("PRELABEL_API_KEY") or os.environ.get("PRELABEL_API_KEY")
    key_file = Path(os.environ.get("PRELABEL_API_KEY_FILE") or data / KEY_FILE)
    health_port = environment.get("PRELABEL_HEALTH_PORT") or os.environ.get("PRELABEL_HEALTH_PORT") or "8081"
    host = address.removeprefix("http://").rpartition(":")[0]
    return Connection(address, key or key_file.read_text().strip(), health=f"http://{host}:{health_port}")


def _keep(out: Out, name: str, found: Connection, sample: bool) -> None:
    before = profiles.read().profiles.get(name)
    # Another folder is another Prelabel, with a key and projects of its own.
    same = before is not None and before.key == found.key
    project = before.project if before is not None and same else ("sample" if sample else None)
    profiles.keep(name, Connection(found.address, found.key, found.health, project), default=True)
    if out.json:
        out.value({"address": found.address, "health": found.health, "profile": name})
        return
    command = _called()
    first = (
        'predict "Raises TypeError when asyncio.run() is given no coroutine."'
        if sample
        else "project create NAME --labels a,b,c"
    )
    out.note(f"Ready; {command} finds it by the profile {name!r}. In another terminal:")
    out.note("")
    for words in (first, "submit FILE --watch", "tasks", "open", "--help"):
        out.note(f"  {command} {words}")
    out.note("")


def _called() -> str:
    """How this command is called from here."""
    called = Path(sys.argv[0])
    if shutil.which("prelabel") == str(called) or called.name != "prelabel":
        return "prelabel"
    return os.path.relpath(called) if called.is_relative_to(Path.cwd()) else str(called)


def _pid(file: Path) -> int | None:
    """The process in the file, if it lives and is one of ours."""
    try:
        pid = int(file.read_text())
        command = Path(f"/proc/{pid}/cmdline")
        if command.parent.parent.exists() and MODULE.encode() not in command.read_bytes():
            return None
        os.kill(pid, 0)
    except (OSError, ValueError):
        return None
    return pid


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].removeprefix("prelabel: ") if lines else "its log is empty"
