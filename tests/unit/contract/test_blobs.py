"""What travels in an event and what is kept beside it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prelabel_contract.blobs import blob_of, folder, hashed, split
from prelabel_contract.limits import MAX_BLOBS, MAX_DATA_BYTES
from prelabel_contract.tasks import json_size


def test_data_that_fits_travels_as_it_is() -> None:
    data = {"text": "x" * (MAX_DATA_BYTES - json_size({"text": ""}))}
    assert json_size(data) == MAX_DATA_BYTES
    assert split(data) == (data, {})


def test_one_byte_more_moves_the_largest_field_and_keeps_the_order() -> None:
    data = {"title": "short", "text": "x" * MAX_DATA_BYTES, "note": None}
    rest, moved = split(data)
    assert list(rest.items()) == [("title", "short"), ("text", None), ("note", None)]
    assert list(moved) == ["text"]
    assert moved["text"].ref.preview == "x" * 200
    assert moved["text"].ref.bytes == MAX_DATA_BYTES + 2


@given(st.lists(st.integers(0, 60_000), max_size=40))
def test_what_is_left_fits_and_nothing_is_lost(sizes: list[int]) -> None:
    data: dict[str, Any] = {f"f{place}": "y" * size for place, size in enumerate(sizes)}
    try:
        rest, moved = split(data)
    except ValueError:
        assert sum(sorted(sizes)[:-MAX_BLOBS]) > MAX_DATA_BYTES // 3
        return
    assert json_size(rest) <= MAX_DATA_BYTES
    assert len(moved) <= MAX_BLOBS
    assert set(rest) == set(data)
    assert all(rest[name] == data[name] for name in data if name not in moved)
    assert all(moved[name].ref == blob_of(data[name]).ref for name in moved)


def test_too_many_large_fields_are_refused() -> None:
    with pytest.raises(ValueError, match="32 largest fields"):
        split({f"f{n}": "x" * 10_000 for n in range(60)})


def test_one_value_has_one_hash_whatever_the_order_of_its_keys() -> None:
    assert blob_of({"a": 1, "b": [1.5]}) == blob_of({"b": [1.5], "a": 1})


def test_the_hash_of_data_tells_what_is_kept_beside_from_null() -> None:
    large = blob_of("x").ref
    assert hashed({"text": None}, {}) == {"text": None}
    assert hashed({"text": None}, {"text": large}) != hashed({"text": None}, {"text": blob_of("y").ref})


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "a\\b", ".hidden", "x" * 201, "a\n"])
def test_no_name_leads_out_of_its_folder(name: str) -> None:
    for project, task in ((name, "t"), ("p", name)):
        with pytest.raises(ValueError, match="no names"):
            folder(project, task)
