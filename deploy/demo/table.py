"""What the demo shows in the terminal: a progress bar, a table of results, one line of throughput."""

from collections.abc import Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from deploy.demo.results import Choice, Numbers, Result, Span

_STYLES = {
    "MODULE": "bold black on bright_cyan",
    "TYPE": "bold black on bright_magenta",
    "EXCEPTION": "bold white on red",
    "FUNCTION": "bold black on bright_green",
}
_OTHER_STYLES = (
    "bold black on bright_yellow",
    "bold white on blue",
    "bold black on white",
    "bold white on dark_orange3",
)


class _Rate(ProgressColumn):
    """Tasks per second over the last half minute."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f}/s", style="progress.data.speed")


def run_progress(console: Console | None = None) -> Progress:
    """A bar for a run: spinner, what is being done, how many of how many, tasks per second, time gone and
    left."""
    return Progress(
        SpinnerColumn(),
        TextColumn("[progress.description]{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        _Rate(),
        TimeElapsedColumn(),
        TimeRemainingColumn(compact=True),
        console=console,
        expand=True,
    )


def style_of(label: str) -> str:
    """The colours of a label: fixed for the sample's labels, else one of a few, the same every time."""
    return _STYLES.get(label) or _OTHER_STYLES[sum(label.encode()) % len(_OTHER_STYLES)]


def highlight(text: str, spans: Iterable[Span]) -> Text:
    """The text with its spans in their labels' colours; what is below its threshold is dimmed, not hidden."""
    shown = Text(text)
    for span in spans:
        shown.stylize("dim underline" if span.below_threshold else style_of(span.label), span.start, span.end)
    return shown


def legend(labels: Iterable[str]) -> Text:
    """The labels, each in its colours, on one line."""
    return Text("  ").join(Text(f" {label} ", style=style_of(label)) for label in labels)


def results_table(results: Sequence[Result], *, rows: int = 12) -> Table:
    """The most telling results, with the labels found in them as the caption."""
    chosen = telling(results, rows)
    labels = sorted({span.label for result in chosen for span in result.spans})
    table = Table(box=SIMPLE_HEAD, expand=True, show_lines=False, pad_edge=False, caption=legend(labels))
    table.add_column("from", style="dim", no_wrap=True, max_width=24, overflow="ellipsis")
    table.add_column("text", ratio=1)
    table.add_column("about", no_wrap=True)
    for result in chosen:
        table.add_row(Text(result.source or result.id), highlight(result.text, result.spans), _about(result.choices))
    return table


def telling(results: Sequence[Result], rows: int) -> list[Result]:
    """Up to `rows` results worth a look, in their own order: each kind of label first, then many names in
    few words."""

    def interest(result: Result) -> float:
        kinds = {span.label for span in result.spans}
        return 2 * len(kinds) + len(result.spans) - len(result.text) / 80

    ranked = sorted(results, key=interest, reverse=True)
    labels = sorted({span.label for result in results for span in result.spans})
    chosen: list[Result] = []
    for label in labels:
        wanted = (result for result in ranked if result not in chosen and _has(result, label))
        chosen.extend(result for result, _ in zip(wanted, range(1), strict=False))
    chosen.extend(result for result in ranked if result not in chosen)
    keep = {result.id for result in chosen[:rows]}
    return [result for result in results if result.id in keep]


def throughput(numbers: Numbers) -> Text:
    """How much, how fast, and what went wrong, in one line; what should be zero is green when it is, else
    red."""
    line = Text.assemble(
        (f"{numbers.tasks:,} tasks", "bold"),
        f" · {len(numbers.outcomes)} models · {numbers.seconds:,.1f} s · ",
        (f"{numbers.tasks_per_second:,.0f} tasks/s", "bold cyan"),
    )
    for count, name in (
        (numbers.lost, "lost"),
        (numbers.duplicates, "doubled"),
        (numbers.dead_letters, "dead letters"),
    ):
        line.append(" · ")
        line.append(f"{count:,} {name}", style="green" if count == 0 else "bold red")
    if numbers.learned is not None:
        line.append(f" · F1 {numbers.learned.before:.2f}, {numbers.learned.after:.2f} once people had corrected some")
    elif numbers.f1 is not None:
        line.append(f" · F1 {numbers.f1:.2f} on held-out modules")
    return line


def _has(result: Result, label: str) -> bool:
    return any(span.label == label for span in result.spans)


def _about(choices: Iterable[Choice]) -> Text:
    lines = []
    for choice in choices:
        score = "" if choice.score is None else f" {choice.score:.2f}"
        lines.append(Text(f"{choice.label}{score}", style="dim" if choice.below_threshold else ""))
    return Text("\n").join(lines)
