"""`python -m tests.benchmarks.learning`: what the learning loop learns, and what it lets serve.

Every round of a case has a seed of its own, so medians and spreads are over seeds. Writes out/learning.json,
out/learning.md and pictures in out/learning/, and prints a table. Nothing is asserted: the figures are for people to
judge. Exit codes: 0 all was measured; 1 something could not be (the report names it); 2 a server could not be started,
or there is no such case; 130 interrupted, the report holds what was measured until then.
"""

import argparse
import math
import os
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from tests.benchmarks import session
from tests.benchmarks.folders import own_folder
from tests.benchmarks.learning import documents, pictures
from tests.benchmarks.learning.amounts import FULL, QUICK, TINY
from tests.benchmarks.learning.cases import cases
from tests.benchmarks.progress import Shown
from tests.benchmarks.run import Found, measure
from tests.benchmarks.stage import Stage

OUT = Path("out")
AMOUNTS = {"full": FULL, "quick": QUICK, "tiny": TINY}
PROGRAM = "python -m tests.benchmarks.learning"


def main() -> int:
    """Measure, write, print."""
    parser = _parser()
    arguments = parser.parse_args()
    amounts = AMOUNTS[arguments.size]
    amounts = replace(amounts, seeds=arguments.seeds or amounts.seeds)
    wants = session.wanted(arguments.only)
    chosen = [one for case in cases(amounts, arguments.file) if (one := case.restricted(wants)).figures]
    if not chosen:
        parser.error(f"no figure is called or begins with {' or '.join(arguments.only)}; --list shows all")
    if arguments.list:
        for figure in (figure for case in chosen for figure in case.figures):
            print(f"{figure.name:28} {figure.what}")
        return 0
    console, found, interrupted = Console(), Found(), False
    if not console.is_terminal:
        console.width = 160  # a log has no edge
    kept = OUT / "learning"
    kept.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        folder = stack.enter_context(own_folder())
        shown = stack.enter_context(Shown(console, chosen))
        stage = Stage(amounts.sizes, wants, kept=kept, folder=folder, stack=stack, say=shown.say)
        try:
            measure(chosen, stage, found, shown, quiet=math.inf)  # nothing here is timed
        except KeyboardInterrupt:
            interrupted = True
            found.failed["the rest"] = "interrupted"
    said = session.as_json(found, stage, PROGRAM)
    session.write(said, OUT, "learning", "# What Prelabel's learning loop learns", pictures.PLOTS)
    if arguments.write_docs:
        documents.write_results(said)
    session.show(console, found, said, OUT / "learning.md")
    return session.exit_code(found, interrupted=interrupted)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=PROGRAM, description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="CASE", help="as `digits`, `gate.twice`; --list shows all"
    )
    parser.add_argument("--list", action="store_true", help="show what would be measured, and end")
    parser.add_argument("--file", type=Path, help='labelled lines, {"text": "...", "label": "..."}, for the case texts')
    parser.add_argument("--seeds", type=_seeds, metavar="N", help="rounds, each with a seed of its own")
    parser.add_argument("--write-docs", action="store_true", help="put the results into docs/learning.md")
    size = parser.add_mutually_exclusive_group()
    for name, what in (("quick", "under 5 minutes"), ("tiny", "just to see that it works")):
        size.add_argument(f"--{name}", dest="size", action="store_const", const=name, help=what)
    parser.set_defaults(size="full")
    return parser


def _seeds(word: str) -> int:
    if (number := int(word)) < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


if __name__ == "__main__":
    # One thread per model, as the trainer's own process has it: sums in another order are other models.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    sys.exit(main())
