"""The promises of the page: nothing of strangers breaks out of it, and it says what to do where nothing is."""

import hashlib
import re
from base64 import b64decode
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from prelabel_projection.cards import Card, Chosen, Mark, Said
from prelabel_projection.learning import (
    AcceptedSeen,
    LabelSeen,
    ModelLearning,
    TrainingSeen,
    TrainingTold,
    VersionSeen,
)
from prelabel_projection.overview import ProjectSeen, ProviderSeen, Seen
from prelabel_projection.page import entrance_page, overview_page, policy

NASTY = (
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "' onmouseover='alert(1)",
    "&lt;b&gt; \u2028 \u2029 ` ${x}",
    "]]></title></style>",
    "\u202eevil\u2066 right to left \u202e",
    "a lone \ud800 surrogate, \x00, \x1b[31m and \x7f",
)


def seen(text: str = "Ada met Grace", word: str = "PERSON", name: str = "mails", **values: object) -> Seen:
    """An overview with a project and a card; `word` is every label, `name` everything else."""
    card = Card(
        project=name,
        task=name,
        id=name,
        at_ms=1_700_000_000_000,
        field="text",
        text=text,
        before=True,
        after=True,
        marks=(Mark(0, 3, word, 0.5, False, name), Mark(2, 5, word, None, True, name)),
        choices=(Chosen(word, name, 0.3, True, name),),
        others=2,
        said=(Said(name, name, name, "created", None), Said("other", name, None, "failed", name)),
    )
    project = ProjectSeen(name, f"Title {name}", (word,), 3, {name: {"created": 2, "failed": 1}}, {name: name})
    learning = ModelLearning(
        project=name,
        model=name,
        serving=name,
        metric=name,
        versions=(
            VersionSeen(name, 20, 0.4, 0.3, 0.5, served=False, tasks=40),
            VersionSeen(name, 60, 0.6, 0.5, 0.7, served=True, tasks=10),
            VersionSeen(name, 90, None, None, None, served=False),
        ),
        labels=(LabelSeen(word, name, 0.5, None),),
        training=TrainingSeen(3, name, 2, 10, 12.0),
        acceptance=(AcceptedSeen(name, 3, 1, 0, name),),
        trainings=(
            TrainingTold(3, name, 1_700_000_000_000, 90, None, name),
            TrainingTold(2, "trained", 1_700_000_000_000, 60, name, ""),
        ),
        log=(text, name),
    )
    made = Seen(
        at_ms=1_700_000_000_000,
        projects=(project,),
        more_projects=0,
        providers=(ProviderSeen(name, name, ("span",), 1),),
        missing=(),
        waiting_since_ms=None,
        dead_letters=0,
        slot_seconds=5,
        tasks_by_slot=(0,) * 59 + (3,),
        outcomes_by_slot=(0,) * 59 + (3,),
        latest=(card,),
        learning=(learning,),
    )
    return replace(made, **values)  # type: ignore[arg-type]


EMPTY = seen(projects=(), providers=(), latest=(), learning=(), outcomes_by_slot=(0,) * 60, tasks_by_slot=(0,) * 60)


class _Elements(HTMLParser):
    """What a browser would see."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.seen: list[tuple[str, tuple[str, ...]]] = []
        self.addresses: list[str] = []
        self.text = ""
        self.inside: dict[str, str] = {}
        self._open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, tuple(name for name, _ in attrs)))
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "action")]
        self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] in ("script", "style"):
            self.inside[self._open[-1]] = data
        else:
            self.text += data


@pytest.mark.parametrize("nasty", NASTY)
def test_nothing_of_strangers_can_break_out_of_the_page(nasty: str) -> None:
    plain = _Elements(overview_page(seen("harmless text", "L", "mails")))
    for text, word, name in ((nasty, "L", "mails"), ("harmless text", nasty, "mails"), ("harmless text", "L", nasty)):
        html = overview_page(seen(text, word, name))
        assert _Elements(html).seen == plain.seen
        html.encode("utf-8")


def test_a_text_stands_as_it_is_with_controls_made_visible() -> None:
    text = "<b>Ada</b> & \x00\ttab\nline"
    found = _Elements(overview_page(seen(text, "P"))).text
    assert "<b>" in found
    assert "& ␀\ttab\nline" in found


def test_a_writing_direction_ends_where_it_began() -> None:
    html = overview_page(seen("\u202bevil", "\u202bL", "\u202bn"))
    outside = re.sub(r"<bdi[^>]*>.*?</bdi>", "", html, flags=re.S)
    outside = re.sub(r'<p class="text" dir="auto">.*?</p>', "", outside, flags=re.S)
    outside = re.sub(r'"[^"]*"', "", outside)  # attributes are shown one by one
    assert "\u202b" not in outside


def test_an_override_of_the_writing_direction_is_shown_not_obeyed() -> None:
    html = overview_page(seen("invoice\u202efdp.exe"))
    assert "\u202e" not in html
    assert "⟦RLO⟧fdp.exe" in html


def test_the_page_needs_nothing_from_elsewhere_and_runs_no_script_but_its_own() -> None:
    for page in (overview_page(seen()), overview_page(EMPTY), entrance_page()):
        found = _Elements(page)
        assert all(address.startswith(("/", "#", "data:image/svg+xml,")) for address in found.addresses)
        assert not any(name == "style" or name.startswith("on") for _, names in found.seen for name in names)
        for kind, content in found.inside.items():
            [allowed] = re.findall(rf"{kind}-src 'sha256-([^']+)'", policy())
            assert b64decode(allowed) == hashlib.sha256(content.encode()).digest()
    assert policy().startswith("default-src 'none';")
    assert "unsafe" not in policy()
    assert "innerHTML =" not in overview_page(seen())


def test_colours_are_never_all_that_tells() -> None:
    found = _Elements(overview_page(seen()))
    assert "Ada" in found.text
    assert "PERSON" in found.text
    assert "no score, below threshold" in found.text


def test_it_is_a_document_that_reads_well() -> None:
    for page in (overview_page(seen()), overview_page(EMPTY), entrance_page()):
        assert page.startswith("<!doctype html>")
        assert '<html lang="en">' in page
        assert len(re.findall("<title>[^<]+</title>", page)) == 1
        assert len(re.findall("<h1", page)) == 1
        assert len(re.findall("<main", page)) == 1
        levels = [int(level) for level in re.findall("<h([1-6])", page)]
        assert all(after - before <= 1 for before, after in pairwise(levels)), levels


def test_where_nothing_is_it_says_what_to_do() -> None:
    assert "prelabel project create" in overview_page(EMPTY)
    waiting = replace(seen(latest=()), projects=(replace(seen().projects[0], tasks=0, models={}),))
    assert "prelabel submit texts.csv --project mails" in overview_page(waiting)
    assert "No prediction yet" in overview_page(seen(latest=()))
    assert "None has announced itself" in overview_page(EMPTY)
    assert "prelabel open" in entrance_page()


def test_what_is_wrong_is_said_first() -> None:
    assert "A project asks for what does not run: <bdi>spacy</bdi>" in overview_page(seen(missing=("spacy",)))
    project = replace(seen().projects[0], models={"mails": {"pending": 2}})
    late = seen(projects=(project,), waiting_since_ms=1_700_000_000_000 - 120_000)
    assert "2 predictions to come, the oldest since" in overview_page(late)
    assert "Working: 2 predictions to come." in overview_page(replace(late, waiting_since_ms=1_700_000_000_000))


def test_a_caller_of_some_projects_is_not_told_what_the_process_does() -> None:
    html = overview_page(seen(outcomes_by_slot=(), tasks_by_slot=()))
    assert "per second" not in html


def test_a_learning_curve_is_a_picture_that_is_also_said_in_words() -> None:
    page = overview_page(seen())
    assert 'aria-label="Score on the hold-out by examples learned from: 0.40 after 20, 0.60 after 60"' in page
    assert page.count('<circle class="served"') == 1
    assert page.count('<circle class="kept"') == 1
    assert "Training 3 is under way, step 2 of 10, 12 s left." in page
    assert "75% of <code>" in page
    assert "<bdi>mails</bdi>: 25% edited, 0% refused" in page
    assert "Learning:" not in overview_page(EMPTY)


def test_a_version_that_few_tasks_scored_is_drawn_otherwise_with_their_number() -> None:
    learning, enough = seen().learning[0], overview_page(seen())
    few = VersionSeen("1-a", 5, 1.0, 0.9, 1.0, served=True, tasks=9)
    page = overview_page(seen(learning=(replace(learning, versions=(few, *learning.versions)),)))
    assert re.findall('<circle class="([a-z ]+)"', page) == ["served few", "kept", "served"]
    assert "<title>few: scored on 9 held-out tasks</title>" in page
    assert "1.00 after 5 (few tasks), 0.40 after 20," in page
    legend = "Dotted points: scored on fewer than 10 held-out tasks"
    assert (legend in page, legend in enough) == (True, False)


def test_trainings_are_listed_with_what_came_of_them_and_the_last_ones_log() -> None:
    said = _Elements(overview_page(seen(text="learned from 90"))).text
    assert "Log of training 3:" in said
    assert "learned from 90" in said
    none = replace(seen().learning[0], trainings=(), log=())
    assert "Latest trainings" not in overview_page(seen(learning=(none,)))


def test_one_version_and_equal_scores_are_a_picture_too() -> None:
    learning = seen().learning[0]
    for versions in (
        (VersionSeen("1-a", 5, 1.0, 1.0, 1.0, served=True),),
        (VersionSeen("1-a", 5, 0.0, None, None, served=False),) * 2,
    ):
        page = overview_page(seen(learning=(replace(learning, versions=versions),)))
        assert page.count("<circle") == len(versions)
        assert "nan" not in page
