"""Settings of inference that make no sense are refused at the start, by their name and with what would be right."""

import pytest
from prelabel_contract.names import Lane
from prelabel_provider.remote.settings import RemoteSettings
from prelabel_provider.settings import InferenceSettings
from prelabel_runtime.errors import Refused


@pytest.mark.parametrize(
    ("setting", "value", "told"),
    [
        ("INFERENCE_RECORDS", "0", "greater than or equal to 1"),
        ("INFERENCE_RECORDS", "-5", "greater than or equal to 1"),
        ("INFERENCE_RECORDS", "many", "integer"),
        ("INFERENCE_RECORDS", "1000000", "less than or equal to 5000"),
        ("INFERENCE_BATCH_BYTES", "1", "greater than or equal to 65536"),
        ("INFERENCE_LINGER", "-0.1", "greater than or equal to 0"),
        ("INFERENCE_LINGER", "nan", "finite number"),
        ("INFERENCE_AHEAD", "0", "greater than or equal to 1"),
        ("INFERENCE_BATCH_SECONDS", "0", "greater than 0"),
        ("INFERENCE_BATCH_SECONDS", "inf", "finite number"),
        ("INFERENCE_START_SECONDS", "nan", "finite number"),
        ("INFERENCE_MEMORY_MIB", "1", "greater than or equal to 64"),
        ("INFERENCE_MEMORY_MIB", "9" * 30, "less than or equal to"),
        ("INFERENCE_THREADS", "0", "greater than or equal to 1"),
        ("INFERENCE_THREADS", "100000", "less than or equal to 1024"),
        ("INFERENCE_SWAP", "never", "'beside' or 'in_place'"),
        ("INFERENCE_LANES", "[]", "at least 1 item"),
        ("INFERENCE_LANES", '["urgent"]', "'interactive', 'bulk' or 'backfill'"),
        ("INFERENCE_LANES", '["bulk", "bulk"]', "a lane is named twice"),
        ("INFERENCE_LANES", "bulk", "write it as JSON"),
        ("INFERENCE_WEIGHTS", '{"bulk": 0}', "at /bulk: Input should be greater than 0"),
        ("INFERENCE_WEIGHTS", '{"bulk": Infinity}', "at /bulk: Input should be a finite number"),
        ("INFERENCE_WEIGHTS", '{"interactive": 9}', "at /interactive: Extra inputs"),
        ("INFERENCE_WEIGHTS", "{bulk", "write it as JSON"),
        ("REMOTE_RECORDS", "0", "greater than or equal to 1"),
        ("REMOTE_AHEAD", "1e9", "integer"),
        ("REMOTE_PATIENCE_SECONDS", "-1", "greater than or equal to 0"),
        ("REMOTE_PATIENCE_SECONDS", "inf", "finite number"),
        ("REMOTE_ANSWER_BYTES", "0", "greater than or equal to 1024"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused_by_its_name(
    monkeypatch: pytest.MonkeyPatch, setting: str, value: str, told: str
) -> None:
    monkeypatch.setenv(f"PRELABEL_{setting}", value)
    with pytest.raises(Refused) as refused:
        (InferenceSettings if setting.startswith("INFERENCE") else RemoteSettings)()
    assert str(refused.value).startswith(f"PRELABEL_{setting}")
    assert told in str(refused.value)


def test_lanes_may_be_served_by_deployments_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRELABEL_INFERENCE_LANES", '["interactive"]')
    assert InferenceSettings().lanes == (Lane.INTERACTIVE,)
