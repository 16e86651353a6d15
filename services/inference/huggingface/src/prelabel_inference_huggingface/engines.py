"""What computes: the port that the tasks ask, and which engine, device and precision a model gets."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from prelabel_provider.base import BadSettings

from .saved import Saved, line_of
from .settings import EngineName, HuggingFaceSettings, Task

Ids = NDArray[np.int64]
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class About:
    """What a model runs on."""

    engine: EngineName
    device: str
    """cpu, cuda:0, …"""
    precision: str
    """fp32, fp16, bf16, int8."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Token ids of some texts, filled up to one length."""

    ids: Ids
    """[texts, tokens]"""
    mask: Ids
    """1 where a token is, 0 where it is filled up."""
    types: Ids
    """0 for the first text of a pair, 1 for the second."""


class Runs(ABC):
    """A loaded model."""

    about: About
    files: Sequence[Path]
    """What was loaded, config and tokenizer aside."""


class Engine(Runs):
    """A model that says something about what it reads."""

    @abstractmethod
    def run(self, batch: Batch) -> Floats:
        """What the model says before it is turned into probabilities: [texts, labels] or [texts, tokens, labels]."""


class Writer(Runs):
    """A model that writes."""

    continues: bool
    """What it reads and what it writes share its room; else each has its own."""

    @abstractmethod
    def write(self, batch: Batch, new_tokens: int) -> Sequence[Sequence[int]]:
        """At most so many tokens per text. Texts are filled up on the left."""


def load(saved: Saved, settings: HuggingFaceSettings) -> Engine:
    """The engine that the settings ask for, or the folder makes the choice of. Raises `BadSettings`."""
    name = settings.engine
    if name == "auto":
        has_graph = saved.graph("fp32") is not None or saved.graph("int8") is not None
        name = "onnx" if has_graph and settings.precision in {"auto", "fp32", "int8"} else "torch"
    if name == "onnx":
        from .onnx_engine import OnnxEngine

        return _checked(OnnxEngine.load(saved, settings), saved, settings.task or saved.task)
    if settings.precision == "int8":
        raise BadSettings(f"precision: int8 needs an ONNX graph, which {saved.name} has not: make it by export --int8")
    saved.weights()
    return _checked(_torch().TorchEngine.load(saved, settings), saved, settings.task or saved.task)


def _checked(engine: Engine, saved: Saved, task: Task) -> Engine:
    """The engine, once it has said what config and task promise. Raises `BadSettings`."""
    one = np.ones((1, 4), np.int64)
    try:
        said = engine.run(Batch(one * saved.pad_id, one, one * 0))
    except MemoryError:
        raise
    except Exception as error:  # whatever the engine's library comes up with
        raise BadSettings(f"{saved.name} cannot be run: {line_of(error)}") from error
    wanted = 3 if task == "token-classification" else 2
    if said.ndim != wanted:
        raise BadSettings(
            f"{saved.name} is no {task} model: it says something to each {'token' if said.ndim > 2 else 'text'}"
        )
    if said.shape[-1] != len(saved.labels):
        raise BadSettings(
            f"{saved.name} gives {said.shape[-1]} values, its config.json names {len(saved.labels)} labels"
        )
    return engine


def writer(saved: Saved, settings: HuggingFaceSettings) -> Writer:
    """The same for a model that writes. Raises `BadSettings`."""
    if settings.engine == "onnx" or settings.precision == "int8":
        raise BadSettings("engine: text-generation runs on torch only, in fp32, fp16 or bf16")
    saved.weights()
    return _torch().TorchWriter.load(saved, settings)  # type: ignore[no-any-return]


def _torch() -> Any:
    try:
        from . import torch_engine
    except ImportError as error:
        raise BadSettings(
            "engine: this environment has no torch and no transformers; install prelabel-inference-huggingface[torch], "
            "or export the model to ONNX where they are"
        ) from error
    return torch_engine
