"""A base with a head for what is learned, and how it is saved."""

from pathlib import Path
from typing import Any

import torch
import transformers
from prelabel_provider.base import BadSettings
from prelabel_provider.trainer import CannotTrain

from .engines import About
from .lessons import Lessons
from .saved import Saved, line_of
from .torch_engine import able_to_bf16, device_of

_MAX_SHARD = "3GB"
"""Of one file: the model store takes 4 GiB."""


def about_of(wanted: str) -> About:
    """What is trained on. Raises `CannotTrain`."""
    try:
        device = device_of(wanted)
    except BadSettings as error:
        raise CannotTrain("device", str(error)) from error
    return About("torch", device, "bf16" if device != "cpu" and able_to_bf16(device) else "fp32")


def with_head(saved: Saved, lessons: Lessons, about: About, seed: int) -> Any:
    """The base's model with a head for these outputs: its own where it has the same, else one by chance.

    From safetensors only, without code of its own. Raises `CannotTrain`.
    """
    torch.manual_seed(seed)
    names = dict(enumerate(lessons.outputs))
    kind = (
        transformers.AutoModelForTokenClassification
        if lessons.task == "token-classification"
        else transformers.AutoModelForSequenceClassification
    )
    try:
        module, loaded = kind.from_pretrained(
            str(saved.folder),
            id2label=names,
            label2id={label: place for place, label in names.items()},
            ignore_mismatched_sizes=True,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            dtype=torch.float32,
            output_loading_info=True,
        )
    except MemoryError:
        raise
    except Exception as error:  # transformers raises whatever a folder makes it raise
        raise CannotTrain("base", f"the base cannot be loaded by transformers: {line_of(error)}") from error
    _check(module, loaded, saved)
    if _labels(saved) != lessons.outputs:
        _renew_head(module)
    if lessons.task == "text-classification":
        module.config.problem_type = "multi_label_classification" if lessons.many else "single_label_classification"
    return module.to(about.device)


def write(module: Any, folder: Path) -> None:
    """Config and weights, which say nothing about where the base lay."""
    module.config.name_or_path = ""
    vars(module.config).pop("auto_map", None)
    module.save_pretrained(folder, max_shard_size=_MAX_SHARD)


def _labels(saved: Saved) -> tuple[str, ...]:
    try:
        return saved.labels
    except BadSettings:
        return ()


def _renew_head(module: Any) -> None:
    """A head of the same size for other labels would say those under the names of these."""
    body = f"{module.base_model_prefix}."
    spread = getattr(module.config, "initializer_range", 0.02)
    for name, part in module.named_modules():
        if isinstance(part, torch.nn.Linear) and not name.startswith(body):
            torch.nn.init.normal_(part.weight, 0.0, spread)
            if part.bias is not None:
                torch.nn.init.zeros_(part.bias)


def _check(module: Any, loaded: Any, saved: Saved) -> None:
    """Only the head may be by chance, and what a base without one lacks: the pooler before it. Raises `CannotTrain`."""
    body = f"{module.base_model_prefix}."
    missing = [key for key in loaded["missing_keys"] if str(key).startswith(body) and ".pooler." not in str(key)]
    if missing:
        raise CannotTrain("base", f"{saved.name} is no base for this: it has no weights for {sorted(missing)[0]}")
