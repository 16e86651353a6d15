"""A model as it was saved: where its files are, what its config says, and which of them may be read."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prelabel_provider.base import BadSettings

from .settings import HuggingFaceLimits, HuggingFaceSettings, Task

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.h5", "*.msgpack", "*.pkl")
_WANTED = ("*.json", "*.safetensors", "*.onnx", "*.onnx_data", "*.onnx.data", "onnx/*")
_GRAPHS = {
    "fp32": ("model.onnx", "onnx/model.onnx"),
    "int8": ("model_int8.onnx", "model_quantized.onnx", "onnx/model_int8.onnx", "onnx/model_quantized.onnx"),
}
_POSITIONS_TAKEN = {"roberta": 2, "xlm-roberta": 2, "camembert": 2, "longformer": 2, "mpnet": 2, "xlm-roberta-xl": 2}
"""Positions that a kind of model keeps for padding, of those that its config counts."""
_MADE_FOR: dict[str, Task] = {
    "ForTokenClassification": "token-classification",
    "ForSequenceClassification": "text-classification",
}
_LENGTHS = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length")
_NO_LENGTH = 512
"""Tokens, for a model that says nothing."""


@dataclass(frozen=True, slots=True)
class Saved:
    """A model's folder."""

    name: str
    """For people: the folder's name, or the hub's with the first digits of the commit."""
    folder: Path
    config: Mapping[str, Any]

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, by the model's output. Raises `BadSettings` where they are not listed in full."""
        said = self.config.get("id2label")
        if said is None:  # what transformers leaves out when there are two of them without a name
            return ("LABEL_0", "LABEL_1")
        try:
            by_index = {int(index): str(label) for index, label in said.items()}
            return tuple(by_index[index] for index in range(len(by_index)))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise BadSettings("the model's config.json has an id2label that does not name every output") from error

    @property
    def task(self) -> Task:
        """What the model was made for. Raises `BadSettings` where its config does not say it."""
        said = self.config.get("architectures")
        made = str(said[0]) if isinstance(said, list) and said else ""
        for end, task in _MADE_FOR.items():
            if made.endswith(end):
                return task
        raise BadSettings(f"task: {self.name} does not say that it is a model for tokens or for texts: name the task")

    @property
    def max_tokens(self) -> int:
        """The most tokens that the model reads at once."""
        kind = str(self.config.get("model_type"))
        counted = next((n for name in _LENGTHS if isinstance(n := self.config.get(name), int) and n > 0), None)
        own = None if counted is None else counted - _POSITIONS_TAKEN.get(kind, 0)
        said = _read(self.folder / "tokenizer_config.json").get("model_max_length")
        return min((n for n in (own, said) if isinstance(n, int | float) and 0 < n < 1e9), default=_NO_LENGTH).__int__()

    @property
    def pad_id(self) -> int:
        """What fills up the shorter texts of a batch; it is masked, so any word would do."""
        said = self.config.get("pad_token_id")
        return said if isinstance(said, int) and said >= 0 else 0

    def graph(self, precision: str) -> Path | None:
        """The ONNX graph of a precision (fp32, int8); None where there is none."""
        return next((path for name in _GRAPHS.get(precision, ()) if (path := self.folder / name).is_file()), None)

    def weights(self) -> None:
        """Make sure that there are weights which are data. Raises `BadSettings`."""
        if any((self.folder / name).is_file() for name in _WEIGHTS):
            return
        pickles = sorted(path.name for pattern in _PICKLES for path in self.folder.glob(pattern))
        if pickles:
            raise BadSettings(
                f"{self.name} has {pickles[0]}, which can hold code and is never loaded: save it as safetensors"
            )
        raise BadSettings(f"{self.name} has no model.safetensors, and no ONNX graph that these settings may use")

    def content(self, read: Iterable[Path], said: bytes) -> str:
        """SHA-256 over the files that were loaded (names and contents in a fixed order) and what else was said."""
        digest = hashlib.sha256(said)
        texts = (self.folder / name for name in ("config.json", "generation_config.json", *TOKENIZER_FILES))
        for path in sorted({*read, *texts}):
            if path.is_file():
                name = path.relative_to(self.folder).as_posix().encode()
                digest.update(len(name).to_bytes(4, "big") + name)
                with path.open("rb") as file:
                    digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()


def find(settings: HuggingFaceSettings) -> Saved:
    """The model that the settings name; a hub's is downloaded first where that is allowed. Raises `BadSettings`."""
    if settings.path is None and settings.hub is None:
        raise BadSettings("path: there is no model yet: train one, or name one")
    if settings.path is not None:
        folder, name = Path(settings.path), Path(settings.path).resolve().name
        if not (folder / "config.json").is_file():
            raise BadSettings(f"path: {settings.path!r} is no folder of a transformers model: it has no config.json")
    else:
        hub, revision = settings.hub or "", settings.revision or ""
        folder, name = _from_hub(hub, revision), f"{hub}@{revision[:12]}"
    if not (folder / "tokenizer.json").is_file():
        raise BadSettings(f"{name} has no tokenizer.json: save it with its fast tokenizer")
    return Saved(name, folder, _read(folder / "config.json"))


def _from_hub(hub: str, revision: str) -> Path:
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise BadSettings("hub: this environment has no huggingface-hub; install it, or name a path") from error
    allowed = HuggingFaceLimits().downloads
    try:
        found = snapshot_download(
            hub, revision=revision, allow_patterns=list(_WANTED), ignore_patterns=["*.py"], local_files_only=not allowed
        )
    except Exception as error:  # whatever network, hub and file system come up with
        hint = "" if allowed else " (nothing is fetched unless PRELABEL_HUGGINGFACE_DOWNLOADS=true)"
        raise BadSettings(f"hub: {hub} at {revision} cannot be read: {line_of(error)}{hint}") from error
    return Path(found)


def _read(path: Path) -> dict[str, Any]:
    try:
        said = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise BadSettings(f"{path.name} cannot be read: {line_of(error)}") from error
    if not isinstance(said, dict):
        raise BadSettings(f"{path.name} is no JSON object")
    return said


def line_of(error: BaseException) -> str:
    """What went wrong, in one line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
