"""The same on torch, and what only torch does: generation, half precision, export. `make test-torch` runs it."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
from prelabel_contract.regions import Text
from prelabel_inference_huggingface.provider import HuggingFaceProvider
from prelabel_provider.base import BadSettings, Failed, Input, Predicted
from prelabel_provider.testing import ProviderTests

from tests.rig.onnx_models import pieces

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from prelabel_inference_huggingface.export import export, main  # noqa: E402 - after it is known that torch is there

_TEXTS = ("Ada met Bob in Paris", "London is good", "bad news for Bob", "Émile saw 東京 and Œuvre")
_SAMPLES = tuple({"text": text} for text in _TEXTS)
_SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
    "initializer_range": 0.4,
}
_TAGS = {0: "O", 1: "B-PERSON", 2: "I-PERSON", 3: "B-CITY", 4: "I-CITY"}


def _saved(folder: Path, model: Any, config: Any, seed: int) -> Path:
    torch.manual_seed(seed)
    made = model(config)
    if config.id2label.get(0) == "O":
        # By chance a model may find nothing, and which chance depends on the processor's vector width.
        torch.nn.init.constant_(made.classifier.bias[:1], -9.0)
    made.save_pretrained(folder)
    _tokenizer().save(str(folder / "tokenizer.json"))
    return folder


def _tokenizer() -> Any:
    return pieces(_TEXTS)


def _bert(labels: Mapping[int, str], **config: Any) -> Any:
    words = _tokenizer().get_vocab_size()
    return transformers.BertConfig(vocab_size=words, id2label=dict(labels), **{**_SMALL, **config})


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Models as transformers saves them, by what is in them."""
    folder = tmp_path_factory.mktemp("torch")
    tokens, texts = transformers.BertForTokenClassification, transformers.BertForSequenceClassification
    three = {0: "good", 1: "bad", 2: "neither"}
    inference = {0: "entailment", 1: "neutral", 2: "contradiction"}
    words = _tokenizer().get_vocab_size()
    gpt2 = transformers.GPT2Config(
        vocab_size=words, n_positions=64, n_embd=32, n_layer=2, n_head=4, initializer_range=0.4, eos_token_id=words - 1
    )
    t5 = transformers.T5Config(
        vocab_size=words, d_model=32, d_ff=64, d_kv=8, num_layers=2, num_heads=4, decoder_start_token_id=0
    )
    roberta = transformers.RobertaConfig(
        vocab_size=words, id2label=three, pad_token_id=0, **{**_SMALL, "type_vocab_size": 1}
    )
    return {
        "tags": _saved(folder / "tags", tokens, _bert(_TAGS), 1),
        "other_tags": _saved(folder / "other_tags", tokens, _bert(_TAGS), 2),
        "choices": _saved(folder / "choices", texts, _bert(three), 3),
        "other_choices": _saved(folder / "other_choices", texts, _bert(three), 4),
        "inference": _saved(folder / "inference", texts, _bert(inference), 5),
        "roberta": _saved(folder / "roberta", transformers.RobertaForSequenceClassification, roberta, 6),
        "gpt2": _saved(folder / "gpt2", transformers.GPT2LMHeadModel, gpt2, 7),
        "t5": _saved(folder / "t5", transformers.T5ForConditionalGeneration, t5, 8),
    }


class _Saved(ProviderTests):
    provider = HuggingFaceProvider
    samples = _SAMPLES
    long_text_characters = 20_000
    folder: ClassVar[str]
    other: ClassVar[str]
    said: ClassVar[Mapping[str, Any]]

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _settings(cls, folders: Mapping[str, Path]) -> None:
        cls.settings = {"path": str(folders[cls.folder]), **cls.said}
        cls.other_settings = {"path": str(folders[cls.other]), **cls.said}


class TestSpans(_Saved):
    folder, other = "tags", "other_tags"
    said = {"task": "token-classification", "aggregation": "average", "device": "cpu"}


class TestOneChoice(_Saved):
    folder, other = "choices", "other_choices"
    said = {"task": "text-classification", "device": "cpu"}


class TestZeroShot(_Saved):
    folder, other = "inference", "inference"
    said = {"task": "zero-shot", "labels": ["good", "bad"], "device": "cpu"}

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _other(cls, folders: Mapping[str, Path], _settings: None) -> None:
        cls.other_settings = {**cls.settings, "labels": ["good", "news"]}


class TestContinuation(_Saved):
    folder, other = "gpt2", "t5"
    said = {"task": "text-generation", "new_tokens": 8, "prompt": "{text} .", "device": "cpu"}


class TestAnswer(_Saved):
    folder, other = "t5", "gpt2"
    said = {"task": "text-generation", "new_tokens": 8, "device": "cpu"}


def _load(folder: Path, **settings: Any) -> HuggingFaceProvider:
    said = {"path": str(folder), "task": "token-classification", "device": "cpu", **settings}
    return HuggingFaceProvider.load(HuggingFaceProvider.Settings.model_validate(said))


def _inputs(*texts: str) -> list[Input]:
    return [Input(str(i), {"text": text}, "text") for i, text in enumerate(texts or _TEXTS)]


def _scored(model: HuggingFaceProvider) -> list[Any]:
    said = model.predict(_inputs(*_TEXTS, "Ada met Bob " * 60))
    return [
        [(r.model_dump(exclude={"score"}), pytest.approx(r.score, abs=1e-3)) for r in one.regions]
        for one in said
        if isinstance(one, Predicted)
    ]


@pytest.mark.parametrize(
    ("name", "task"),
    [("tags", "token-classification"), ("choices", "text-classification"), ("roberta", "text-classification")],
)
def test_what_is_exported_says_the_same_on_onnx_runtime(
    folders: Mapping[str, Path], tmp_path: Path, name: str, task: str
) -> None:
    graph = export({"path": str(folders[name])}, tmp_path / "out")
    assert graph.name == "model.onnx"
    exported = _load(tmp_path / "out", task=task)
    assert exported.describe().version.endswith("/onnx-fp32")
    original = _load(folders[name], task=task)
    assert original.describe().version.endswith("/torch-fp32")
    said = exported.predict(_inputs(*_TEXTS, "Ada met Bob " * 60))
    again = [[(r.model_dump(exclude={"score"}), r.score) for r in one.regions] for one in said]  # type: ignore[union-attr]
    assert again == _scored(original)


def test_the_command_writes_int8_and_nothing_beside_it(
    folders: Mapping[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(folders["choices"]), str(tmp_path / "out"), "--int8"]) == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["config.json", "model_int8.onnx", "tokenizer.json"]
    assert "model_int8.onnx" in capsys.readouterr().out
    assert _load(tmp_path / "out", task="text-classification").describe().version.endswith("/onnx-int8")


def test_what_cannot_be_exported_is_refused(
    folders: Mapping[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(folders["gpt2"]), str(tmp_path / "out")]) == 1
    assert "export: gpt2 is GPT2LMHeadModel: only" in capsys.readouterr().err


def test_bf16_says_about_the_same(folders: Mapping[str, Path]) -> None:
    model = _load(folders["choices"], task="text-classification", precision="bf16", choices="many", least=0.0)
    exact = _load(folders["choices"], task="text-classification", choices="many", least=0.0)
    assert model.describe().version.endswith("/torch-bf16")
    for one, other in zip(model.predict(_inputs()), exact.predict(_inputs()), strict=True):
        assert isinstance(one, Predicted)
        assert isinstance(other, Predicted)
        assert [r.score for r in one.regions] == pytest.approx([r.score for r in other.regions], abs=0.05)


def test_fp16_is_not_for_a_cpu(folders: Mapping[str, Path]) -> None:
    with pytest.raises(BadSettings, match="precision: fp16 is for GPUs"):
        _load(folders["tags"], precision="fp16")


def test_what_is_written_is_a_text_of_at_most_so_many_tokens(folders: Mapping[str, Path]) -> None:
    counts = []
    for most in (1, 6):
        model = _load(folders["gpt2"], task="text-generation", new_tokens=most, prompt="{text} .")
        (said,) = model.predict(_inputs("Ada met Bob"))
        assert isinstance(said, Predicted)
        (region,) = said.regions
        assert isinstance(region, Text)
        # A token is one word at most. Read again it may be more tokens: a piece of a word stands alone.
        counts.append(len(region.text[0].split()))
    assert counts[0] <= 1
    assert counts[1] <= 6


def test_a_prompt_that_leaves_no_room_fails_alone(folders: Mapping[str, Path]) -> None:
    model = _load(folders["gpt2"], task="text-generation", new_tokens=8, prompt="{text} .")
    short, long = model.predict(_inputs("Ada", "Ada " * 100))
    assert isinstance(short, Predicted)
    assert isinstance(long, Failed)
    assert long.reason == "too_long"


def test_a_model_without_its_head_is_refused(folders: Mapping[str, Path]) -> None:
    with pytest.raises(BadSettings, match="is no text-classification model: it has no weights for"):
        _load(folders["gpt2"], task="text-classification")


def test_code_beside_a_model_is_never_run(folders: Mapping[str, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(folders["tags"], tmp_path / "with_code"))
    ran = tmp_path / "ran"
    (folder / "modeling_own.py").write_text(f"open({str(ran)!r}, 'w').close()\nclass Own: pass\n")
    config = json.loads((folder / "config.json").read_text())
    own = {"AutoConfig": "modeling_own.Own", "AutoModelForTokenClassification": "modeling_own.Own"}
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "own", "auto_map": own}))
    with pytest.raises(BadSettings, match="cannot be loaded by transformers"):
        _load(folder)
    assert not ran.exists()


def test_pickled_weights_beside_safetensors_are_not_read(folders: Mapping[str, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(folders["tags"], tmp_path / "both"))
    (folder / "pytorch_model.bin").write_bytes(b"no pickle at all")
    assert _load(folder).predict(_inputs()) == _load(folders["tags"]).predict(_inputs())
    (folder / "model.safetensors").unlink()
    with pytest.raises(BadSettings, match=r"has pytorch_model.bin, which can hold code"):
        _load(folder)
