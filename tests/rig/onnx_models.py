"""Small models as ONNX graphs, made without torch: encoders with weights by chance, and tables with known answers.

What is saved is a folder as transformers saves one: config.json, tokenizer.json, and model.onnx.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_OPSET = 20
_IR = 10
"""Of ONNX's file format: one that older runtimes read too."""

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Shape:
    """An encoder's size."""

    vocabulary: int
    outputs: int
    per_token: bool
    """Says something to each token, or to the text as a whole."""
    layers: int = 2
    hidden: int = 32
    heads: int = 4
    positions: int = 64
    spread: float = 0.2
    """Standard deviation of the weights."""


def wordpiece(texts: Iterable[str], size: int) -> Tokenizer:
    """A tokenizer such as BERT's, trained on the spot, lower case."""
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.train_from_iterator(
        texts, trainers.WordPieceTrainer(vocab_size=size, special_tokens=list(SPECIAL), show_progress=False)
    )
    return dressed(made)


def pieces(texts: Iterable[str]) -> Tokenizer:
    """Such a tokenizer without training: the words of the texts, and their letters for whatever else comes.

    A trained one differs from run to run (its trainer counts in hash maps), and with it what weights by chance say.
    """
    known = sorted({word for text in texts for word in text.lower().split()})
    letters = sorted({letter for word in known for letter in word})
    tokens = dict.fromkeys((*SPECIAL, *letters, *(f"##{letter}" for letter in letters), *known))
    made = Tokenizer(models.WordPiece({token: number for number, token in enumerate(tokens)}, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.add_special_tokens(list(SPECIAL))
    return dressed(made)


def words(vocabulary: Sequence[str]) -> Tokenizer:
    """The same with these tokens exactly, those of SPECIAL before them; case counts."""
    ids = {token: number for number, token in enumerate((*SPECIAL, *vocabulary))}
    made = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.add_special_tokens(list(SPECIAL))
    return dressed(made)


def dressed(tokenizer: Tokenizer) -> Tokenizer:
    """With [CLS] and [SEP] around texts and pairs."""
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")],
    )
    return tokenizer


def save(folder: Path, tokenizer: Tokenizer, labels: Sequence[str], graph: onnx.ModelProto, **config: Any) -> Path:
    """A folder as transformers saves one, with the graph beside its config."""
    folder.mkdir(parents=True, exist_ok=True)
    said: Mapping[str, Any] = {
        "model_type": "distilbert",
        "id2label": {str(number): label for number, label in enumerate(labels)},
        "max_position_embeddings": 64,
        "pad_token_id": 0,
        **config,
    }
    (folder / "config.json").write_text(json.dumps(said))
    tokenizer.save(str(folder / "tokenizer.json"))
    onnx.save(graph, str(folder / "model.onnx"))
    return folder


def lookup(table: Floats, *, per_token: bool) -> onnx.ModelProto:
    """Known answers: each token says its row of `table`; a text says the sum of its tokens' rows."""
    graph = Graph()
    said = graph.node("Gather", graph.constant(table), "input_ids")
    if not per_token:
        mask = graph.node("Cast", "attention_mask", to=TensorProto.FLOAT)
        spread = graph.node("Unsqueeze", mask, graph.integers(2))
        said = graph.node("ReduceSum", graph.node("Mul", said, spread), graph.integers(1), keepdims=0)
    return graph.model(said, per_token=per_token, outputs=table.shape[1])


def contains(table: Floats) -> onnx.ModelProto:
    """A model of inference with known answers: of [contradiction, entailment] the latter is what the pair's two texts
    have in common, as the product of their sums of rows of `table`.
    """
    graph = Graph()
    rows = graph.node("Gather", graph.constant(table), "input_ids")
    second = graph.node("Cast", "token_type_ids", to=TensorProto.FLOAT)
    both = graph.node("Cast", "attention_mask", to=TensorProto.FLOAT)
    sums = [
        graph.node(
            "ReduceSum",
            graph.node("Mul", rows, graph.node("Unsqueeze", weight, graph.integers(2))),
            graph.integers(1),
            keepdims=0,
        )
        for weight in (graph.node("Sub", both, second), second)
    ]
    common = graph.node("ReduceSum", graph.node("Mul", *sums), graph.integers(1), keepdims=1)
    said = graph.node("Concat", graph.node("Neg", common), common, axis=1)
    return graph.model(said, per_token=False, outputs=2, inputs=("input_ids", "attention_mask", "token_type_ids"))


def encoder(shape: Shape, *, seed: int) -> onnx.ModelProto:
    """Layers of attention and feed-forward as in BERT and DistilBERT, with weights by chance."""
    graph = Graph(np.random.default_rng(seed), shape.spread)
    count = graph.node("Slice", graph.node("Shape", "input_ids"), graph.integers(1), graph.integers(2))
    places = graph.node("Slice", graph.weights(shape.positions, shape.hidden), graph.integers(0), count)
    tokens = graph.node("Gather", graph.weights(shape.vocabulary, shape.hidden), "input_ids")
    x = graph.normal(graph.node("Add", tokens, places), shape.hidden)
    seen = graph.node("Cast", "attention_mask", to=TensorProto.FLOAT)
    hidden = graph.node("Mul", graph.node("Sub", graph.constant(np.float32(1)), seen), graph.constant(np.float32(-1e4)))
    hidden = graph.node("Unsqueeze", hidden, graph.integers(1, 2))
    for _ in range(shape.layers):
        x = graph.normal(graph.node("Add", x, _attention(graph, x, hidden, shape)), shape.hidden)
        inner = graph.node("Gelu", graph.linear(x, shape.hidden, 4 * shape.hidden))
        x = graph.normal(graph.node("Add", x, graph.linear(inner, 4 * shape.hidden, shape.hidden)), shape.hidden)
    if not shape.per_token:
        x = graph.node("Gather", x, graph.constant(np.int64(0)), axis=1)
    said = graph.linear(x, shape.hidden, shape.outputs)
    return graph.model(said, per_token=shape.per_token, outputs=shape.outputs)


def _attention(graph: "Graph", x: str, hidden: str, shape: Shape) -> str:
    apart, together = graph.integers(0, 0, shape.heads, shape.hidden // shape.heads), graph.integers(0, 0, shape.hidden)
    query, key, value = (
        graph.node("Reshape", graph.linear(x, shape.hidden, shape.hidden), apart) for _ in ("query", "key", "value")
    )
    query = graph.node("Transpose", query, perm=[0, 2, 1, 3])
    key = graph.node("Transpose", key, perm=[0, 2, 3, 1])
    value = graph.node("Transpose", value, perm=[0, 2, 1, 3])
    scale = graph.constant(np.float32((shape.hidden // shape.heads) ** -0.5))
    scores = graph.node("MatMul", graph.node("Mul", query, scale), key)
    weights = graph.node("Softmax", graph.node("Add", scores, hidden), axis=-1)
    mixed = graph.node("Transpose", graph.node("MatMul", weights, value), perm=[0, 2, 1, 3])
    return graph.linear(graph.node("Reshape", mixed, together), shape.hidden, shape.hidden)


class Graph:
    """A graph as it grows: nodes by the name of what they give."""

    def __init__(self, chance: np.random.Generator | None = None, spread: float = 0.0) -> None:
        self._chance = chance or np.random.default_rng(0)
        self._spread = spread
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def node(self, operation: str, *inputs: str, **attributes: Any) -> str:
        """An operation; the name of its result."""
        name = f"n{len(self._nodes)}"
        self._nodes.append(helper.make_node(operation, list(inputs), [name], **attributes))
        return name

    def constant(self, values: Any) -> str:
        """A tensor that is part of the graph."""
        name = f"c{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def integers(self, *values: int) -> str:
        """Axes, shapes, bounds."""
        return self.constant(np.array(values, np.int64))

    def weights(self, *shape: int) -> str:
        """Values by chance."""
        return self.constant(self._chance.normal(0, self._spread, shape).astype(np.float32))

    def linear(self, x: str, inputs: int, outputs: int) -> str:
        """x · W + b"""
        return self.node("Add", self.node("MatMul", x, self.weights(inputs, outputs)), self.weights(outputs))

    def normal(self, x: str, size: int) -> str:
        """Layer normalisation."""
        ones, zeros = self.constant(np.ones(size, np.float32)), self.constant(np.zeros(size, np.float32))
        return self.node("LayerNormalization", x, ones, zeros, axis=-1, epsilon=1e-12)

    def model(
        self, said: str, *, per_token: bool, outputs: int, inputs: Sequence[str] = ("input_ids", "attention_mask")
    ) -> onnx.ModelProto:
        """The whole, with `said` as its logits."""
        self._nodes.append(helper.make_node("Identity", [said], ["logits"]))
        shape = ["texts", "tokens", outputs] if per_token else ["texts", outputs]
        graph = helper.make_graph(
            self._nodes,
            "made",
            [helper.make_tensor_value_info(name, TensorProto.INT64, ["texts", "tokens"]) for name in inputs],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, shape)],
            self._constants,
        )
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR)
        onnx.checker.check_model(made)
        return made
