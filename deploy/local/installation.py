"""What a server is started from: jars and classes, fetched and compiled once per version of its files."""

import fcntl
import hashlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from deploy.local.java import compile_sources, copy_jars, find_java, require_modern

Say = Callable[[str], None]

# Servers of tests start dozens of times and live for seconds: start fast, stay small.
_FLAGS = (
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Xms64m",
    "-Xlog:cds=off",
    "-Xlog:cds+dynamic=off",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
)


@dataclass(frozen=True, slots=True)
class Installation:
    """Where one server's program lies."""

    folder: Path
    java: Path

    @property
    def classpath(self) -> str:
        jars = sorted((self.folder / "lib").glob("*.jar"))
        return ":".join(map(str, [*jars, self.folder / "classes"]))

    @property
    def archive(self) -> Path:
        """The classes as the JVM keeps them in memory, which halves the start; may be missing."""
        return self.folder / "classes.jsa"

    def command(self, main: str, *arguments: str, heap_mib: int, options: Sequence[str] = ()) -> list[str]:
        """The command line that runs the class `main`."""
        shared = [f"-XX:SharedArchiveFile={self.archive}", "-Xshare:auto"] if self.archive.exists() else []
        flags = [*_FLAGS, f"-Xmx{heap_mib}m", *shared, *options]
        return [str(self.java), *flags, "-cp", self.classpath, main, *arguments]


class Finish(Protocol):
    """What a server does once with a new installation, before anybody uses it."""

    def __call__(self, installation: Installation) -> None: ...


def install(name: str, source: Path, home: Path, *, finish: Finish, say: Say) -> Installation:
    """The installation of the server `name` under `home`, made first where it is missing or out of date.

    `source` holds `pom.xml` and the Java files. Several processes may ask at once: one works, the others
    wait. Raises ToolMissing or another ServerError.
    """
    java = find_java()
    installation = Installation(folder=home / "jars" / name, java=java)
    stamp_file = installation.folder / "stamp"
    stamp = _stamp(source, java)
    with _only_one(home / "jars" / f"{name}.lock"):
        if stamp_file.exists() and stamp_file.read_text() == stamp:
            return installation
        say(f"{name}: fetching jars with Maven (once) ...")
        require_modern(java)
        shutil.rmtree(installation.folder, ignore_errors=True)
        copy_jars(source / "pom.xml", installation.folder / "lib")
        sources = sorted(source.glob("*.java"))
        if sources:
            compile_sources(java, sources, installation.classpath, installation.folder / "classes")
        say(f"{name}: preparing fast starts (once) ...")
        finish(installation)
        stamp_file.write_text(stamp)
    return installation


def _stamp(source: Path, java: Path) -> str:
    """Changes whenever the pom, a Java file, the settings or the Java runtime do."""
    digest = hashlib.sha256(str(java).encode())
    for file in sorted([source / "pom.xml", *source.glob("*.java"), *source.glob("*.properties")]):
        digest.update(file.name.encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


@contextmanager
def _only_one(lock: Path) -> Iterator[None]:
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
