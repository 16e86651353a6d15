"""`python -m prelabel_inference_huggingface export MODEL OUT`: an ONNX graph of a model, as fp32 or int8.

Needs torch and transformers; what it writes runs without them.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from prelabel_contract.errors import field_errors
from prelabel_provider.base import BadSettings
from pydantic import ValidationError

from .saved import TOKENIZER_FILES, Saved, find
from .settings import HuggingFaceSettings, Task

_HEADS: dict[str, Task] = {
    "ForTokenClassification": "token-classification",
    "ForSequenceClassification": "text-classification",
}
_GRAPHS = {False: "model.onnx", True: "model_int8.onnx"}


def main(argv: Sequence[str]) -> int:
    """Make an ONNX graph of a model. Exit codes: 0 done, 1 it cannot be exported, 2 wrong arguments."""
    arguments = _parser().parse_args(argv)
    model = {"path": arguments.model}
    if arguments.revision:
        model = {"hub": arguments.model, "revision": arguments.revision}
    try:
        written = export(model, arguments.out, int8=arguments.int8)
    except ValidationError as error:
        said = "; ".join(f"{one.pointer.lstrip('/')}: {one.detail}" for one in field_errors(error))
        sys.stderr.write(f"export: {said}\n")
        return 2
    except BadSettings as error:
        sys.stderr.write(f"export: {error}\n")
        return 1
    except OSError as error:
        sys.stderr.write(f"export: {error.filename or arguments.out}: {error.strerror}\n")
        return 1
    sys.stdout.write(f"{written}: {written.stat().st_size / 1e6:.1f} MB\n")
    return 0


def export(model: dict[str, str], out: Path, *, int8: bool = False) -> Path:
    """Write the graph, config and tokenizer of a model (`path`, or `hub` and `revision`) to a folder; the graph's path.

    int8: weights of matrix products are stored in 8 bits, what flows between them is rounded as it comes. Raises
    `BadSettings`.
    """
    saved = find(HuggingFaceSettings.model_validate({**model, "task": "text-classification"}))
    task = _task(saved)
    saved.weights()
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out) as scratch:
        made = _graph(saved, task, Path(scratch) / _GRAPHS[False])
        if int8:
            made = quantize(made, Path(scratch) / _GRAPHS[True])
        written = shutil.move(made, out / made.name)
    for name in ("config.json", *TOKENIZER_FILES):
        if (saved.folder / name).is_file():
            shutil.copyfile(saved.folder / name, out / name)
    return Path(written)


def quantize(graph: Path, out: Path) -> Path:
    """An int8 graph of an fp32 one.

    Weights have 7 bits and a scale per column: processors without VNNI add products of 8 bits in 16, and cut sums off.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    options = {"MatMulConstBOnly": True}
    quantize_dynamic(
        graph,
        out,
        op_types_to_quantize=["MatMul", "Gemm"],
        weight_type=QuantType.QInt8,
        per_channel=True,
        reduce_range=True,
        extra_options=options,
    )
    return out


def _task(saved: Saved) -> Task:
    listed = saved.config.get("architectures")
    architectures = [str(name) for name in listed] if isinstance(listed, list) else []
    for ending, task in _HEADS.items():
        if any(name.endswith(ending) for name in architectures):
            return task
    found = ", ".join(architectures) or "of no architecture"
    raise BadSettings(f"{saved.name} is {found}: only {' and '.join(_HEADS)} can be exported")


def _graph(saved: Saved, task: Task, out: Path) -> Path:
    try:
        from .torch_export import graph
    except ImportError as error:
        raise BadSettings("this environment has no torch: install prelabel-inference-huggingface[torch]") from error
    return graph(saved, task, out)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m prelabel_inference_huggingface export", description=(main.__doc__ or "").partition(".")[0]
    )
    parser.add_argument("model", metavar="MODEL", help="a folder, or with --revision a hub's owner/name")
    parser.add_argument("out", metavar="OUT", type=Path, help="the folder to write to")
    parser.add_argument("--revision", help="the commit of a model on the hub")
    parser.add_argument("--int8", action="store_true", help="quantize: smaller, faster on a CPU, a little less exact")
    return parser
