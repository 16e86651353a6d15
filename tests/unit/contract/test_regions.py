"""Regions: units and ranges are held, and what a later version writes passes through whole."""

import math
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prelabel_contract.base import MAX_INT
from prelabel_contract.events import TaskAccepted
from prelabel_contract.examples import EVERY_KIND
from prelabel_contract.names import Lane
from prelabel_contract.regions import KINDS, REGIONS, Mask, Rating, Relation, Span, UnknownRegion
from pydantic import ValidationError

VALID: dict[str, dict[str, Any]] = {
    "span": {"start": 0, "end": 3},
    "html_span": {"start": "/p/text()", "end": "/p/text()", "start_offset": 0, "end_offset": 3},
    "paragraph_span": {"start": 0, "end": 1, "start_offset": 0, "end_offset": 3},
    "choice": {"labels": ["a"]},
    "taxonomy": {"paths": [["a", "b"]]},
    "text": {"text": ["a"]},
    "number": {"number": 1.5},
    "datetime": {"datetime": "2026-01-31"},
    "rating": {"rating": 4},
    "pairwise": {"selected": "left"},
    "ranking": {"lists": {"best": ["a"]}},
    "rectangle": {"x": 0, "y": 0, "width": 100, "height": 100},
    "polygon": {"points": [[0, 0], [100, 100]]},
    "ellipse": {"x": 50, "y": 50, "radius_x": 10, "radius_y": 5},
    "keypoint": {"x": 50, "y": 50},
    "mask": {"rle": [0, 255]},
    "track": {"sequence": [{"frame": 1, "x": 0, "y": 0, "width": 1, "height": 1}]},
    "timeline": {"ranges": [{"start": 3, "end": 5}]},
    "timed_span": {"start": 0.5, "end": 2},
    "series_span": {"start": -1, "end": 1},
    "relation": {"from_id": "a", "to_id": "b"},
    "message": {"role": "user", "content": "hi"},
}
NOT_PERCENT = (-0.001, 100.001, math.nan, math.inf, "x", None)
NOT_COUNT = (-1, 0.5, MAX_INT + 1, math.nan, "x", None)
NOT_SECONDS = (-0.001, math.nan, math.inf, "x", None)
NOT_NUMBER = (math.nan, -math.inf, "x", None)
REFUSED: list[tuple[str, tuple[str | int, ...], tuple[Any, ...]]] = [
    ("span", ("start",), NOT_COUNT),
    ("span", ("end",), NOT_COUNT),
    ("html_span", ("start_offset",), NOT_COUNT),
    ("html_span", ("start",), (1, None)),
    ("paragraph_span", ("start",), NOT_COUNT),
    ("paragraph_span", ("end_offset",), NOT_COUNT),
    ("choice", ("labels",), ([], [""], ["x" * 201], ["\ud800"], "a", None)),
    ("taxonomy", ("paths",), ([[""]], ["a"], None)),
    ("text", ("text",), ("a", [1], None)),
    ("number", ("number",), NOT_NUMBER),
    ("datetime", ("datetime",), (1, None)),
    ("rating", ("rating",), NOT_COUNT),
    ("pairwise", ("selected",), (1, None)),
    ("ranking", ("lists",), ([], {"a": "b"}, None)),
    ("rectangle", ("x",), NOT_PERCENT),
    ("rectangle", ("width",), NOT_PERCENT),
    ("rectangle", ("rotation",), (math.nan, "x")),
    ("polygon", ("points",), ([], [[1]], [[1, 101]], [[1, 2, 3]])),
    ("ellipse", ("radius_x",), NOT_PERCENT),
    ("keypoint", ("y",), NOT_PERCENT),
    ("mask", ("rle",), ([256], [-1], [0.5], "AA")),
    ("track", ("sequence", 0, "frame"), NOT_COUNT),
    ("track", ("sequence", 0, "x"), NOT_PERCENT),
    ("track", ("sequence", 0, "time"), (-1, math.nan)),
    ("timeline", ("ranges", 0, "start"), NOT_COUNT),
    ("timed_span", ("start",), NOT_SECONDS),
    ("timed_span", ("channel",), (-1, 0.5)),
    ("series_span", ("end",), NOT_NUMBER),
    ("relation", ("from_id",), (1, None)),
    ("message", ("role",), (1, None)),
]


def test_every_kind_has_a_valid_region_here() -> None:
    assert VALID.keys() == KINDS
    for kind, fields in VALID.items():
        (region,) = REGIONS.validate_python([{"kind": kind, **fields}])
        assert type(region) is not UnknownRegion


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [(kind, path, value) for kind, path, values in REFUSED for value in values],
)
def test_a_value_outside_its_range_is_refused(kind: str, path: tuple[str | int, ...], value: Any) -> None:
    region: Any = {"kind": kind, **orjson.loads(orjson.dumps(VALID[kind]))}
    inner = region
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    with pytest.raises(ValidationError) as refused:
        REGIONS.validate_python([region])
    assert path[0] in refused.value.errors()[0]["loc"]


@pytest.mark.parametrize("score", [-0.01, 1.01, 7, math.nan, "high"])
def test_a_score_lies_between_0_and_1(score: Any) -> None:
    with pytest.raises(ValidationError):
        Span(start=0, end=1, score=score)


def test_a_missing_score_stays_missing() -> None:
    assert Span(start=0, end=1).score is None


def test_a_span_does_not_end_before_it_starts() -> None:
    with pytest.raises(ValidationError, match="end must not lie before start"):
        Span(start=2, end=1)


@pytest.mark.parametrize("fields", [{}, {"rle": (1,), "png": "data:"}])
def test_a_mask_has_one_encoding(fields: Any) -> None:
    with pytest.raises(ValidationError, match="either rle or png"):
        Mask(**fields)


def test_every_kind_travels_as_json() -> None:
    assert {getattr(region, "kind", "") for region in EVERY_KIND} > KINDS
    assert REGIONS.validate_json(REGIONS.dump_json(EVERY_KIND, exclude_none=True)) == EVERY_KIND


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=5), inner)
    ),
    max_leaves=8,
)
extras = st.dictionaries(
    st.text(st.characters(codec="utf-8"), min_size=1).filter(lambda key: key not in UnknownRegion.model_fields),
    json_values,
)


@given(extras)
def test_a_kind_of_tomorrow_passes_through_whole(extra: dict[str, Any]) -> None:
    said = {"kind": "cuboid", "id": "c", "field": "scan", "question": "q", "labels": ["a"], **extra}
    (region,) = REGIONS.validate_json(orjson.dumps([said]))
    assert isinstance(region, UnknownRegion)
    (passed,) = orjson.loads(REGIONS.dump_json((region,), exclude_none=True))
    assert passed == {**said, "below_threshold": False}


def test_an_unknown_kind_keeps_no_number_that_json_lacks() -> None:
    with pytest.raises(ValidationError):
        REGIONS.validate_json(b'[{"kind": "cuboid", "depth": NaN}]')


def test_a_field_of_tomorrow_is_ignored() -> None:
    (region,) = REGIONS.validate_python([{"kind": "rating", "rating": 4, "colour": "red"}])
    assert region == Rating(rating=4)


def test_a_region_without_a_kind_is_refused() -> None:
    with pytest.raises(ValidationError):
        REGIONS.validate_python([{"start": 0, "end": 1}])


def test_an_enum_value_of_tomorrow_passes_through() -> None:
    (relation,) = REGIONS.validate_python([{"kind": "relation", "from_id": "a", "to_id": "b", "direction": "none"}])
    assert isinstance(relation, Relation)
    assert relation.direction == "none"
    fields = {"project": "p", "task": "t", "revision": 0, "data": {}, "config": "c", "accepted_ms": 0}
    read = TaskAccepted.model_validate({**fields, "lane": "express"})
    assert (read.lane, orjson.loads(read.model_dump_json())["lane"]) == ("express", "express")
    assert TaskAccepted.model_validate({**fields, "lane": "bulk"}).lane is Lane.BULK
