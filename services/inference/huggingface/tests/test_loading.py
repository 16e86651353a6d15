"""Which models are loaded, on what, and which are refused."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prelabel_inference_huggingface.batches import by_length
from prelabel_inference_huggingface.export import main as export
from prelabel_inference_huggingface.provider import HuggingFaceProvider
from prelabel_provider.base import BadSettings, Failed, Input, Predicted
from pydantic import ValidationError

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def _load(folder: Path, **settings: Any) -> HuggingFaceProvider:
    said = {"path": str(folder), "task": "token-classification", **settings}
    return HuggingFaceProvider.load(HuggingFaceProvider.Settings.model_validate(said))


@pytest.fixture
def copied(models: Mapping[str, Path], tmp_path: Path) -> Path:
    """A model to be spoilt."""
    return Path(shutil.copytree(models["tags"], tmp_path / "copied"))


def _edit(folder: Path, **config: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **config}))


@given(st.lists(st.integers(0, 300), max_size=60), st.integers(1, 500))
def test_batches_hold_each_text_once_and_no_more_tokens_than_allowed(lengths: list[int], tokens: int) -> None:
    groups = list(by_length(lengths, tokens))
    assert sorted(i for group in groups for i in group) == list(range(len(lengths)))
    for group in groups:
        assert len(group) == 1 or len(group) * max(lengths[i] for i in group) <= tokens


def test_batches_of_any_size_say_the_same(models: Mapping[str, Path]) -> None:
    texts = ["Ada met Bob", "London", "bad news for Bob " * 40, "", "Émile saw 東京"] * 5
    inputs = [Input(str(i), {"text": text}, "text") for i, text in enumerate(texts)]
    said = [list(_load(models["tags"], batch_tokens=tokens).predict(inputs)) for tokens in (1, 100, 100_000)]
    spans = [[[(r.start, r.end, r.labels) for r in one.regions] for one in some] for some in said]  # type: ignore[union-attr]
    assert spans[0] == spans[1] == spans[2]
    assert any(spans[0])


def test_the_version_names_model_engine_precision_and_what_the_settings_make_of_it(models: Mapping[str, Path]) -> None:
    version = _load(models["tags"]).describe().version
    assert version.startswith("tags+")
    assert version.endswith("/onnx-fp32")
    assert _load(models["tags"], batch_tokens=64, device="cpu").describe().version == version
    assert _load(models["tags"], aggregation="max").describe().version != version
    assert _load(models["tags_int8"]).describe().version.endswith("/onnx-int8")


def test_int8_says_about_what_fp32_says(models: Mapping[str, Path]) -> None:
    inputs = [Input(text, {"text": text}, "text") for text in ("Ada met Bob in Paris", "London is good", "bad news")]
    exact, rounded = (
        np.array([[r.score for r in one.regions] for one in model.predict(inputs) if isinstance(one, Predicted)])
        for model in (
            _load(models[name], task="text-classification", choices="many", least=0.0)
            for name in ("choices", "choices_int8")
        )
    )
    assert np.abs(exact - rounded).max() < 0.1


def test_neighbours_move_an_int8_score_by_little(models: Mapping[str, Path]) -> None:
    model = _load(models["choices_int8"], task="text-classification", choices="many", least=0.0)
    inputs = [Input(text, {"text": text}, "text") for text in ("Ada met Bob in Paris", "London is good", "bad news")]
    for together, one in zip(model.predict(inputs * 4), inputs * 4, strict=True):
        (alone,) = model.predict([one])
        assert isinstance(together, Predicted)
        assert isinstance(alone, Predicted)
        assert [r.score for r in together.regions] == pytest.approx([r.score for r in alone.regions], abs=0.05)


def test_an_input_that_cannot_be_read_fails_alone(models: Mapping[str, Path]) -> None:
    inputs = [Input("a", {"text": "Ada \ud800"}, "text"), Input("b", {"text": "Ada" * 9}, "text")]
    broken, long = _load(models["tags"], max_length=20).predict(inputs)
    assert broken == Failed("input", "the text is no Unicode")
    assert long == Failed("too_long", "27 characters, the limit is 20")


@pytest.mark.parametrize(
    "settings",
    [
        {"path": "a", "hub": "a/b", "revision": COMMIT, "task": "zero-shot", "labels": ["x"]},
        {"hub": "a/b", "task": "text-classification"},
        {"hub": "a/b", "revision": "main", "task": "text-classification"},
        {"path": "a", "revision": COMMIT, "task": "text-classification"},
        {"path": "a", "task": "zero-shot"},
        {"path": "a", "task": "text-classification", "aggregation": "max"},
        {"path": "a", "task": "text-generation", "labels": ["x"]},
        {"path": "a", "task": "text-generation", "prompt": "no place for it"},
        {"path": "a", "task": "token-classification", "choices": "one"},
        {"path": "a", "task": "text-classification", "device": "tpu"},
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        HuggingFaceProvider.Settings.model_validate(settings)


@pytest.mark.parametrize("value", [True, False])
def test_code_of_a_model_is_never_trusted(value: bool) -> None:
    said = {"path": "a", "task": "text-classification", "trust_remote_code": value}
    with pytest.raises(ValidationError, match="code that comes with a model is never run"):
        HuggingFaceProvider.Settings.model_validate(said)


@pytest.mark.parametrize("pickle", ["pytorch_model.bin", "model.pt", "tf_model.h5"])
def test_pickled_weights_are_refused_by_name(copied: Path, pickle: str) -> None:
    (copied / "model.onnx").unlink()
    (copied / pickle).write_bytes(b"\x80\x04.")
    with pytest.raises(BadSettings, match=rf"^copied has {pickle}, which can hold code[^\n]*$"):
        _load(copied)


def _without(name: str) -> Any:
    return lambda folder: (folder / name).unlink()


def _with(name: str, content: str) -> Any:
    return lambda folder: (folder / name).write_text(content)


@pytest.mark.parametrize(
    ("spoil", "settings", "complaint"),
    [
        (_without("config.json"), {}, "path: .* has no config.json"),
        (_with("config.json", "{"), {}, "config.json cannot be read"),
        (_with("config.json", "[]"), {}, "config.json is no JSON object"),
        (_without("tokenizer.json"), {}, "copied has no tokenizer.json"),
        (_with("tokenizer.json", "{}"), {}, "tokenizer.json cannot be read"),
        (_with("model.onnx", "x"), {}, "model.onnx cannot be loaded"),
        (_without("model.onnx"), {}, "copied has no model.safetensors"),
        (_without("model.onnx"), {"engine": "onnx"}, "engine: copied has no ONNX graph: make it by export"),
        (len, {"precision": "int8"}, "precision: int8 needs an ONNX graph|engine: .* no ONNX graph of int8"),
        (len, {"engine": "onnx", "precision": "bf16"}, "precision: bf16 is torch's"),
        (len, {"device": "cuda:15"}, "device: "),
        (len, {"max_tokens": 65}, "max_tokens: copied reads 64 tokens at once, not 65"),
        (len, {"max_tokens": 16, "overlap": 14}, "overlap: windows of 14 tokens cannot share 14"),
        (len, {"task": "text-classification"}, "is no text-classification model: it says something to each token"),
        (len, {"task": "text-generation", "engine": "onnx"}, "engine: text-generation runs on torch only"),
    ],
)
def test_a_model_that_cannot_be_used_is_refused_in_one_line(
    copied: Path, spoil: Any, settings: dict[str, Any], complaint: str
) -> None:
    spoil(copied) if spoil is not len else None
    with pytest.raises(BadSettings, match=complaint) as refused:
        _load(copied, **settings)
    assert "\n" not in str(refused.value)


def test_an_export_that_cannot_be_done_is_told_in_one_line(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (copied / "model.safetensors").write_bytes(b"")
    _edit(copied, architectures=["DistilBertForTokenClassification"])
    (copied / "taken").write_text("a file")
    assert export([str(copied), str(copied / "taken")]) == 1
    assert export([str(copied / "nowhere"), str(copied / "out")]) == 1
    _edit(copied, architectures=7)
    assert export([str(copied), str(copied / "out")]) == 1
    assert export(["owner/name", str(copied / "out"), "--revision", "main"]) == 2
    said = capsys.readouterr().err.splitlines()
    assert [line.partition(": ")[0] for line in said] == ["export"] * 4
    assert "taken" in said[0]
    assert "has no config.json" in said[1]
    assert "of no architecture" in said[2]
    assert said[3].startswith("export: revision: ")


def test_a_config_that_names_too_few_labels_is_refused(copied: Path) -> None:
    _edit(copied, id2label={"0": "O", "1": "X"})
    with pytest.raises(BadSettings, match="gives 5 values, its config"):
        _load(copied)


def test_a_label_that_no_region_can_carry_is_refused(copied: Path) -> None:
    _edit(copied, id2label={str(i): " " * i for i in range(5)})
    with pytest.raises(BadSettings, match="the model's label"):
        _load(copied)


def test_what_a_tokenizer_was_saved_with_cuts_no_text(copied: Path) -> None:
    path = copied / "tokenizer.json"
    saved = json.loads(path.read_text())
    saved["truncation"] = {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}
    path.write_text(json.dumps(saved))
    inputs = [Input("a", {"text": "Ada met Bob in Paris"}, "text")]
    (said,) = _load(copied).predict(inputs)
    path.write_text(json.dumps({**saved, "truncation": None}))
    assert [said] == list(_load(copied).predict(inputs))


def _in_a_process(code: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**environment, **variables},
        capture_output=True,
        text=True,
        check=False,
    )


_LOAD = """
import json, sys
from prelabel_inference_huggingface.provider import HuggingFaceProvider
from prelabel_provider.base import BadSettings
try:
    print(HuggingFaceProvider.load(HuggingFaceProvider.Settings.model_validate_json(sys.argv[1])).describe().version)
except BadSettings as error:
    print("refused:", error)
print("loaded:", sorted({"torch", "transformers"} & set(sys.modules)))
"""


def _said(settings: Mapping[str, Any], **variables: str) -> Sequence[str]:
    done = _in_a_process(_LOAD, json.dumps(settings), **variables)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_an_onnx_graph_needs_no_torch(models: Mapping[str, Path]) -> None:
    version, loaded = _said({"path": str(models["tags"]), "task": "token-classification"})
    assert version.endswith("/onnx-fp32")
    assert loaded == "loaded: []"


@pytest.mark.skipif(find_spec("torch") is not None, reason="says what is missing without torch")
def test_without_torch_it_is_said_what_to_install(copied: Path) -> None:
    (copied / "model.onnx").unlink()
    (copied / "model.safetensors").write_bytes(b"")
    with pytest.raises(BadSettings, match=r"install prelabel-inference-huggingface\[torch\]"):
        _load(copied)


def test_it_is_reported_what_a_model_runs_on(models: Mapping[str, Path]) -> None:
    assert _load(models["tags_int8"], device="cpu").describe().runs_on == "cpu, onnx, int8"


@pytest.mark.parametrize(
    ("name", "made_for", "kind"),
    [("tags", "DistilBertForTokenClassification", "span"), ("choices", "BertForSequenceClassification", "choice")],
)
def test_what_a_model_was_made_for_is_its_task_where_the_settings_name_none(
    models: Mapping[str, Path], tmp_path: Path, name: str, made_for: str, kind: str
) -> None:
    folder = Path(shutil.copytree(models[name], tmp_path / name))
    said = HuggingFaceProvider.Settings.model_validate({"path": str(folder)})
    with pytest.raises(BadSettings, match="name the task"):
        HuggingFaceProvider.load(said)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "architectures": [made_for]}))
    assert HuggingFaceProvider.load(said).describe().kinds == {kind}
