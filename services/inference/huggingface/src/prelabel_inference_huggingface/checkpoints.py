"""Where a training stands, so that it goes on after a kill: tensors as safetensors, the rest as JSON."""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from prelabel_runtime.files import sync_folder
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

Tensors = Mapping[str, torch.Tensor]
_STATE = "state.json"
_TENSORS = ("weights.safetensors", "moments.safetensors", "kept.safetensors")
_PART = ".part"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A training at the end of an epoch."""

    epoch: int
    best: float | None
    waited: int
    weights: Tensors
    moments: Tensors
    """Of the optimizer."""
    kept: Tensors
    """The weights of the best epoch; none where nothing was scored."""


class Checkpoints:
    """In a folder: the last one, and for a moment the one before."""

    def __init__(self, folder: Path, training: str) -> None:
        """`training`: what tells this training from any other; checkpoints of another are not its own."""
        self._folder = folder
        self._training = training

    def latest(self) -> Checkpoint | None:
        """The last one that is whole."""
        for path in sorted(self._folder.glob("*/"), reverse=True):
            if path.suffix != _PART and (found := self._read(path)) is not None:
                return found
        return None

    def keep(self, one: Checkpoint) -> None:
        """Write one, then remove what was there before it."""
        self._folder.mkdir(exist_ok=True)
        before = list(self._folder.iterdir())
        part = self._folder / f"{one.epoch:06d}{_PART}"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        for name, tensors in zip(_TENSORS, (one.weights, one.moments, one.kept), strict=True):
            save_file({key: value.detach().cpu().contiguous() for key, value in tensors.items()}, part / name)
        said = {"training": self._training, "epoch": one.epoch, "best": one.best, "waited": one.waited}
        (part / _STATE).write_text(json.dumps(said))
        for path in part.iterdir():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        part.rename(part.with_suffix(""))
        sync_folder(self._folder)
        for old in before:
            shutil.rmtree(old, ignore_errors=True)

    def remove(self) -> None:
        """Leave nothing: what lies in a trained folder is the artifact."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _read(self, path: Path) -> Checkpoint | None:
        try:
            said = json.loads((path / _STATE).read_bytes())
            if said["training"] != self._training:
                return None
            weights, moments, kept = (load_file(path / name) for name in _TENSORS)
            return Checkpoint(said["epoch"], said["best"], said["waited"], weights, moments, kept)
        except (OSError, ValueError, KeyError, TypeError, SafetensorError):
            return None  # half of one, from a machine that lost its power: the training starts anew
