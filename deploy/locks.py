"""`make locks`: resolve every dependency, with hashes and without download addresses, into requirements/*.lock."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

PROVIDERS = ("echo", "rules", "spacy", "remote")
"""Those that come with the one-process form; others have environments of their own."""
OURS = (
    *(str(project.parent) for of in ("libs", "services") for project in sorted(Path(of).glob("*/pyproject.toml"))),
    *(f"services/inference/{provider}" for provider in PROVIDERS),
)
LOCKS = {
    "run": ("the one-process form on SQLite, and the providers that come with it", ""),
    "dev": ("everything: Kafka, MongoDB, tests, checks", "[kafka,mongo]"),
}


def main() -> int:
    """Write all locks. Exit code of the resolver."""
    for name, (what, extras) in LOCKS.items():
        code = lock(Path("requirements"), name, what, extras)
        if code:
            return code
    return 0


def lock(folder: Path, name: str, what: str, extras: str) -> int:
    """Resolve <name>.in and our packages into <name>.lock."""
    ours = [f"-e {path}{extras if path == 'libs/runtime' else ''}" for path in OURS]
    own = [path.replace("/", "-").replace("_", "-") for path in OURS]
    command = [
        *(sys.executable, "-m", "uv", "pip", "compile", "-q", "--universal", "--python-version", "3.11"),
        *("--generate-hashes", "--no-emit-index-url", "--no-emit-find-links", "--no-header", "--no-annotate"),
        *(flag for package in _names(own) for flag in ("--no-emit-package", package)),
        *(str(folder / f"{name}.in"), "-"),
    ]
    done = subprocess.run(command, input="\n".join(ours), text=True, capture_output=True, check=False)
    if done.returncode:
        print(done.stderr, file=sys.stderr)
        return done.returncode
    (folder / f"{name}.lock").write_text(f"# {what}\n# made by: make locks\n{done.stdout}")
    return 0


def _names(paths: Sequence[str]) -> list[str]:
    return ["prelabel-" + path.removeprefix("libs-").removeprefix("services-") for path in paths]


if __name__ == "__main__":
    sys.exit(main())
