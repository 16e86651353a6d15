"""The servers of `up`: found again by what they left in their folders, started, stopped, wiped, shown."""

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from deploy.local.errors import ServerError
from deploy.local.kafka.server import KafkaServer
from deploy.local.mongo.server import Backend, MongoServer
from deploy.local.process import ServerProcess
from deploy.local.server import Server, servers_home

KAFKA_PORT = 19_092
MONGO_PORT = 27_019


@dataclass(frozen=True, slots=True)
class Options:
    """What `up` may be told. Ports: 1 to 65535; Kafka's controller takes the one after Kafka's."""

    home: Path = field(default_factory=servers_home)
    kafka_port: int = KAFKA_PORT
    mongo_port: int = MONGO_PORT
    backend: Backend = "memory"
    secure: bool = False
    """Kafka lets in only those it knows; see kafka/secured.py."""


@dataclass(frozen=True, slots=True)
class Note:
    """What `up` leaves in a server's folder, to be found again."""

    pid: int
    port: int
    kind: str


def up(options: Options, say: Callable[[str], None]) -> None:
    """Starts what does not run yet and returns when both answer; they live on. Raises ServerError."""
    for server in _servers(options, say):
        note = _find(server)
        if note is not None:
            if (note.port, note.kind) != (server.port, _kind(server)):
                raise ServerError(
                    f"{server.name} is up with other settings (port {note.port}, {note.kind}): stop it first"
                )
            say(f"{server.name}: is up already on {server.address} (process {note.pid})")
            continue
        server.install()
        say(f"{server.name}: starting ...")
        began = time.monotonic()
        server.start()
        try:
            server.wait_ready()
        except BaseException:
            server.kill()
            raise
        _note(server)
        say(f"{server.name}: ready on {server.address} after {time.monotonic() - began:.1f} s")
        for line in server.hints():
            say(f"{server.name}: {line}")


def stop(options: Options, say: Callable[[str], None]) -> None:
    """Ends both cleanly, last started first; what does not run is left alone."""
    for server in reversed(_servers(options, say)):
        if _find(server) is None:
            say(f"{server.name}: is not up")
        else:
            server.stop()
            say(f"{server.name}: stopped")
        _note_file(server).unlink(missing_ok=True)


def wipe(options: Options, say: Callable[[str], None]) -> None:
    """Stops both and deletes their data and logs; the jars stay."""
    stop(options, say)
    for server in _servers(options, say):
        shutil.rmtree(server.folder, ignore_errors=True)
        say(f"{server.name}: data and log deleted")


def logs(options: Options, lines: int, say: Callable[[str], None]) -> None:
    """Shows the last `lines` lines of each log."""
    for server in _servers(options, say):
        say(f"--- {server.name}: {server.log}")
        if server.log.exists():
            for line in server.log.read_text(errors="replace").splitlines()[-lines:]:
                say(line)


def status(options: Options, say: Callable[[str], None]) -> bool:
    """Says how both are; True when both answer."""
    healthy = True
    for server in _servers(options, say):
        note = _find(server)
        if note is None:
            say(f"{server.name}: is not up")
            healthy = False
            continue
        server.port = note.port
        answers = server.answers()
        say(
            f"{server.name}: {'answers' if answers else 'does not answer'} on {server.address} "
            f"({note.kind}, process {note.pid})"
        )
        healthy = healthy and answers
    return healthy


def _servers(options: Options, say: Callable[[str], None]) -> list[Server]:
    home = options.home
    return [
        _secured(options, say) if options.secure else _open(options, say),
        MongoServer(home / "mongo", options.mongo_port, backend=options.backend, tied=False, home=home, say=say),
    ]


def _open(options: Options, say: Callable[[str], None]) -> Server:
    port = options.kafka_port
    return KafkaServer(options.home / "kafka", port, controller_port=port + 1, tied=False, home=options.home, say=say)


def _secured(options: Options, say: Callable[[str], None]) -> Server:
    # Imported late: it needs what makes certificates, and the names of our services.
    from deploy.local.kafka.secured import SecuredKafkaServer, Users, services_here

    folder, port = options.home / "kafka-secured", options.kafka_port
    return SecuredKafkaServer(
        folder,
        port,
        users=Users.kept(folder / "users.json", services_here()),
        controller_port=port + 1,
        mutual_port=port + 2,
        clear_port=port + 3,
        tied=False,
        home=options.home,
        say=say,
    )


def _kind(server: Server) -> str:
    return f"{server.backend} backend" if isinstance(server, MongoServer) else server.kind


def _note_file(server: Server) -> Path:
    return server.folder / "running.json"


def _note(server: Server) -> None:
    note = Note(pid=server.pid, port=server.port, kind=_kind(server))
    _note_file(server).write_text(json.dumps(asdict(note)))


def _find(server: Server) -> Note | None:
    """The note of the last `up`, if that process lives; `server` then stands for that process."""
    try:
        note = Note(**json.loads(_note_file(server).read_text()))
    except (OSError, ValueError, TypeError):
        return None
    server.process = ServerProcess.find(note.pid, server.mark)
    return note if server.process is not None else None
