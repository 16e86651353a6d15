"""Torch: on a CPU, or on a GPU in half precision. What GPUs do here was written without one."""

import inspect
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Self

import torch
import transformers
from prelabel_provider.base import BadSettings

from .engines import About, Batch, Engine, Floats, Writer
from .saved import Saved, line_of
from .settings import HuggingFaceSettings, Task

_DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


class TorchEngine(Engine):
    """A module in inference mode."""

    def __init__(self, module: Any, about: About, files: Sequence[Path]) -> None:
        self._module = module
        self._takes_types = takes_types(module)
        self.about = about
        self.files = files

    @classmethod
    def load(cls, saved: Saved, settings: HuggingFaceSettings) -> Self:
        """Raises `BadSettings`."""
        about = _about(settings)
        return cls(module(saved, settings.task or saved.task, about.device), about, _files(saved))

    def run(self, batch: Batch) -> Floats:
        """One forward pass, in the precision of `about`."""
        feeds = {"input_ids": batch.ids, "attention_mask": batch.mask}
        if self._takes_types:
            feeds["token_type_ids"] = batch.types
        tensors = {name: torch.from_numpy(array).to(self.about.device) for name, array in feeds.items()}
        with torch.inference_mode(), cast(self.about):
            logits = self._module(**tensors).logits
        return logits.float().cpu().numpy()  # type: ignore[no-any-return]


class TorchWriter(Writer):
    """Writes the likeliest token each time: the same text gets the same answer."""

    def __init__(self, module: Any, about: About, files: Sequence[Path], saved: Saved) -> None:
        self._module = module
        self._pad_id = saved.pad_id
        self.continues = not saved.config.get("is_encoder_decoder")
        self.about = about
        self.files = files

    @classmethod
    def load(cls, saved: Saved, settings: HuggingFaceSettings) -> Self:
        """Raises `BadSettings`."""
        about = _about(settings)
        return cls(module(saved, settings.task or saved.task, about.device), about, _files(saved), saved)

    def write(self, batch: Batch, new_tokens: int) -> Sequence[Sequence[int]]:
        """One search, without chance and without beams."""
        with torch.inference_mode(), cast(self.about):
            written = self._module.generate(
                input_ids=torch.from_numpy(batch.ids).to(self.about.device),
                attention_mask=torch.from_numpy(batch.mask).to(self.about.device),
                max_new_tokens=new_tokens,
                do_sample=False,
                num_beams=1,
                pad_token_id=self._pad_id,
            )
        return (written[:, batch.ids.shape[1] :] if self.continues else written).tolist()  # type: ignore[no-any-return]


def _about(settings: HuggingFaceSettings) -> About:
    """Device and precision: what is asked for, or the best there is. Raises `BadSettings`."""
    device = device_of(settings.device)
    precision: str = settings.precision
    if precision == "auto":
        precision = "fp32" if device == "cpu" else "bf16" if able_to_bf16(device) else "fp16"
    if precision == "bf16" and device != "cpu" and not able_to_bf16(device):
        raise BadSettings(f"precision: {device} cannot compute in bf16; fp16 is the one for it")
    if precision == "fp16" and device == "cpu":
        raise BadSettings("precision: fp16 is for GPUs; a CPU takes fp32 or bf16")
    return About("torch", device, precision)


def device_of(wanted: str) -> str:
    """The device that is asked for, or the best there is. Raises `BadSettings`."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if wanted == "auto":
        return "cuda:0" if count else "cpu"
    if wanted.startswith("cuda"):
        index = int(wanted.partition(":")[2] or 0)
        if index >= count:
            raise BadSettings(f"device: there is no {wanted} here: torch finds {count} GPUs")
        return f"cuda:{index}"
    return wanted


def able_to_bf16(device: str) -> bool:
    """Whether a GPU computes in bf16 itself."""
    major, _ = torch.cuda.get_device_capability(device)
    return bool(major >= 8)  # Ampere; older ones emulate it, slowly


def cast(about: About) -> AbstractContextManager[Any]:
    """Compute in the precision of `about`: weights stay fp32 and are cast as they are used."""
    if about.precision == "fp32":
        return nullcontext()
    device = about.device.partition(":")[0]
    return torch.autocast(device, dtype=_DTYPES[about.precision])  # type: ignore[no-any-return]


def module(saved: Saved, task: Task, device: str) -> Any:
    """The model with its head for a task, from safetensors only, without code of its own. Raises `BadSettings`."""
    try:
        model, missing = _class(saved, task).from_pretrained(
            str(saved.folder),
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            dtype=torch.float32,
            output_loading_info=True,
        )
    except MemoryError:
        raise
    except Exception as error:  # transformers raises whatever a folder makes it raise
        raise BadSettings(f"{saved.name} cannot be loaded by transformers: {line_of(error)}") from error
    if keys := missing.get("missing_keys"):
        # transformers would fill them in at random: a model for another task, or half of one.
        raise BadSettings(f"{saved.name} is no {task} model: it has no weights for {sorted(keys)[0]}")
    return model.eval().to(device)


def _class(saved: Saved, task: Task) -> Any:
    if task == "token-classification":
        return transformers.AutoModelForTokenClassification
    if task == "text-generation":
        seq2seq = saved.config.get("is_encoder_decoder")
        return transformers.AutoModelForSeq2SeqLM if seq2seq else transformers.AutoModelForCausalLM
    return transformers.AutoModelForSequenceClassification


def _files(saved: Saved) -> list[Path]:
    """The weights' files."""
    return sorted((*saved.folder.glob("*.safetensors"), *saved.folder.glob("*.safetensors.index.json")))


def takes_types(module: Any) -> bool:
    """Whether a module is told which text of a pair a token is of."""
    named = "token_type_ids" in inspect.signature(module.forward).parameters
    return named and getattr(module.config, "type_vocab_size", 0) > 1
