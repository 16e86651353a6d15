"""The report of the benchmarks has the shape that its readers expect."""

import json

from tests.benchmarks.report import as_json, results

ROUNDS = [
    {"ner.bare": 100.0, "ner.sqlite": 90.0},
    {"ner.bare": 200.0, "ner.sqlite": 100.0},
    {"ner.bare": 50.0, "ner.sqlite": 40.0},
]


def test_a_result_holds_median_spread_and_ratio() -> None:
    report = json.loads(json.dumps(as_json(results(ROUNDS, ratio_to={"ner.sqlite": "ner.bare"}), machine="a machine")))
    line = {"unit": "docs/s", "ratio_to": None, "ratio": None}
    assert report == {
        "results": [
            {"name": "ner.bare", "median": 100.0, "low": 50.0, "high": 200.0, **line},
            {
                **line,
                "name": "ner.sqlite",
                "median": 90.0,
                "low": 40.0,
                "high": 100.0,
                "ratio_to": "ner.bare",
                "ratio": 0.8,
            },
        ],
        "machine": "a machine",
    }


def test_ratios_are_taken_within_a_round() -> None:
    """The machine may be slow for a whole round; the median over all rounds would compare different machines."""
    (_, sqlite) = results(ROUNDS, ratio_to={"ner.sqlite": "ner.bare"})
    assert sqlite.ratio == 0.8
    assert sqlite.ratio != round(sqlite.median / 100.0, 3)
