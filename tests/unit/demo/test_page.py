"""The promises of what the demo shows: nothing breaks out of the page, nothing is cut in the wrong place."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from io import StringIO
from typing import Any

import pytest
from prelabel_projection.marks import pieces
from rich.console import Console

from deploy.demo.loop import f1
from deploy.demo.page import page
from deploy.demo.results import Learned, Numbers, Result, Span, VersionPoint
from deploy.demo.table import highlight, results_table, run_progress, telling, throughput

NUMBERS = Numbers(
    tasks=2,
    outcomes={"names": {"created": 2}, "area": {"created": 1, "failed": 1}},
    duplicates=0,
    lost=0,
    dead_letters=1,
    seconds=0.5,
    f1=0.83,
    f1_by_label={"TYPE": 0.8},
    trained_seconds=19.0,
)

NASTY = (
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "<img src=x onerror=alert(1)>",
    "&lt;b&gt; \u2028 \u2029 ' \" ` ${x}",
    "]]></title></style>",
    "a lone \ud800 surrogate",
)


def result(text: str, *regions: dict[str, Any], task: str = "t1", outcome: str = "created") -> Result:
    prediction = {
        "model": "names",
        "provider": "spacy",
        "version": "v1",
        "outcome": outcome,
        "regions": list(regions),
    }
    return Result.from_json({"id": task, "data": {"text": text}, "meta": {"module": "os"}}, [prediction])


def span(start: int, end: int, label: str = "TYPE", **more: Any) -> dict[str, Any]:
    return {"kind": "span", "start": start, "end": end, "labels": [label], "score": None, **more}


class _Elements(HTMLParser):
    """Counts the elements that a browser would see, and keeps the data block's text."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.seen: list[str] = []
        self.addresses: list[str] = []
        self.data = ""
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self._inside = ("id", "data") in attrs
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        self._inside = False

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.data += data


def elements(html: str) -> _Elements:
    parser = _Elements()
    parser.feed(html)
    return parser


@pytest.mark.parametrize("text", NASTY)
def test_no_task_text_can_break_out_of_the_page(text: str) -> None:
    plain = elements(page([result("harmless", span(0, 4))], NUMBERS))
    html = page([result(text, span(0, 4))], NUMBERS)
    nasty = elements(html)
    assert nasty.seen == plain.seen
    [row] = json.loads(nasty.data)["results"]
    assert "".join(piece[0] for piece in row["pieces"]) == text
    html.encode("utf-8")


@pytest.mark.parametrize("text", NASTY[:-1])
def test_no_label_model_version_or_module_can_break_out_of_the_page(text: str) -> None:
    regions: list[dict[str, Any]] = [
        {"kind": "span", "start": 0, "end": 1, "labels": [text], "score": 0.5},
        {"kind": "choice", "labels": [text], "score": None},
    ]
    prediction = {"model": text, "provider": text, "version": text, "outcome": "created", "regions": regions}
    nasty = Result.from_json({"id": text, "data": {"text": "x"}, "meta": {"module": text}}, [prediction])
    plain = Result.from_json(
        {"id": "i", "data": {"text": "x"}, "meta": {"module": "m"}},
        [
            {
                "model": "n",
                "version": "v",
                "outcome": "created",
                "regions": [{**region, "labels": ["L"]} for region in regions],
            }
        ],
    )
    numbers = Numbers(
        tasks=1,
        outcomes={text: {"created": 1}},
        duplicates=0,
        lost=0,
        dead_letters=0,
        seconds=1,
        servers=text,
    )
    clean = Numbers(
        tasks=1, outcomes={"n": {"created": 1}}, duplicates=0, lost=0, dead_letters=0, seconds=1, servers="s"
    )
    assert elements(page([nasty], numbers)).seen == elements(page([plain], clean)).seen


def test_the_page_needs_nothing_from_elsewhere_and_runs_no_script_but_its_own() -> None:
    html = page([result("an int", span(3, 6))], NUMBERS)
    assert elements(html).addresses == ["#top"]
    assert "url(" not in html
    assert "@import" not in html
    assert re.search(r"default-src &#x27;none&#x27;; script-src &#x27;sha256-", html)
    assert " style=" not in html  # the policy would ignore it
    assert "innerHTML" not in html


def test_offsets_count_code_points_also_behind_emoji() -> None:
    text = "🎉👩‍👩‍👧 an int"
    start = text.index("int")
    one = result(text, span(start, start + 3))
    [row] = json.loads(elements(page([one], NUMBERS)).data)["results"]
    assert row["pieces"] == [["🎉👩‍👩‍👧 an "], ["int", 0]]
    shown = highlight(one.text, one.spans)
    assert [text[style.start : style.end] for style in shown.spans] == ["int"]


def test_overlapping_spans_are_cut_where_either_ends_and_join_to_the_text() -> None:
    spans = [Span(0, 6, "A", None, False), Span(3, 9, "B", None, False)]
    cut = list(pieces("abcdefghij", spans))
    assert [(piece.text, piece.spans) for piece in cut] == [
        ("abc", (0,)),
        ("def", (0, 1)),
        ("ghi", (1,)),
        ("j", ()),
    ]
    assert "".join(piece.text for piece in cut) == "abcdefghij"


def test_a_text_without_spans_is_one_piece_and_an_empty_one_none() -> None:
    assert [piece.text for piece in pieces("abc", [])] == ["abc"]
    assert list(pieces("", [])) == []


def test_a_region_kind_of_other_data_and_a_span_outside_the_text_are_passed_over() -> None:
    rectangle = {"kind": "rectangle", "x": 1, "y": 2, "labels": ["Car"]}
    one = result("abc", rectangle, span(1, 9), span(2, 2), span(0, 3))
    assert [(found.start, found.end) for found in one.spans] == [(0, 3)]


def test_a_missing_score_stays_missing_and_below_threshold_stays_visible() -> None:
    one = result("an int", span(3, 6), {"kind": "choice", "labels": ["data"], "score": 0.3, "below_threshold": True})
    [row] = json.loads(elements(page([one], NUMBERS)).data)["results"]
    assert row["spans"][0]["score"] is None
    assert row["choices"][0]["below"] is True


def test_a_task_whose_model_failed_is_shown_with_its_outcome() -> None:
    [row] = json.loads(elements(page([result("abc", outcome="failed")], NUMBERS)).data)["results"]
    assert row["failed"] == [[0, "failed"]]


def test_a_run_without_results_still_makes_a_page() -> None:
    numbers = Numbers(tasks=0, outcomes={}, duplicates=0, lost=0, dead_letters=0, seconds=0)
    assert json.loads(elements(page([], numbers)).data)["results"] == []
    assert numbers.tasks_per_second == 0


def test_the_table_shows_every_label_that_was_found_and_takes_no_markup_from_a_text() -> None:
    results = [result(f"[bold]int {n}[/bold]", span(6, 9), task=f"t{n}") for n in range(30)]
    results.append(result("raises ValueError", span(7, 17, "EXCEPTION"), task="rare"))
    console = Console(file=StringIO(), width=100, record=True)
    console.print(results_table(results, rows=3))
    said = console.export_text()
    assert "ValueError" in said
    assert "[bold]int" in said
    assert len(telling(results, 3)) == 3


def test_the_throughput_line_names_what_went_wrong() -> None:
    line = throughput(NUMBERS).plain
    assert "2 tasks" in line
    assert "4 tasks/s" in line
    assert "1 dead letters" in line
    assert "F1 0.83" in line


def test_the_progress_bar_counts_tasks() -> None:
    console = Console(file=StringIO(), width=100, force_terminal=True)
    with run_progress(console) as progress:
        task = progress.add_task("labelling", total=10)
        progress.update(task, completed=10)
    assert progress.finished


def test_what_was_learned_is_shown_before_and_after() -> None:
    learned = Learned(
        serving="1-abc",
        metric="micro_f1",
        points=(
            VersionPoint("1-abc", 190, 0.61, 0.5, 0.7, served=True, reason="better", tasks=90),
            VersionPoint("2-def", 380, 0.58, 0.5, 0.65, served=False, reason="worse", tasks=90),
        ),
        annotated=480,
        untouched=2520,
        before=0.38,
        after=0.71,
        before_by_label={"TYPE": 0.4},
        after_by_label={"TYPE": 0.7},
        accepted=300,
        decided=480,
    )
    drawn = page([result("a str")], replace(NUMBERS, learned=learned))
    assert "0.61 after 190, 0.58 after 380" in drawn
    assert '<td class="n">0.38</td><td class="n">0.71</td>' in drawn
    assert "62% accepted as they were" in drawn
    assert "0.38 → 0.71" in drawn
    assert "Held-out F1" not in drawn
    said = throughput(replace(NUMBERS, learned=learned)).plain
    assert "F1 0.38, 0.71 once people had corrected some" in said
    assert "Learning" not in page([result("a str")], NUMBERS)


def test_names_are_right_with_exact_ends_and_label() -> None:
    said = [result("a str or int", span(2, 5), span(9, 12, "FUNCTION"), task="t1"), result("x", task="t2")]
    assert f1(said, {"t1": {(2, 5, "TYPE"), (9, 12, "TYPE")}, "t2": set()}) == 0.5
    assert f1(said, {"t2": set()}) == 0.0
