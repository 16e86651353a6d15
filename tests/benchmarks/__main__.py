"""`python -m tests.benchmarks`: what Prelabel does on this machine, beside the limits of the models alone.

Writes out/bench.json, out/bench.md and pictures in out/bench/, and prints a table. Nothing is asserted: the figures are
for people to judge. Exit codes: 0 all was measured; 1 something could not be (the report names it); 2 a server could
not be started, or there is no such case; 130 interrupted, the report holds what was measured until then.
"""

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from tests.benchmarks import documents, estimates, plots, session
from tests.benchmarks.case import FULL, QUICK, TINY, Case, Sizes
from tests.benchmarks.cases import CASES
from tests.benchmarks.folders import own_folder
from tests.benchmarks.progress import Shown
from tests.benchmarks.run import Found, measure
from tests.benchmarks.session import wanted
from tests.benchmarks.stage import Stage

OUT = Path("out")
SIZES = {"full": FULL, "quick": QUICK, "tiny": TINY}


def main() -> int:
    """Measure, write, print."""
    parser = _parser()
    arguments = parser.parse_args()
    sizes = SIZES[arguments.size]
    wants = wanted(arguments.only, sizes.skipped)
    cases = chosen(wants, [*arguments.only, *(["peers"] if arguments.peers else [])])
    if arguments.rounds:
        sizes = replace(sizes, rounds=arguments.rounds, long_rounds=arguments.rounds)
    if arguments.list:
        print(_listed(cases or CASES, sizes))
        return 0
    if not cases:
        parser.error(f"no figure is called or begins with {' or '.join(arguments.only)}; --list shows all")
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it tells of every try of what succeeds later
    console, found, interrupted = Console(), Found(), False
    if not console.is_terminal:
        console.width = 160  # a log has no edge
    kept = OUT / "bench"
    kept.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        folder = stack.enter_context(own_folder())
        shown = stack.enter_context(Shown(console, cases))
        stage = Stage(sizes, wants, kept=kept, folder=folder, stack=stack, say=shown.say)
        try:
            measure(cases, stage, found, shown)
        except KeyboardInterrupt:
            interrupted = True
            found.failed["the rest"] = "interrupted"
    said = session.as_json(found, stage, "python -m tests.benchmarks")
    session.write(said, OUT, "bench", "# Prelabel's benchmarks", plots.PLOTS)
    if arguments.write_docs:
        documents.write_results(said)
    session.show(console, found, said, OUT / "bench.md")
    return session.exit_code(found, interrupted=interrupted)


def chosen(wants: Callable[[str], bool], named: Sequence[str]) -> list[Case]:
    """The cases that have something to measure, with what they have."""
    known = {word.partition(".")[0] for word in named}
    cases = (case.restricted(wants) for case in CASES if not case.only_if_named or case.only_if_named in known)
    return [case for case in cases if case.figures]


def _listed(cases: Sequence[Case], sizes: Sizes) -> str:
    """Cases with their rounds, about how long they take on two quiet cores, and their figures."""
    lines = []
    for case in cases:
        rounds = case.rounds_of(sizes)
        took = estimates.said(estimates.seconds(case, sizes))
        lines.append(f"{case.name}: {rounds} {'round' if rounds == 1 else 'rounds'}, about {took}")
        lines += (f"  {figure.name:34} {figure.what}" for figure in case.figures)
    total = estimates.said(sum(estimates.seconds(case, sizes) for case in cases))
    return "\n".join([*lines, f"all of it: about {total} on two quiet cores, once its models are there"])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="CASE", help="as `ner`, `ner.sqlite`; --list shows all"
    )
    parser.add_argument("--list", action="store_true", help="show what would be measured and for how long, and end")
    parser.add_argument(
        "--peers", action="store_true", help="other programs too, installed apart: needs the network once"
    )
    parser.add_argument("--write-docs", action="store_true", help="put the results into docs/benchmarks.md")
    parser.add_argument(
        "--rounds", type=int, help="of each case that is not measured once, in place of the usual number"
    )
    size = parser.add_mutually_exclusive_group()
    for name, what in (("quick", "under 5 minutes"), ("tiny", "just to see that it works")):
        size.add_argument(f"--{name}", dest="size", action="store_const", const=name, help=what)
    parser.set_defaults(size="full")
    return parser


if __name__ == "__main__":
    sys.exit(main())
