"""Teaching a transformer: epochs, scores, stopping early, going on after a kill."""

import hashlib
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from prelabel_provider.pace import Pace

from .batches import filled
from .checkpoints import Checkpoint, Checkpoints, Tensors
from .engines import About
from .lessons import IGNORED, Lesson, Lessons
from .torch_engine import cast, takes_types
from .trainer_settings import HuggingFaceTrainerSettings

_BETAS, _EPSILON = (0.9, 0.999), 1e-8
_CLIP = 1.0
"""The norm of a gradient, at most."""
_WARM = 0.1
"""The share of the steps over which the rate rises."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """How it went."""

    epochs: int
    score: float | None
    """Micro F1 of the best epoch, which is what was kept, on the examples held back; None: nothing was scored."""
    went_on: bool
    """From a checkpoint."""


class Fitting:
    """One training. Everything by chance follows from the seed and the epoch, so that it can go on at any epoch."""

    def __init__(
        self,
        module: Any,
        about: About,
        pad_id: int,
        lessons: Lessons,
        settings: HuggingFaceTrainerSettings,
        seed: int,
    ) -> None:
        self._module, self._about, self._pad_id = module, about, pad_id
        self._lessons, self._settings, self._seed = lessons, settings, seed
        self._types = takes_types(module)
        self._optimizer = torch.optim.AdamW(_groups(module, settings.weight_decay), betas=_BETAS, eps=_EPSILON)
        self._per_epoch = -(-len(lessons.shown) // settings.batch)

    def run(
        self,
        score: Callable[[], float | None],
        checkpoints: Checkpoints,
        pace: Pace,
        clock: Callable[[], float],
    ) -> Fitted:
        """Teach the module. `score` says how good it is on what was held back."""
        found = checkpoints.latest()
        best, waited, kept = self._resumed(found)
        epoch = first = 0 if found is None else found.epoch
        shown, steps, written = len(self._lessons.shown), len(self._lessons.shown) * self._settings.epochs, clock()
        pace(epoch * shown, steps)
        while epoch < self._settings.epochs and not self._enough(waited):
            epoch += 1
            loss = self._epoch(epoch, pace)
            said = score()
            pace.learned(loss, said)
            if said is not None:
                better = not best or said > best  # while nothing is right yet, the last epoch is the best
                best, waited = (said, 0) if better else (best, waited + 1)
                kept = _copied(_tensors(self._module)) if better else kept
            pace(epoch * shown, steps)
            if clock() - written >= self._settings.checkpoint_seconds:
                checkpoints.keep(Checkpoint(epoch, best, waited, _tensors(self._module), self._moments(), kept))
                written = clock()
        if kept:
            _put(self._module, kept)
        pace(steps, steps)
        return Fitted(epoch, best, went_on=first > 0)

    def _enough(self, waited: int) -> bool:
        return 0 < self._settings.patience <= waited

    def _epoch(self, epoch: int, pace: Pace) -> float:
        """Show everything once; the mean loss."""
        self._module.train()
        chance = random.Random(f"{self._seed}/{epoch}")  # not for secrets
        torch.manual_seed(_derived(self._seed, epoch))
        shown, total, at = len(self._lessons.shown), 0.0, 0
        for number, some in enumerate(_batches(self._lessons.shown, self._settings.batch, chance)):
            total += self._step((epoch - 1) * self._per_epoch + number, some) * len(some)
            at += len(some)
            before = (epoch - 1) * shown
            pace(before + min(at, shown - 1), shown * self._settings.epochs)  # the last is done when all is scored
        self._module.eval()
        return total / shown

    def _step(self, step: int, some: Sequence[Lesson]) -> float:
        for group in self._optimizer.param_groups:
            group["lr"] = self._settings.learn_rate * _rate(step, self._per_epoch * self._settings.epochs)
        with cast(self._about):
            logits = self._module(**self._feeds(some)).logits
        loss = self._loss(logits.float(), some)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._module.parameters(), _CLIP)
        self._optimizer.step()
        return float(loss.detach())

    def _feeds(self, some: Sequence[Lesson]) -> dict[str, torch.Tensor]:
        batch = filled([one.piece for one in some], self._pad_id)
        feeds = {"input_ids": batch.ids, "attention_mask": batch.mask}
        if self._types:
            feeds["token_type_ids"] = batch.types
        return {name: torch.from_numpy(array).to(self._about.device) for name, array in feeds.items()}

    def _loss(self, logits: torch.Tensor, some: Sequence[Lesson]) -> torch.Tensor:
        """The mean over texts by their weights, whatever their lengths are."""
        device = self._about.device
        if self._lessons.task == "token-classification":
            targets = torch.from_numpy(_filled(some, logits.shape[1])).to(device)
            each = torch.nn.functional.cross_entropy(
                logits.transpose(1, 2), targets, ignore_index=IGNORED, reduction="none"
            )
            lost = each.sum(dim=1) / (targets != IGNORED).sum(dim=1).clamp(min=1)
        else:
            targets = torch.from_numpy(np.stack([one.target for one in some])).to(device)
            if self._lessons.many:
                lost = torch.nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="none").mean(1)
            else:
                lost = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
        weights = torch.tensor([one.weight for one in some], device=device)
        return (lost * weights).sum() / weights.sum()

    def _moments(self) -> Tensors:
        state = self._optimizer.state
        parameters = [one for group in self._optimizer.param_groups for one in group["params"]]
        return {
            f"{place}/{name}": value
            for place, one in enumerate(parameters)
            for name, value in state.get(one, {}).items()
            if isinstance(value, torch.Tensor)
        }

    def _resumed(self, found: Checkpoint | None) -> tuple[float | None, int, Tensors]:
        if found is None:
            return None, 0, {}
        _put(self._module, found.weights)
        parameters = [one for group in self._optimizer.param_groups for one in group["params"]]
        for key, value in found.moments.items():
            place, _, name = key.partition("/")
            one = parameters[int(place)]
            self._optimizer.state[one][name] = value if name == "step" else value.to(one.device)
        return found.best, found.waited, found.kept


def _groups(module: Any, decay: float) -> list[dict[str, Any]]:
    """Matrices decay; biases and the scales of norms do not."""
    trained = [one for one in module.parameters() if one.requires_grad]
    return [
        {"params": [one for one in trained if one.dim() > 1], "weight_decay": decay},
        {"params": [one for one in trained if one.dim() <= 1], "weight_decay": 0.0},
    ]


def _rate(step: int, steps: int) -> float:
    warm = max(1, round(steps * _WARM))
    return min((step + 1) / warm, (steps - step) / max(1, steps - warm))


def _batches(shown: Sequence[Lesson], size: int, chance: random.Random) -> Iterator[list[Lesson]]:
    order = list(range(len(shown)))
    chance.shuffle(order)
    for start in range(0, len(order), size):
        yield [shown[place] for place in order[start : start + size]]


def _filled(some: Sequence[Lesson], length: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    targets = np.full((len(some), length), IGNORED, np.int64)
    for row, one in enumerate(some):
        targets[row, : len(one.target)] = one.target
    return targets


def _tensors(module: Any) -> Tensors:
    """Parameters and buffers, once each where they are shared."""
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def _copied(tensors: Tensors) -> Tensors:
    return {name: value.detach().cpu().clone() for name, value in tensors.items()}


def _put(module: Any, tensors: Tensors) -> None:
    there = _tensors(module)
    with torch.no_grad():
        for name, value in tensors.items():
            there[name].copy_(value)


def _derived(seed: int, epoch: int) -> int:
    return int.from_bytes(hashlib.sha256(f"epoch\0{seed}\0{epoch}".encode()).digest()[:8], "big") >> 1
