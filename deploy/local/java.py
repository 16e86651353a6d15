"""The Java programs that the servers need, and how they are called."""

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from deploy.local.errors import ServerError, ToolMissing

_OLDEST_JAVA = 17
_COPY_JARS = "org.apache.maven.plugins:maven-dependency-plugin:3.7.1:copy-dependencies"
_HOW = "install Java 17 or newer and Maven (Debian, Ubuntu: apt-get install openjdk-17-jre-headless maven)"


def find_java() -> Path:
    """The `java` on the path, links followed. Raises ToolMissing."""
    found = shutil.which("java")
    if found is None:
        raise ToolMissing(f"java is missing: {_HOW}")
    return Path(found).resolve()


def find_maven() -> Path:
    """The `mvn` on the path. Raises ToolMissing."""
    found = shutil.which("mvn")
    if found is None:
        raise ToolMissing(f"mvn is missing: {_HOW}")
    return Path(found)


def require_modern(java: Path) -> None:
    """Raises ToolMissing when `java` is older than 17."""
    said = run([str(java), "-version"], "asking java for its version")
    version = re.search(r'version "(\d+)', said)
    if version is None or int(version.group(1)) < _OLDEST_JAVA:
        raise ToolMissing(f"{java} is older than Java {_OLDEST_JAVA}: {_HOW}")


def copy_jars(pom: Path, into: Path) -> None:
    """Lets Maven put what `pom` names, and what that needs at run time, into the folder `into`."""
    maven = [str(find_maven()), "--batch-mode", "--quiet", "-Dstyle.color=never", "--file", str(pom)]
    run(
        [*maven, _COPY_JARS, "-DincludeScope=runtime", f"-DoutputDirectory={into}"],
        f"fetching the jars of {pom.parent.name} with Maven",
    )


def compile_sources(java: Path, sources: Sequence[Path], classpath: str, into: Path) -> None:
    """Compiles with the compiler inside the runtime, so that Debian and Ubuntu need no JDK."""
    compiler = [str(java), "--module", "jdk.compiler/com.sun.tools.javac.Main"]
    run([*compiler, "-cp", classpath, "-d", str(into), *map(str, sources)], "compiling")


def run(command: Sequence[str], purpose: str) -> str:
    """What the command printed, both streams. Raises ServerError with its first line of complaint."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    except OSError as error:
        raise ServerError(f"{purpose} failed: {error}") from error
    if done.returncode != 0:
        lines = [line for line in done.stdout.splitlines() if line.strip()]
        reason = next((line for line in lines if "ERROR" in line or "error" in line), lines[-1] if lines else "")
        raise ServerError(f"{purpose} failed with exit code {done.returncode}: {reason.strip()}")
    return done.stdout
