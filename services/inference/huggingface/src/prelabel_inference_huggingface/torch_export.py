"""A torch module as an ONNX graph with free batch and length."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from prelabel_provider.base import BadSettings

from .saved import Saved, line_of
from .settings import Task
from .torch_engine import module, takes_types

_OPSET = 18
_CLOSE = 1e-3


class _Logits(torch.nn.Module):  # type: ignore[misc]
    """Only what is read of a model's output."""

    def __init__(self, model: Any, names: list[str]) -> None:
        super().__init__()
        self._model = model
        self._names = names

    def forward(self, *given: Any) -> Any:
        return self._model(**dict(zip(self._names, given, strict=True))).logits


def graph(saved: Saved, task: Task, out: Path) -> Path:
    """Write it. Raises `BadSettings` for a model that cannot be traced."""
    model = module(saved, task, "cpu")
    model.set_attn_implementation("eager")  # the others look at the mask's values, which a tracer would freeze
    names = ["input_ids", "attention_mask", *(["token_type_ids"] if takes_types(model) else [])]
    example = torch.ones((2, 9), dtype=torch.int64)
    example[1, 6:] = 0  # a mask that hides something, and ids like any other
    try:
        with torch.inference_mode(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the tracer, which sees values that never change: what counts is below
            torch.onnx.export(
                _Logits(model, names).eval(),  # else the exporter leaves the model in training, dropout and all
                tuple(example for _ in names),
                str(out),
                input_names=names,
                output_names=["logits"],
                dynamic_axes={name: {0: "texts", 1: "tokens"} for name in names} | {"logits": {0: "texts"}},
                opset_version=_OPSET,
                dynamo=False,
            )
    except MemoryError:
        raise
    except Exception as error:  # a tracer fails in many ways
        raise BadSettings(f"{saved.name} cannot be exported: {line_of(error)}") from error
    _compare(out, model, names, saved)
    return out


def _compare(graph: Path, model: Any, names: list[str], saved: Saved) -> None:
    """Make sure that the graph says what the model says, at other lengths than it was traced with."""
    session = onnxruntime.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
    for texts, tokens in ((1, 5), (3, 16)):
        ids = torch.arange(texts * tokens).reshape(texts, tokens) % 7 + 1
        mask = (torch.arange(tokens) < tokens - torch.arange(texts)[:, None]).long()
        given = dict(zip(names, (ids, mask, torch.zeros_like(ids)), strict=False))
        with torch.inference_mode():
            said = model(**given).logits.numpy()
        (again,) = session.run(None, {name: tensor.numpy() for name, tensor in given.items()})
        seen = mask.numpy().astype(bool) if said.ndim > 2 else slice(None)
        if not np.allclose(said[seen], again[seen], atol=_CLOSE):
            raise BadSettings(f"{saved.name} cannot be exported: its graph says something else than the model")
