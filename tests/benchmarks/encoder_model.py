"""An encoder of DistilBERT's size (6 layers, 768 wide, 12 heads) in int8 on ONNX Runtime, and without Prelabel.

Its weights are chance: what it says is worth nothing, what it costs is what a trained one costs. It is made on this
machine without torch and kept for the next run.

python -m tests.benchmarks.encoder_model MODEL < what `bare_process` says
"""

import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.bare_process import BareProcess, serve

LABELS = ("joy", "anger", "fear", "sadness", "surprise")
QUESTION: Mapping[str, Any] = {"name": "mood", "kind": "choice", "field": "text", "labels": list(LABELS)}
"""What a project asks."""
BATCHES = (4, 8, 16)
"""Texts at once: more are slower on every CPU that was tried, since what flows between layers leaves the cache."""
VOCABULARY = 8000


def prepare(kept: Path, texts: Sequence[str]) -> Path:
    """The model's folder in `kept`; made there first where it is not, with a tokenizer of these texts: 20 seconds."""
    folder = kept / "encoder"
    if not folder.exists():
        with tempfile.TemporaryDirectory(dir=kept) as scratch:
            _make(Path(scratch) / "fp32", Path(scratch) / "int8", texts)
            shutil.move(Path(scratch) / "int8", folder)  # last: where it is, all is
    return folder


def model(folder: Path) -> dict[str, Any]:
    """The project's model that answers `QUESTION`."""
    settings = {"path": str(folder.absolute()), "task": "text-classification", "precision": "int8", "device": "cpu"}
    return {"name": "mood", "provider": "huggingface", "settings": settings}


def bare(folder: Path) -> BareProcess:
    """ONNX Runtime alone: tokenize, sort by length, run, take the best label."""
    return BareProcess("tests.benchmarks.encoder_model", folder, BATCHES)


def _make(full: Path, int8: Path, texts: Sequence[str]) -> None:
    from prelabel_inference_huggingface.export import quantize

    from tests.rig.onnx_models import Shape, encoder, save, wordpiece

    tokenizer = wordpiece(texts, VOCABULARY)
    size = Shape(
        vocabulary=tokenizer.get_vocab_size(),
        outputs=len(LABELS),
        per_token=False,
        layers=6,
        hidden=768,
        heads=12,
        positions=512,
        spread=0.05,
    )
    save(full, tokenizer, LABELS, encoder(size, seed=1), max_position_embeddings=512)
    int8.mkdir()
    quantize(full / "model.onnx", int8 / "model_int8.onnx")
    for name in ("config.json", "tokenizer.json"):
        shutil.copyfile(full / name, int8 / name)


def main() -> None:
    """Answer until standard input ends."""
    import numpy as np
    import onnxruntime
    from tokenizers import Tokenizer

    folder = Path(sys.argv[1])
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    graph = str(folder / "model_int8.onnx")
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    def run(texts: list[str], size: int) -> None:
        every = sorted((one.ids for one in tokenizer.encode_batch_fast(texts)), key=len)
        for first in range(0, len(every), size):
            some = every[first : first + size]
            ids = np.zeros((len(some), len(some[-1])), np.int64)
            mask = np.zeros_like(ids)
            for row, one in enumerate(some):
                ids[row, : len(one)] = one
                mask[row, : len(one)] = 1
            (logits,) = session.run(["logits"], {"input_ids": ids, "attention_mask": mask})
            logits.argmax(axis=1)

    serve(run)


if __name__ == "__main__":
    main()
