"""`python -m prelabel_all_in_one`: everything in one process. The command `prelabel` asks it."""

import argparse
import sys

from prelabel_runtime.errors import Refused
from prelabel_runtime.run import run

from . import first_run
from .service import build
from .settings import AllInOneSettings

EXIT_REFUSED = 2


def main() -> int:
    """Run until told to stop. Exit codes: 0 done, 2 refused in one line, 3 unavailable, 70 defect."""
    argparse.ArgumentParser(
        prog="python -m prelabel_all_in_one",
        description="Run Prelabel in one process on SQLite; `prelabel up` does that, and tells `prelabel` where it is.",
        epilog="Settings are environment variables: PRELABEL_DATA, PRELABEL_PORT, …; see docs/settings.md.",
    ).parse_args()
    try:
        settings = AllInOneSettings()
        first_run.refuse_second(settings)
        first_run.prepare(settings)
        return run(
            "all in one",
            lambda runtime: build(runtime, settings),
            settings=lambda: settings,
            ready=first_run.welcome,
        )
    except (Refused, OSError) as error:
        sys.stderr.write(f"prelabel: {error}\n")
        return EXIT_REFUSED
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
