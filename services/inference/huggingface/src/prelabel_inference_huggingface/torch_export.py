"""A torch module as an ONNX graph with free batch and length."""

from pathlib import Path
from typing import Any

import torch
from prelabel_provider.base import BadSettings

from .saved import Saved, line_of
from .settings import Task
from .torch_engine import module, takes_types

_OPSET = 18


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
    names = ["input_ids", "attention_mask", *(["token_type_ids"] if takes_types(model) else [])]
    example = torch.ones((2, 9), dtype=torch.int64)
    try:
        with torch.inference_mode():
            torch.onnx.export(
                _Logits(model, names),
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
    return out
