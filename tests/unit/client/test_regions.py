"""A region as the command prints it."""

from typing import Any

import pytest
from prelabel_client.command.regions import line_of

TEXT = "Ada met Bob"


@pytest.mark.parametrize(
    ("region", "line"),
    [
        ({"kind": "span", "labels": ["NAME"], "start": 0, "end": 3}, "  NAME         Ada"),
        (
            {"kind": "span", "labels": ["NAME"], "start": 0, "end": 3, "text": "Ada", "score": 0.5},
            "  NAME         Ada  0.50",
        ),
        ({"kind": "choice", "labels": ["a", "b"], "score": 1.0}, "  a, b           1.00"),
        ({"kind": "number", "number": 0.0}, "  0.0"),
        ({"kind": "rating", "rating": 4, "score": 0.25}, "  4              0.25"),
        ({"kind": "text", "labels": [], "text": ["They", "met."]}, "               They met."),
        ({"kind": "later", "what": "no idea"}, ""),
    ],
)
def test_a_region_is_one_line(region: dict[str, Any], line: str) -> None:
    assert line_of(region, TEXT) == line
