"""The overview as one HTML page: drawn here, whole without a script, and with nothing from elsewhere.

Texts, labels, titles and ids are data of strangers. They reach the page through `escape` only, and stand isolated, so
that neither markup nor a writing direction leaves its place. The policy sent along lets nothing run or load but the
page's own script and style.
"""

import hashlib
from base64 import b64encode
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from html import escape
from pathlib import Path
from urllib.parse import quote

from prelabel_runtime.store.base import State

from .cards import Card, Mark
from .learning_part import learning_part
from .marks import LOOK, colour_of, pieces
from .overview import ProjectSeen, Seen

_HERE = Path(__file__).parent
_LATE_MS = 60_000
_LOGO = (
    '<svg viewBox="0 0 24 24" role="img" aria-label="Prelabel"><rect x="1" y="1" width="22" height="22" rx="5" fill='
    '"#0b5cad"/><path d="M5 8h14M5 16h8" stroke="#fff" stroke-width="2" stroke-linecap="round" opacity=".55"/>'
    '<rect x="9" y="10" width="10" height="4" rx="1.2" fill="#ffd166"/></svg>'
)
_ICON = "data:image/svg+xml," + quote(_LOGO.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" '))
_ENDED = (State.FAILED, State.CANCELLED, State.EXPIRED)


# ------------------------------------------------------------------------------------------------------- documents


def overview_page(seen: Seen) -> str:
    """The page for somebody who may see it."""
    body = (
        '<a class="skip" href="#latest">Skip to the latest predictions</a>'
        f'<div class="wide">{_header(seen)}<main>{_part("numbers", _numbers(seen))}<div class="columns">'
        f'<section aria-labelledby="latest"><h2 id="latest">Latest predictions</h2>{_part("latest", _latest(seen))}'
        f"</section><aside>{_part('now', _now(seen))}{_part('learning', learning_part(seen.learning, _isolated))}"
        f"{_part('projects', _projects(seen))}"
        f"{_part('providers', _providers(seen))}</aside></div></main>"
        '<p class="foot">The API describes itself at <a href="/openapi.json">/openapi.json</a>; '
        'this page as JSON is <a href="/v1/overview">/v1/overview</a>.'
        "<noscript> Reload the page to see what is new.</noscript></p></div>"
    )
    return _document("Prelabel", body, script=True)


def entrance_page() -> str:
    """The page for somebody who is not known: how to get in."""
    body = (
        f'<main class="alone"><div class="empty"><div class="top">{_LOGO}<h1>Prelabel</h1></div>'
        "<p>This page is for people with a session, and this browser has none, or it has ended.</p>"
        "<p>Open the address that <code>make run</code> printed: it works once, and for ten minutes. This makes "
        "another, where the key is:</p><pre>prelabel open</pre>"
        "<p>Or by HTTP; open what it answers, behind this page's address:</p>"
        '<pre>curl -H "Authorization: Bearer $KEY" --json "{}" …/v1/links</pre></div></main>'
    )
    return _document("Prelabel: no session", body, script=False)


@lru_cache(maxsize=1)
def policy() -> str:
    """What a browser may do with these pages, as Content-Security-Policy."""
    return (
        f"default-src 'none'; style-src {_hash(_style())}; script-src {_hash(_script())}; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _document(title: str, body: str, *, script: bool) -> str:
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<title>{title}</title>\n<link rel="icon" href="{escape(_ICON)}">\n<style>{_style()}</style>\n</head>\n'
        f"<body>{body}{f'<script>{_script()}</script>' if script else ''}</body>\n</html>\n"
    )


@lru_cache(maxsize=1)
def _style() -> str:
    return LOOK.read_text(encoding="utf-8") + (_HERE / "page.css").read_text(encoding="utf-8")


@lru_cache(maxsize=1)
def _script() -> str:
    return (_HERE / "page.js").read_text(encoding="utf-8")


def _hash(content: str) -> str:
    return f"'sha256-{b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


# ----------------------------------------------------------------------------------------------------------- parts


def _part(name: str, html: str) -> str:
    """A part of the page that the script takes over when it has changed."""
    return f'<div data-part="{name}">{html}</div>'


def _header(seen: Seen) -> str:
    return (
        f'<header class="top">{_LOGO}<div><h1>Prelabel</h1>{_part("state", _state(seen))}</div>'
        '<div class="live" id="controls" hidden><span class="dot" id="live">Connecting</span>'
        '<button type="button" id="pause" aria-pressed="false">Pause</button></div></header>'
    )


def _state(seen: Seen) -> str:
    """How it goes, in a sentence."""
    waiting, ended = seen.requests(State.PENDING), seen.requests(State.CREATED, *_ENDED)
    late = seen.waiting_since_ms is not None and seen.at_ms - seen.waiting_since_ms > _LATE_MS
    if seen.missing:
        names = ", ".join(_isolated(name) for name in seen.missing)
        return f'<p class="lead bad">A project asks for what does not run: {names}.</p>'
    if waiting and late:
        since = _time(seen.waiting_since_ms or 0)
        return f'<p class="lead bad">{_many(waiting, "prediction")} to come, the oldest since {since}.</p>'
    if waiting:
        return f'<p class="lead">Working: {_many(waiting, "prediction")} to come.</p>'
    if ended:
        return '<p class="lead">Everything that came in has been answered.</p>'
    return '<p class="lead">Ready. Nothing has come in yet.</p>'


def _numbers(seen: Seen) -> str:
    failed = seen.requests(*_ENDED)
    tiles = [
        ("Tasks", f"{seen.tasks:,}", "taken in and stored", ""),
        ("Predictions", f"{seen.requests(State.CREATED):,}", "created by models", ""),
        ("Waiting", f"{seen.requests(State.PENDING):,}", "asked for, not answered", ""),
        ("Not created", f"{failed:,}", "failed, expired, cancelled", "bad" if failed else ""),
        ("Dead letters", f"{seen.dead_letters:,}", "set aside, undecided", "bad" if seen.dead_letters else ""),
    ]
    cells = (
        f'<div><dt>{name}</dt><dd class="{kind}">{value}<small>{note}</small></dd></div>'
        for name, value, note, kind in tiles
    )
    return f'<dl class="numbers">{"".join(cells)}</dl>'


def _now(seen: Seen) -> str:
    """Outcomes over the last minutes, as columns."""
    slots = seen.outcomes_by_slot
    if not slots:
        return ""
    most, total = max(slots), sum(slots)
    minutes = len(slots) * seen.slot_seconds // 60
    step = 350 / len(slots)
    columns = "".join(
        f'<rect class="bar" x="{place * step + 0.7:.1f}" y="{70 - 64 * count / most:.1f}" width="{step - 1.4:.1f}" '
        f'height="{64 * count / most:.1f}" rx="1"/>'
        for place, count in enumerate(slots)
        if count
    )
    said = f"{_many(total, 'outcome')} in the last {minutes} minutes"
    return (
        f'<section class="panel"><h2>Now <small>{seen.per_second:,.1f} per second</small></h2>'
        f'<svg viewBox="0 0 350 92" role="img" aria-label="{said}">{columns}'
        '<line class="axis" x1="0" x2="350" y1="70.5" y2="70.5"/>'
        f'<text class="quiet" x="0" y="88">{minutes} minutes ago</text>'
        '<text class="quiet" x="350" y="88" text-anchor="end">now</text></svg>'
        f"<p>{said}, by this process.</p></section>"
    )


def _projects(seen: Seen) -> str:
    if not seen.projects:
        return ""
    more = f"<p>And {_many(seen.more_projects, 'more project')}.</p>" if seen.more_projects else ""
    listed = "".join(_project(one) for one in seen.projects)
    return f'<section class="panel"><h2>Projects</h2>{listed}{more}</section>'


def _project(one: ProjectSeen) -> str:
    title = f"{_isolated(one.title)} <small>{_isolated(one.project)}</small>" if one.title else _isolated(one.project)
    models = "".join(
        _model(name, one.models.get(name, {}), one.providers.get(name))
        for name in dict.fromkeys((*one.providers, *sorted(one.models)))
    )
    none = "" if models else "<p>It has no model yet: nothing is predicted.</p>"
    return (
        f'<div class="project"><h3>{title}</h3><small class="fade">{_many(one.tasks, "task")}</small>{none}'
        f"<dl>{models}</dl></div>"
    )


def _model(name: str, states: dict[str, int], provider: str | None) -> str:
    """A model's requests, in words and as a bar: created, ended otherwise; what is left waits."""
    created, waiting = states.get(State.CREATED, 0), states.get(State.PENDING, 0)
    ended = sum(states.get(state, 0) for state in _ENDED)
    total = created + ended + waiting
    words = [f"{created:,} created"]
    words += [f"{waiting:,} waiting"] if waiting else []
    words += [f'<span class="bad">{ended:,} not created</span>'] if ended else []
    by = f' <span class="fade">{_isolated(provider)}</span>' if provider and provider != name else ""
    green, red = (300 * created / total, 300 * ended / total) if total else (0.0, 0.0)
    return (
        f"<div><dt>{_isolated(name)}{by}</dt><dd>{' · '.join(words)}</dd>"
        '<svg viewBox="0 0 300 6" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="rail" width="300" height="6" rx="3"/>'
        f'<rect class="rail-created" width="{green:.1f}" height="6" rx="3"/>'
        f'<rect class="rail-ended" x="{green:.1f}" width="{red:.1f}" height="6"/></svg></div>'
    )


def _providers(seen: Seen) -> str:
    running = "".join(
        f'<li class="provider"><span class="dot on" aria-hidden="true"></span><span>{_isolated(one.provider)} '
        f'<small class="fade">{_isolated(one.package)}</small></span><span>{_used(one.models)}</span></li>'
        for one in seen.providers
    )
    missing = "".join(
        f'<li class="provider"><span class="dot off" aria-hidden="true"></span><span>{_isolated(name)}</span>'
        '<span class="bad">does not run</span></li>'
        for name in seen.missing
    )
    if not (running or missing):
        running = (
            '<li class="fade">None has announced itself. Start one, such as '
            "<code>python -m prelabel_inference_rules</code>.</li>"
        )
    return f'<section class="panel"><h2>Providers</h2><ul class="plain">{missing}{running}</ul></section>'


def _used(models: int) -> str:
    return _many(models, "model") if models else "not used"


# ---------------------------------------------------------------------------------------------------------- cards


def _latest(seen: Seen) -> str:
    if not seen.latest:
        return _nothing(seen)
    labels = {one.project: one.labels for one in seen.projects}
    titles = {one.project: one.title or one.project for one in seen.projects}
    drawn = "".join(_card(one, labels[one.project], titles[one.project]) for one in seen.latest)
    return f'<ol class="results">{drawn}</ol>'


def _nothing(seen: Seen) -> str:
    """What to do next."""
    if not seen.projects:
        return (
            '<div class="empty"><h3>Make a project</h3><p>A project says what is asked about your data, and which '
            "models answer. One command makes it from a list of labels:</p>"
            "<pre>prelabel project create mails --labels urgent,later</pre></div>"
        )
    if not seen.tasks:
        project = _plain(seen.projects[0].project)
        return (
            '<div class="empty"><h3>Hand something in</h3><p>What the models say about it appears here, at once. '
            "From a file (JSONL, JSON, CSV, a text per line), or a sentence while you wait:</p>"
            f"<pre>prelabel submit texts.csv --project {project} --watch\n"
            f'prelabel predict "A sentence." --project {project}</pre></div>'
        )
    return (
        '<div class="empty"><h3>No prediction yet</h3><p>The tasks are in; the models have not answered. If this stays '
        "so, <code>prelabel doctor</code> says why.</p></div>"
    )


def _card(one: Card, labels: Sequence[str], title: str) -> str:
    steps = (one.project, "tasks", one.task)
    address = "/".join(("/v1/projects", *(quote(part, safe="", errors="replace") for part in steps)))
    name = one.id or f"…{one.task[-12:]}"
    shown = name if len(name) <= 60 else f"{name[:60]}…"
    text = _text(one, labels) if one.text else '<span class="fade">This task has no text to show.</span>'
    return (
        f'<li class="result" data-card="{_plain(one.task)}"><p class="head"><span>{_isolated(title)} · '
        f'<a href="{escape(address)}">{_isolated(shown)}</a></span>{_time(one.at_ms)}</p>'
        f'<p class="text" dir="auto">{text}</p>{_choices(one)}{_failures(one)}{_details(one)}</li>'
    )


def _text(one: Card, labels: Sequence[str]) -> str:
    cut = list(pieces(one.text, one.marks))
    drawn: list[str] = ['<span class="fade">… </span>'] if one.before else []
    for place, piece in enumerate(cut):
        if not piece.spans:
            drawn.append(_plain(piece.text))
            continue
        inner = one.marks[piece.spans[-1]]
        last = place + 1 == len(cut) or piece.spans[-1] not in cut[place + 1].spans
        tag = f'&nbsp;<bdi class="tag">{_plain(inner.label)}</bdi>' if last else ""
        kind = f"{colour_of(inner.label, labels)}{' below' if inner.below_threshold else ''}"
        drawn.append(f'<mark class="{kind}" title="{_plain(_told(inner))}">{_plain(piece.text)}{tag}</mark>')
    if one.after:
        drawn.append('<span class="fade"> …</span>')
    return "".join(drawn)


def _told(mark: Mark) -> str:
    below = ", below its threshold" if mark.below_threshold else ""
    return f"{mark.label}, {_score(mark.score)}{below}, by {mark.model}"


def _choices(one: Card) -> str:
    if not one.choices:
        return ""
    drawn = "".join(
        f'<li class="area{" below" if choice.below_threshold else ""}">{_isolated(choice.label)}'
        f"{'' if choice.score is None else f' <small>{choice.score:.2f}</small>'}"
        f"{' <small>below threshold</small>' if choice.below_threshold else ''}</li>"
        for choice in one.choices
    )
    return f'<ul aria-label="What it is about">{drawn}</ul>'


def _failures(one: Card) -> str:
    failed = [said for said in one.said if said.outcome not in (State.CREATED, State.PENDING)]
    drawn = " ".join(
        f'<span class="bad">{_isolated(said.model)}: {_isolated(said.reason or said.outcome)}</span>' for said in failed
    )
    return f"<footer>{drawn}</footer>" if drawn else ""


def _details(one: Card) -> str:
    """All of it in a table: what colours and tags say, for those who cannot see them, and who said it."""
    rows = "".join(_rows(one))
    said = ", ".join(
        f"{_isolated(said.model)} <code>{_isolated(said.version)}</code>" for said in one.said if said.version
    )
    labels = len(one.marks) + len(one.choices)
    others = f"<p>{_many(one.others, 'more region')} that a card does not show.</p>" if one.others > 0 else ""
    head = "".join(f'<th scope="col">{name}</th>' for name in ("Label", "Of", "Score", "Model"))
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>" if rows else ""
    summary = f"{_many(labels, 'label')} by {_many(len(one.said), 'model')}"
    by = f'<p class="fade">{said}</p>' if said else ""
    return f'<details><summary>{summary}</summary><div class="scroll">{table}{others}{by}</div></details>'


def _rows(one: Card) -> Iterator[str]:
    for mark in one.marks:
        what = one.text[mark.start : mark.end]
        what = what if len(what) <= 80 else f"{what[:80]}…"
        yield _row(mark.label, what, mark.score, mark.below_threshold, mark.model)
    for choice in one.choices:
        yield _row(choice.label, choice.question, choice.score, choice.below_threshold, choice.model)


def _row(label: str, what: str, score: float | None, below: bool, model: str) -> str:
    told = f"{_score(score)}{', below threshold' if below else ''}"
    cells = (_isolated(label), _isolated(what), told, _isolated(model))
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


# ---------------------------------------------------------------------------------------------------------- words


def _score(score: float | None) -> str:
    return "no score" if score is None else f"{score:.2f}"


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _time(ms: int) -> str:
    moment = datetime.fromtimestamp(ms / 1000, UTC)
    return f'<time datetime="{moment:%Y-%m-%dT%H:%M:%S}Z">{moment:%Y-%m-%d %H:%M:%S} UTC</time>'


def _plain(text: str) -> str:
    """A stranger's text as it may stand in a page: no markup, and controls as pictures of themselves."""
    return escape(text.translate(_CONTROLS).encode("utf-8", "replace").decode())


def _isolated(text: str | None) -> str:
    """The same, with a writing direction of its own that ends where it ends."""
    return f"<bdi>{_plain(text or '')}</bdi>"


_CONTROLS: dict[int, int | str] = {
    **{number: 0x2400 + number for number in range(32) if chr(number) not in "\t\n"},
    0x7F: 0x2421,
    0x202D: "⟦LRO⟧",  # overrides serve to deceive; other marks of direction are part of many languages
    0x202E: "⟦RLO⟧",
}
