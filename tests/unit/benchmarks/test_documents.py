"""What a run writes for people: Markdown, the block in the document, pictures."""

from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks import plots
from tests.benchmarks.documents import DOCUMENT, RESULTS, with_figures
from tests.benchmarks.markdown import NoMarkers, markdown


def line(name: str, median: float, **more: Any) -> dict[str, Any]:
    nothing = {"ratio_to": None, "ratio": None, "ratio_low": None, "ratio_high": None, "goal": "", "reached": None}
    return {"name": name, "median": median, "low": median - 1, "high": median + 1, "unit": "docs/s", "rounds": 5,
            "what": "", **nothing, **more}  # fmt: skip


REPORT: dict[str, Any] = {
    "results": [
        line("ner.bare", 700.0),
        line("ner.sqlite", 650.0, ratio_to="ner.bare", ratio=0.93, ratio_low=0.9, ratio_high=0.96,
             goal="≥ 0.95 of ner.bare", reached=False),
        line("interactive.idle.p99_ms", 12.0),
        line("workers.1", 10.0),
        line("workers.8", 78.0),
        line("peers.bentoml.1", 200.0),
    ],
    "machine": "two cores",
    "command": "python -m tests.benchmarks",
    "date": "2026-11-21",
    "commit": "abc",
    "failed": {"encoder": "ServerError: no Java"},
    "warnings": ["ner.bare, round 2: others used 0.4 cores meanwhile"],
    "cpu_us_per_task": {"ner.sqlite": {"all_in_one": 400.0, "all": 400.0}, "ner.kafka": {"kafka": 100.0},
                        "hops.sqlite": {"upload": 50.0}},
    "details": {"memory.sqlite": [[{"seconds": 0.0, "mib": {"all_in_one": 90.0}}]], "memory.sqlite.growth": [{}]},
}  # fmt: skip


def test_the_report_says_what_missed_its_goal_what_failed_and_what_was_disturbed() -> None:
    said = markdown(REPORT)
    assert "| `ner.sqlite` | 650 | 649 | 651 | docs/s | 5 |" in said
    assert "0.93 (0.90 to 0.96) of `ner.bare` | ≥ 0.95 of ner.bare | **missed** |" in said
    assert "- `encoder`: ServerError: no Java" in said
    assert "- ner.bare, round 2: others used 0.4 cores meanwhile" in said
    assert "| kafka |  | 100 |" in said
    assert said.startswith("two cores; `python -m tests.benchmarks`, 2026-11-21, commit abc.")


def test_only_what_stands_between_the_markers_is_written_anew() -> None:
    document = f"before\n{RESULTS.begin}\nold\n{RESULTS.end}\nafter\n"
    once = RESULTS.written_into(document, "new\n")
    assert once == f"before\n{RESULTS.begin}\n\nnew\n\n{RESULTS.end}\nafter\n"
    assert RESULTS.written_into(once, "new\n") == once


@pytest.mark.parametrize("document", ["", RESULTS.begin, RESULTS.end, f"{RESULTS.end}\n{RESULTS.begin}"])
def test_a_document_without_markers_is_left_alone(document: str) -> None:
    with pytest.raises(NoMarkers):
        RESULTS.written_into(document, "new")


def test_the_document_names_every_figure_as_its_case_does_and_has_a_place_for_results() -> None:
    document = DOCUMENT.read_text()
    assert with_figures(document) == document, "run: python -m tests.benchmarks.documents"
    assert "new" in RESULTS.written_into(document, "new")


def test_pictures_are_small_and_the_same_for_the_same_figures(tmp_path: Path) -> None:
    drawn = plots.draw(REPORT, tmp_path / "a")
    plots.draw(REPORT, tmp_path / "b")
    assert [file for _, file in drawn] == [plot.file for plot in plots.PLOTS]
    for _, file in drawn:
        content = (tmp_path / "a" / file).read_bytes()
        assert content == (tmp_path / "b" / file).read_bytes()
        assert len(content) < 60_000
        assert content.rstrip().endswith(b"</svg>")


def test_a_picture_without_figures_is_not_left_from_an_earlier_run(tmp_path: Path) -> None:
    plots.draw(REPORT, tmp_path)
    nothing = {**REPORT, "results": [], "cpu_us_per_task": {}, "details": {}}
    assert plots.draw(nothing, tmp_path) == []
    assert list(tmp_path.iterdir()) == []
