"""ONNX Runtime: fp32 and int8 graphs, without torch."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import onnxruntime
from prelabel_provider.base import BadSettings

from .engines import About, Batch, Engine, Floats
from .saved import Saved, line_of
from .settings import HuggingFaceSettings

_CUDA = "CUDAExecutionProvider"
_INPUTS = {"input_ids", "attention_mask", "token_type_ids"}
_ERRORS_ONLY = 3


class OnnxEngine(Engine):
    """A session of ONNX Runtime."""

    def __init__(self, session: Any, about: About, files: Sequence[Path]) -> None:
        self._session = session
        self._inputs = frozenset(given.name for given in session.get_inputs())
        names = [said.name for said in session.get_outputs()]
        self._output = "logits" if "logits" in names else names[0]
        self.about = about
        self.files = files

    @classmethod
    def load(cls, saved: Saved, settings: HuggingFaceSettings) -> Self:
        """Raises `BadSettings`."""
        precision, graph = _graph(saved, settings)
        device = _device(settings.device)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", "0"))  # 0: as many as there are cores
        options.inter_op_num_threads = 1
        options.log_severity_level = _ERRORS_ONLY
        providers: list[Any] = ["CPUExecutionProvider"]
        if device != "cpu":
            providers.insert(0, (_CUDA, {"device_id": int(device.partition(":")[2])}))
        try:
            session = onnxruntime.InferenceSession(str(graph), options, providers=providers)
        except MemoryError:
            raise
        except Exception as error:  # ONNX Runtime's errors have no common base but this one
            raise BadSettings(f"{saved.name}: {graph.name} cannot be loaded: {line_of(error)}") from error
        if unknown := {given.name for given in session.get_inputs()} - _INPUTS:
            raise BadSettings(
                f"{saved.name}: {graph.name} asks for {', '.join(sorted(unknown))}: it was exported for more"
            )
        if device != "cpu" and session.get_providers()[0] != _CUDA:
            raise BadSettings(f"device: ONNX Runtime cannot use {device} here")
        beside = [path for path in graph.parent.glob(f"{graph.name}[._]data") if path.is_file()]
        return cls(session, About("onnx", device, precision), [graph, *beside])

    def run(self, batch: Batch) -> Floats:
        """One call of the session."""
        feeds = {"input_ids": batch.ids, "attention_mask": batch.mask, "token_type_ids": batch.types}
        (logits,) = self._session.run([self._output], {name: feeds[name] for name in self._inputs})
        return np.asarray(logits, dtype=np.float32)


def _graph(saved: Saved, settings: HuggingFaceSettings) -> tuple[str, Path]:
    if settings.precision in {"fp16", "bf16"}:
        raise BadSettings(f"precision: {settings.precision} is torch's; ONNX graphs are fp32 or int8")
    for precision in ("fp32", "int8") if settings.precision == "auto" else (settings.precision,):
        if (graph := saved.graph(precision)) is not None:
            return precision, graph
    wanted = "" if settings.precision == "auto" else f" of {settings.precision}"
    raise BadSettings(f"engine: {saved.name} has no ONNX graph{wanted}: make it by export")


def _device(wanted: str) -> str:
    usable = _CUDA in onnxruntime.get_available_providers()
    if wanted == "auto":
        return "cuda:0" if usable else "cpu"
    if wanted.startswith("cuda"):
        if not usable:
            raise BadSettings("device: this ONNX Runtime is for the CPU only; onnxruntime-gpu is the other one")
        return wanted if ":" in wanted else f"{wanted}:0"
    return wanted
