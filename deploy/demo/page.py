"""One HTML page of results: no other file, no network, readable by anyone the file is sent to.

Task text is data of strangers. It stands in the page once, as JSON that cannot end its script element, and
reaches the document as text nodes; a content security policy lets nothing run or load but the page's own
script and style.
"""

import hashlib
import json
from base64 import b64encode
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from prelabel_projection.learning import ModelLearning, VersionSeen
from prelabel_projection.learning_part import picture
from prelabel_projection.marks import LOOK, pieces

from deploy.demo.results import Learned, Numbers, Result

_HERE = Path(__file__).parent
_COLOURS = 8
_FIRST_LABELS = (
    "MODULE",
    "TYPE",
    "EXCEPTION",
    "FUNCTION",
)  # the sample's labels keep their colours in every run


def page(results: Sequence[Result], numbers: Numbers, *, title: str = "Prelabel demo") -> str:
    """The whole page as one string, UTF-8 when written."""
    style = LOOK.read_text(encoding="utf-8") + (_HERE / "page.css").read_text(encoding="utf-8")
    script = (_HERE / "page.js").read_text(encoding="utf-8")
    labels = _labels(results)
    areas = [area for area, _ in _counted(choice.label for result in results for choice in result.choices)]
    allowed = f"script-src {_hash(script)}; style-src {_hash(style)}"
    policy = f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'"
    return "\n".join(
        (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title>\n<style>{style}</style>\n</head>\n<body>",
            '<a class="skip" href="#top">Skip to the results</a>',
            f'<div class="wide">{_header(title, numbers)}{_tiles(numbers)}',
            f"{_charts(results, numbers, labels)}</div>",
            f'<div class="tools" id="top"><div class="wide">{_tools(labels, areas)}</div></div>',
            f'<main class="wide">{_RESULTS}</main>\n<div id="tip" role="tooltip" hidden></div>',
            f'<script type="application/json" id="data">{_embed(_data(results, labels, areas))}</script>',
            f"<script>{script}</script>\n</body>\n</html>\n",
        )
    )


_TURN = (
    '<nav class="pages" aria-label="Pages"><button type="button" data-turn="-1">Previous</button>'
    '<span class="page"></span><button type="button" data-turn="1">Next</button></nav>'
)
_RESULTS = (
    f'<div class="count"><span id="found" role="status"></span>{_TURN}</div>'
    '<ol class="results" id="results"></ol>'
    '<p class="none" id="none" hidden>Nothing matches. Clear a filter to see more.</p>'
    f'<div class="count"><span></span>{_TURN}</div>'
    '<noscript><p class="none">This page draws its results with a script; allow it to see them.</p>'
    "</noscript>"
    '<p class="foot"><span class="keys"><kbd>/</kbd> search · <kbd>←</kbd> <kbd>→</kbd> pages · '
    "<kbd>Tab</kbd> to a name for its label, score, model and version. </span>"
    "The texts are docstrings of the Python that ran the demo.</p>"
)


def _header(title: str, numbers: Numbers) -> str:
    trained = (
        "" if numbers.trained_seconds is None else f", one of them trained here in {numbers.trained_seconds:.0f} s"
    )
    lead = (
        f"{numbers.tasks:,} passages of Python's own documentation, pre-labelled by "
        f"{_many(len(numbers.outcomes), 'model')}{trained}. "
        f"Every one went through the whole system ({numbers.servers}) and was read back from its store."
    )
    return f'<header><h1>{escape(title)}</h1><p class="lead">{escape(lead)}</p></header>'


def _tiles(numbers: Numbers) -> str:
    tiles = [
        ("Tasks", f"{numbers.tasks:,}", "labelled and stored", ""),
        ("Throughput", f"{numbers.tasks_per_second:,.0f}/s", f"in {numbers.seconds:,.1f} s, end to end", ""),
        ("Lost", f"{numbers.lost:,}", "tasks without an outcome", _verdict(numbers.lost)),
        ("Doubled", f"{numbers.duplicates:,}", "outcomes more than one", _verdict(numbers.duplicates)),
        ("Dead letters", f"{numbers.dead_letters:,}", "records set aside", _verdict(numbers.dead_letters)),
    ]
    if numbers.learned is not None:
        change = f"{numbers.learned.before:.2f} → {numbers.learned.after:.2f}"
        tiles.insert(2, ("F1 of names", change, "a beginner, then taught by people", ""))
    elif numbers.f1 is not None:
        tiles.insert(2, ("Held-out F1", f"{numbers.f1:.2f}", "on modules never trained on", ""))
    cells = (
        f'<div><dt>{escape(name)}</dt><dd class="{style}">{escape(value)}<small>{escape(note)}</small></dd></div>'
        for name, value, note, style in tiles
    )
    return f'<dl class="numbers">{"".join(cells)}</dl>'


def _verdict(count: int) -> str:
    return "good" if count == 0 else "bad"


def _charts(results: Sequence[Result], numbers: Numbers, labels: Sequence[str]) -> str:
    spans = Counter(span.label for result in results for span in result.spans)
    areas = _counted(choice.label for result in results for choice in result.choices)
    names = [(label, spans[label], f"k{index % _COLOURS}") for index, label in enumerate(labels)]
    columns = (
        (("Names found", _bars(names)), ("Outcomes", _outcomes(numbers))),
        *(((("Learning", _learned(numbers.learned)),),) if numbers.learned is not None else ()),
        (("What the passages are about", _bars([(area, count, "bar") for area, count in areas])),),
        (_third_chart(results),),
    )
    drawn = ("".join(_panel(*panel) for panel in column) for column in columns)
    return f'<div class="charts">{"".join(f"<div>{column}</div>" for column in drawn if column)}</div>'


def _learned(learned: Learned) -> str:
    """The curve on the hold-out, and what it meant for texts that nobody annotated."""
    seen = ModelLearning(
        project="",
        model="",
        serving=learned.serving,
        metric=learned.metric,
        versions=tuple(
            VersionSeen(one.version, one.examples, one.score, one.low, one.high, one.served, one.tasks)
            for one in learned.points
        ),
        labels=(),
        training=None,
        acceptance=(),
    )
    rows = [("All names", learned.before, learned.after)]
    rows += [(label, learned.before_by_label[label], learned.after_by_label[label]) for label in learned.after_by_label]
    body = "".join(
        f'<tr><td>{escape(name)}</td><td class="n">{before:.2f}</td><td class="n">{after:.2f}</td></tr>'
        for name, before, after in rows
    )
    head = '<tr><th scope="col">F1</th><th scope="col" class="n">Before</th><th scope="col" class="n">After</th></tr>'
    share = f", {learned.accepted / learned.decided:.0%} accepted as they were" if learned.decided else ""
    return (
        f'<div class="learning">{picture(seen)}</div><p>Score of each version on the hold-out, over the examples that '
        f"it learned from; a full point has served. {learned.annotated:,} texts were corrected{share}. Below: "
        f"{learned.untouched:,} that were set aside and nobody has corrected, before and after.</p>"
        f"<table><thead>{head}</thead><tbody>{body}</tbody></table>"
    )


def _panel(name: str, drawing: str) -> str:
    return f'<section class="panel"><h2>{escape(name)}</h2>{drawing}</section>' if drawing else ""


def _third_chart(results: Sequence[Result]) -> tuple[str, str]:
    """How sure the models are; where none of them says, how many names a passage has."""
    scores = [span.score for result in results for span in result.spans if span.score is not None]
    scores += [choice.score for result in results for choice in result.choices if choice.score is not None]
    if scores:
        tens = Counter(min(int(score * 10), 9) for score in scores)
        columns = [(f"{ten / 10:.1f}", tens[ten]) for ten in range(10)]
        return "Scores", _columns(columns, "score, from 0 to 1")
    lengths = Counter(min(len(result.spans), 6) for result in results)
    columns = [("6+" if names == 6 else str(names), lengths[names]) for names in range(7)]
    return "Names per passage", _columns(columns, "names in a passage")


def _outcomes(numbers: Numbers) -> str:
    rows = []
    for model, counts in numbers.outcomes.items():
        created = counts.get("created", 0)
        other = sum(counts.values()) - created
        failed = f'<td class="n {_verdict(other)}">{other:,}</td>'
        rows.append(f'<tr><td><code>{escape(model)}</code></td><td class="n">{created:,}</td>{failed}</tr>')
    head = (
        '<tr><th scope="col">Model</th><th scope="col" class="n">Created</th>'
        '<th scope="col" class="n">Not created</th></tr>'
    )
    scores = ""
    if numbers.f1_by_label:
        parts = " · ".join(f"{escape(label)} {value:.2f}" for label, value in numbers.f1_by_label.items())
        when = (
            "Held-out F1 by label" if numbers.learned is None else "F1 by label before anybody had corrected anything"
        )
        scores = f"<p>{when}: {parts}</p>"
    return f"<table><thead>{head}</thead><tbody>{''.join(rows)}</tbody></table>{scores}"


def _bars(rows: Sequence[tuple[str, int, str]]) -> str:
    """Horizontal bars, the longest filling the width; each row's text says what its bar shows."""
    most = max((count for _, count, _ in rows), default=0)
    if not most:
        return ""
    drawn = []
    for index, (name, count, style) in enumerate(rows):
        top = index * 26
        width = 190 * count / most
        drawn.append(
            f'<text x="0" y="{top + 16}">{escape(name[:16])}</text>'
            f'<rect class="rail" x="104" y="{top + 5}" width="190" height="14" rx="3"/>'
            f'<rect class="{style}" x="104" y="{top + 5}" width="{width:.1f}" height="14" rx="3"/>'
            f'<text class="quiet" x="302" y="{top + 16}">{count:,}</text>'
        )
    said = ", ".join(f"{name} {count}" for name, count, _ in rows)
    frame = f'viewBox="0 0 350 {len(rows) * 26}" role="img" aria-label="{escape(said)}"'
    return f"<svg {frame}>{''.join(drawn)}</svg>"


def _columns(columns: Sequence[tuple[str, int]], below: str) -> str:
    """Upright bars over a line, their names under it."""
    most = max((count for _, count in columns), default=0) or 1
    step = 350 / len(columns)
    drawn = []
    for index, (name, count) in enumerate(columns):
        left = index * step
        height = 104 * count / most
        middle = left + step / 2
        drawn.append(
            f'<rect class="bar" x="{left + 2:.1f}" y="{120 - height:.1f}" '
            f'width="{step - 4:.1f}" height="{height:.1f}" rx="2">'
            f"<title>{escape(name)}: {count:,}</title></rect>"
            f'<text class="quiet" x="{middle:.1f}" y="136" text-anchor="middle">{escape(name)}</text>'
        )
        if count:
            drawn.append(
                f'<text class="quiet" x="{middle:.1f}" y="{116 - height:.1f}" text-anchor="middle">'
                f"{_short(count)}</text>"
            )
    said = ", ".join(f"{name}: {count}" for name, count in columns)
    return (
        f'<svg viewBox="0 0 350 158" role="img" aria-label="{escape(said)}">{"".join(drawn)}'
        f'<line class="axis" x1="0" x2="350" y1="120.5" y2="120.5"/>'
        f'<text class="quiet" x="175" y="154" text-anchor="middle">{escape(below)}</text></svg>'
    )


def _tools(labels: Sequence[str], areas: Sequence[str]) -> str:
    chips = "".join(
        f'<button type="button" class="chip k{index % _COLOURS}" data-label="{index}" aria-pressed="false">'
        f"{escape(label)}</button>"
        for index, label in enumerate(labels)
    )
    options = "".join(f'<option value="{index}">{escape(area)}</option>' for index, area in enumerate(areas))
    return (
        '<form id="tools" role="search"><input type="search" id="search" placeholder="Search the texts" '
        'aria-label="Search the texts" autocomplete="off" spellcheck="false">'
        f'<fieldset aria-label="With a name of this label">{chips}</fieldset>'
        f'<select id="area" aria-label="About"><option value="">About anything</option>{options}</select>'
        '<button type="button" id="clear">Clear</button></form>'
    )


def _data(results: Sequence[Result], labels: Sequence[str], areas: Sequence[str]) -> dict[str, Any]:
    """What the script draws. Texts are cut into pieces here, so that no offset has to mean the same in two
    languages."""
    models: dict[tuple[str, str], int] = {}
    rows = []
    for result in sorted(results, key=lambda result: not result.spans):  # with names first, else as they came
        numbered = [
            (models.setdefault((prediction.model, prediction.version), len(models)), prediction)
            for prediction in result.predictions
        ]
        spans = sorted(
            ((model, span) for model, prediction in numbered for span in prediction.spans),
            key=lambda found: (found[1].start, -found[1].end),
        )
        rows.append(
            {
                "source": result.source or result.id,
                "pieces": [[piece.text, *piece.spans] for piece in pieces(result.text, [span for _, span in spans])],
                "spans": [
                    {
                        "label": labels.index(span.label),
                        "score": span.score,
                        "below": span.below_threshold,
                        "model": model,
                    }
                    for model, span in spans
                ],
                "choices": [
                    {
                        "area": areas.index(choice.label),
                        "score": choice.score,
                        "below": choice.below_threshold,
                        "model": model,
                    }
                    for model, prediction in numbered
                    for choice in prediction.choices
                ],
                "failed": [
                    [model, prediction.outcome] for model, prediction in numbered if prediction.outcome != "created"
                ],
            }
        )
    named = [{"name": name, "version": version} for name, version in models]
    return {"labels": labels, "areas": areas, "models": named, "results": rows}


def _embed(data: Mapping[str, Any]) -> str:
    """JSON that holds no `<`, `>` or `&`, so that nothing in it can end its element or start a comment."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    # A lone surrogate is no UTF-8: it stays readable as an escape, and the page can be written.
    text = "".join(f"\\u{ord(mark):04x}" if "\ud800" <= mark <= "\udfff" else mark for mark in text)
    for mark in "<>&\u2028\u2029":
        text = text.replace(mark, f"\\u{ord(mark):04x}")
    return text


def _hash(content: str) -> str:
    return f"'sha256-{b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def _labels(results: Sequence[Result]) -> list[str]:
    found = {span.label for result in results for span in result.spans}
    return [*(label for label in _FIRST_LABELS if label in found), *sorted(found - set(_FIRST_LABELS))]


def _counted(labels: Iterable[str]) -> list[tuple[str, int]]:
    return sorted(Counter(labels).items(), key=lambda item: (-item[1], item[0]))


def _short(count: int) -> str:
    return f"{count / 1000:.1f}k" if count >= 1000 else str(count)


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
