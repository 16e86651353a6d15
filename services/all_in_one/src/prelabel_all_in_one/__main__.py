"""`python -m prelabel_all_in_one`: everything in one process; and a few questions to it."""

import argparse
import sys
from pathlib import Path

from prelabel_runtime.errors import Refused

from . import ask
from .settings import SAMPLE, AllInOneSettings

EXIT_REFUSED = 2


def main() -> int:
    """Run, or ask the one that runs. Exit codes: 0 done, 2 refused in one line, 3 unavailable, 70 defect."""
    arguments = _parser().parse_args()
    try:
        settings = AllInOneSettings()
        if arguments.command is not None:
            sys.stdout.write(_ask(arguments, settings) + "\n")
            return 0
        return _run(settings)
    except (Refused, OSError) as error:
        sys.stderr.write(f"prelabel: {error}\n")
        return EXIT_REFUSED
    except KeyboardInterrupt:
        return 130


def _run(settings: AllInOneSettings) -> int:
    # Imported here: a question to a running Prelabel needs none of it, and should be answered at once.
    from prelabel_runtime.run import run

    from . import first_run
    from .service import build

    first_run.refuse_second(settings)
    first_run.prepare(settings)
    return run(
        "all in one",
        lambda runtime: build(runtime, settings),
        settings=lambda: settings,
        ready=first_run.welcome,
    )


def _ask(arguments: argparse.Namespace, settings: AllInOneSettings) -> str:
    here = ask.Here.of(settings.data)
    match arguments.command:
        case "predict":
            return ask.predict(here, arguments.project, arguments.text)
        case "submit":
            lines = sys.stdin.buffer.read() if arguments.file == "-" else Path(arguments.file).read_bytes()
            return ask.submit(here, arguments.project, lines)
        case _:
            return ask.results(here, arguments.project, arguments.limit)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m prelabel_all_in_one",
        description="Run Prelabel in one process on SQLite (without a command), or ask the one that runs.",
        epilog="Settings are environment variables: PRELABEL_DATA, PRELABEL_PORT, …; see docs/settings.md.",
    )
    parser.add_argument("--project", default=SAMPLE, help="the project to ask (default: %(default)s)")
    # After the command too, where people write it; suppressed, so that it does not hide what stands before.
    asked = argparse.ArgumentParser(add_help=False)
    asked.add_argument("--project", default=argparse.SUPPRESS, help=f"the project to ask (default: {SAMPLE})")
    commands = parser.add_subparsers(dest="command")
    predict = commands.add_parser("predict", parents=[asked], help="what every model says about a text")
    predict.add_argument("text")
    submit = commands.add_parser("submit", parents=[asked], help="hand in tasks: NDJSON, or a text per line")
    submit.add_argument("file", help="a file, or - for standard input")
    results = commands.add_parser("results", parents=[asked], help="tasks with their predictions, as JSON")
    results.add_argument("--limit", type=int, default=20, help="at most so many (default: %(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
