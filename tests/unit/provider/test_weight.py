"""What requests weigh before anybody decodes them."""

import pytest
from prelabel_contract.blobs import blob_of
from prelabel_contract.events import PredictionRequested, event
from prelabel_provider.weight import weight
from prelabel_runtime.bus.base import Record
from prelabel_runtime.loop import messages

from tests.unit.provider.test_inference import project, requested


def _record(value: bytes | None) -> Record:
    return Record("t", 0, 0, b"k", value, (), 0)


def _written(data: dict[str, object], blobs: dict[str, object]) -> bytes:
    said = requested(project({}), "a", data=data, blobs=blobs).data
    [message] = messages([event(PredictionRequested.model_validate(said), id="e", source="/t", time_ms=1)])
    assert message.value is not None
    return message.value


def test_a_request_weighs_what_it_holds_and_what_it_names() -> None:
    ref = blob_of("x" * 3_000_000).ref
    value = _written({"text": None, "more": None}, {"text": ref, "more": blob_of("y" * 50).ref})
    assert weight(_record(value)) == len(value) + ref.bytes + 52


@pytest.mark.parametrize("data", [{"text": 'he said "blobs":{"text":{"bytes":9}}'}, {"blobs": {"text": {"bytes": 9}}}])
def test_data_that_look_like_a_reference_are_none(data: dict[str, object]) -> None:
    value = _written(data, {})
    assert weight(_record(value)) == len(value)


@pytest.mark.parametrize("value", [None, b"", b"\xff", b'{"blobs":{"', b'{"blobs":{"text":3}}', b'"blobs":{"'])
def test_what_is_no_request_weighs_what_it_holds(value: bytes | None) -> None:
    assert weight(_record(value)) == len(value or b"")
