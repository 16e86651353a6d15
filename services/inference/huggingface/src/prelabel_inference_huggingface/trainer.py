"""Training transformers further: tags of tokens, or what a whole text is.

torch is imported with the first training: who only draws the form of the settings does not pay for it.
"""

import json
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prelabel_provider.base import BadSettings, Predicted
from prelabel_provider.pace import Pace
from prelabel_provider.trainer import CHECKPOINTS, CannotTrain, Job, Progress, Trained, Trainer
from pydantic import JsonValue, ValidationError

from .lessons import Answer, Learned, Lessons, lessons, task_of
from .saved import Saved, find
from .settings import HuggingFaceSettings
from .tokens import Tokens
from .trainer_settings import HuggingFaceTrainerSettings

if TYPE_CHECKING:
    from .engines import About
    from .fitting import Fitted

_SOURCE = (
    *("task", "path", "hub", "revision", "engine", "precision", "labels", "hypothesis", "prompt", "new_tokens"),
    *("max_tokens", "overlap"),  # what is trained reads as much at once as it was shown
)


class HuggingFaceTrainer(Trainer[HuggingFaceTrainerSettings]):
    """Trains a model further that knows a language already: there must be a base. Its head is new where it has others.

    On a GPU in bf16 where it is able to, else in fp32. On a CPU the same job gives the same files; a GPU's sums are
    not always in the same order. What was killed goes on from its last checkpoint where the folder has one.
    """

    name = "huggingface"
    kinds = frozenset({"span", "choice"})
    Settings = HuggingFaceTrainerSettings
    writes = frozenset({".json", ".safetensors"})
    source_settings = frozenset(_SOURCE)

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` tells seconds, from any moment on."""
        self._clock = clock

    def base_of(self, settings: Mapping[str, JsonValue]) -> Path | None:
        """The folder of the model that a model's settings name, from the hub's cache or the hub where that is allowed;
        None where they name none.
        """
        named = {name: settings[name] for name in ("path", "hub", "revision") if settings.get(name) is not None}
        if not named:
            return None
        try:
            return find(HuggingFaceSettings.model_validate(named)).folder
        except (BadSettings, ValidationError) as error:
            raise CannotTrain("base", f"the base cannot be had: {error}") from error

    def train(self, job: Job, report: Callable[[Progress], None]) -> Trained:
        """Train and save a model. Raises `CannotTrain`.

        Reasons: settings, questions, kind, base, environment, device, too_few, no_label_known, single_class,
        overlapping_spans.
        """
        settings = self.settings(job)
        question, task = task_of(job.label_set)
        saved, tokens, said = _base(job, task, settings)
        learned = lessons(tokens, question, job.examples, settings, job.seed)
        try:
            import torch
            import transformers
        except ImportError as error:
            raise CannotTrain(
                "environment", "this environment has no torch: install prelabel-inference-huggingface[torch]"
            ) from error
        torch.set_num_threads(job.threads)
        fitted = _taught(job, saved, tokens, learned, settings, said, report, self._clock)
        return Trained(
            files=tuple(sorted(p.relative_to(job.folder).as_posix() for p in job.folder.rglob("*") if p.is_file())),
            metrics=_metrics(learned, fitted),
            libraries={
                "torch": torch.__version__,
                "transformers": transformers.__version__,
                **{name: version(name) for name in ("safetensors", "tokenizers")},
            },
        )


def _base(job: Job, task: Learned, settings: HuggingFaceTrainerSettings) -> tuple[Saved, Tokens, HuggingFaceSettings]:
    if job.base is None:
        raise CannotTrain(
            "base",
            "a transformers model is trained further, not from nothing: name a model in the model's settings (path, or "
            'hub and revision), and set start to "settings"',
        )
    try:
        saved = find(HuggingFaceSettings(path=str(job.base), task=task))
        saved.weights()
        most = min(settings.max_tokens, saved.max_tokens)
        said = HuggingFaceSettings(path=str(job.base), task=task, max_tokens=most)
        return saved, Tokens.load(saved, said), said
    except (BadSettings, ValidationError) as error:
        raise CannotTrain("base", f"the base cannot be loaded: {error}") from error


def _taught(
    job: Job,
    saved: Saved,
    tokens: Tokens,
    learned: Lessons,
    settings: HuggingFaceTrainerSettings,
    said: HuggingFaceSettings,
    report: Callable[[Progress], None],
    clock: Callable[[], float],
) -> "Fitted":
    from .checkpoints import Checkpoints
    from .fitting import Fitting
    from .heads import about_of, with_head, write

    about = about_of(settings.device)
    module = with_head(saved, learned, about, job.seed)
    outputs = {"id2label": dict(enumerate(learned.outputs)), **_kind(learned)}
    told = Saved(saved.name, saved.folder, {**saved.config, **outputs})
    how = settings.model_dump_json(exclude={"checkpoint_seconds", "device"})
    checkpoints = Checkpoints(job.folder / CHECKPOINTS, f"{job.seed}/{how}/{learned.fingerprint()}")
    fitting = Fitting(module, about, saved.pad_id, learned, settings, job.seed)
    fitted = fitting.run(_scorer(module, about, told, tokens, learned, said), checkpoints, Pace(report, clock), clock)
    checkpoints.remove()
    write(module, job.folder)
    _copy_tokenizer(saved, job.folder, said.max_tokens or saved.max_tokens)
    return fitted


def _kind(learned: Lessons) -> dict[str, str]:
    if learned.task == "token-classification":
        return {}
    return {"problem_type": "multi_label_classification" if learned.many else "single_label_classification"}


def _scorer(
    module: Any, about: "About", saved: Saved, tokens: Tokens, learned: Lessons, said: HuggingFaceSettings
) -> Callable[[], float | None]:
    """Micro F1 of what the provider would say; of one choice each, that is the share of right ones."""
    from .choices import TextClassification
    from .spans import TokenClassification
    from .torch_engine import TorchEngine

    kind = TokenClassification if learned.task == "token-classification" else TextClassification
    model = kind(saved, tokens, TorchEngine(module, about, ()), said)

    def score() -> float | None:
        right = found = wanted = 0
        for one, answer in zip(learned.scored, model.predict([one.text for one in learned.scored]), strict=True):
            given = _answers(answer) if isinstance(answer, Predicted) else frozenset()
            right, found, wanted = right + len(given & one.answers), found + len(given), wanted + len(one.answers)
        return 2 * right / (found + wanted) if found + wanted else None

    return score


def _answers(said: Predicted) -> frozenset[Answer]:
    return frozenset(
        (getattr(region, "start", 0), getattr(region, "end", 0), label)
        for region in said.regions
        for label in getattr(region, "labels", ())
    )


def _metrics(learned: Lessons, fitted: "Fitted") -> dict[str, float]:
    told = {
        **{name: float(count) for name, count in learned.left_out.items()},
        "shown": float(len(learned.shown)),
        "scored": float(len(learned.scored)),
        "epochs": float(fitted.epochs),
        "went_on": float(fitted.went_on),
    }
    return told if fitted.score is None else {**told, "f1": fitted.score}


def _copy_tokenizer(saved: Saved, folder: Path, max_tokens: int) -> None:
    """The words of the base, and how many tokens were shown at once: what was scored is what is served."""
    (folder / "tokenizer.json").write_bytes((saved.folder / "tokenizer.json").read_bytes())
    (folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": max_tokens}) + "\n")
