"""`make locks`: resolve every dependency, with hashes and without download addresses, into requirements/*.lock."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

PROVIDERS = ("echo", "rules", "spacy", "remote")
"""Those that come with the one-process form; others have environments of their own."""
APART = ("sklearn", "huggingface")
"""Such others: their tests run in the environment for development."""
OURS = tuple(
    str(project.parent) for of in ("libs", "services") for project in sorted(Path(of).glob("*/pyproject.toml"))
)
LOCKS = {
    "run": ("the one-process form on SQLite, and the providers that come with it", "", PROVIDERS),
    "dev": ("everything: Kafka, MongoDB, all providers, tests, checks", "[kafka,mongo]", (*PROVIDERS, *APART)),
}


def main() -> int:
    """Write all locks. Exit code of the resolver."""
    for name, (what, extras, providers) in LOCKS.items():
        ours = (*OURS, *(f"services/inference/{provider}" for provider in providers))
        code = lock(Path("requirements"), name, what, extras, ours)
        if code:
            return code
    return 0


def lock(folder: Path, name: str, what: str, extras: str, paths: Sequence[str]) -> int:
    """Resolve <name>.in and our packages into <name>.lock."""
    ours = [f"-e {path}{extras if path == 'libs/runtime' else ''}" for path in paths]
    own = [path.replace("/", "-").replace("_", "-") for path in paths]
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
