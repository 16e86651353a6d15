"""Text classification, and zero-shot classification by a model of natural language inference: choices."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from prelabel_contract.regions import Choice
from prelabel_provider.base import BadSettings, Failed, Predicted, Prediction
from prelabel_provider.shares import of_labels, of_rows, told
from tokenizers import Encoding

from .batches import Piece, run, score, sigmoid, softmax
from .engines import Engine, Floats
from .saved import Saved
from .settings import HuggingFaceSettings
from .tasks import NO_NUMBER, Task, checked
from .tokens import Tokens, TooLong


class _Choices(Task):
    kind = "choice"
    labels: tuple[str, ...]

    def __init__(self, saved: Saved, tokens: Tokens, engine: Engine, settings: HuggingFaceSettings) -> None:
        self._tokens = tokens
        self._engine = engine
        self._settings = settings
        self._pad_id = saved.pad_id

    def _said(self, pieces: Sequence[Encoding]) -> Floats:
        """[pieces, labels]"""
        some = [Piece(one.ids, one.type_ids) for one in pieces]
        return np.stack(run(self._engine, some, self._pad_id, self._settings.batch_tokens))

    def _cut(self, text: Encoding, room: int) -> list[Encoding] | Failed:
        try:
            return self._tokens.windows(text, room)
        except TooLong as error:
            return Failed("too_long", str(error))

    def _chosen(self, probabilities: Floats, *, many: bool) -> Prediction:
        if not np.isfinite(probabilities).all():
            return NO_NUMBER
        found = np.flatnonzero(probabilities >= self._settings.least) if many else [int(probabilities.argmax())]
        doubts = (of_labels if many else of_rows)(probabilities[np.newaxis], self._settings.uncertainty)
        choices = tuple(Choice(labels=(self.labels[i],), score=score(probabilities[i])) for i in found)
        return Predicted(choices, told(doubts)[0])


class TextClassification(_Choices):
    """The model's own labels. What it says to a long text is the mean over its windows, by their tokens."""

    def __init__(self, saved: Saved, tokens: Tokens, engine: Engine, settings: HuggingFaceSettings) -> None:
        super().__init__(saved, tokens, engine, settings)
        if saved.config.get("problem_type") == "regression":
            raise BadSettings(f"{saved.name} gives a number (its problem_type is regression), not labels")
        self.labels = checked(saved.labels)
        if len(self.labels) != len(saved.labels):
            raise BadSettings(f"{saved.name} gives the same name to two labels")
        auto = saved.config.get("problem_type") == "multi_label_classification" or len(self.labels) == 1
        self._many = settings.choices == "many" or (settings.choices == "auto" and auto)
        self._room = tokens.room()

    def predict(self, texts: Sequence[str]) -> Sequence[Prediction]:
        """All texts' windows go through the model together."""
        windows = [self._cut(text, self._room) for text in self._tokens.bare(texts)]
        weights = [len(one) for some in windows if isinstance(some, list) for one in some]
        dressed = [self._tokens.dressed(one) for some in windows if isinstance(some, list) for one in some]
        if not dressed:
            return [some for some in windows if isinstance(some, Failed)]
        logits = self._said(dressed)
        probabilities = sigmoid(logits) if self._many else softmax(logits)
        said = iter(_means(probabilities, weights, [len(some) for some in windows if isinstance(some, list)]))
        return [some if isinstance(some, Failed) else self._chosen(next(said), many=self._many) for some in windows]


class ZeroShot(_Choices):
    """Labels from the settings: how far the text entails what each of them claims."""

    def __init__(self, saved: Saved, tokens: Tokens, engine: Engine, settings: HuggingFaceSettings) -> None:
        super().__init__(saved, tokens, engine, settings)
        self.labels = checked(settings.labels)
        self._many = settings.choices == "many"
        self._entails, self._contradicts = _outputs(saved)
        self._claims = tokens.bare([settings.hypothesis.replace("{}", label) for label in self.labels])
        self._room = tokens.room(max(len(claim) for claim in self._claims), pair=True)

    def predict(self, texts: Sequence[str]) -> Sequence[Prediction]:
        """Each window of each text, with each label's claim, go through the model together."""
        windows = [self._cut(text, self._room) for text in self._tokens.bare(texts)]
        flat = [one for some in windows if isinstance(some, list) for one in some]
        if not flat:
            return [some for some in windows if isinstance(some, Failed)]
        pairs = [self._tokens.dressed(one, claim) for one in flat for claim in self._claims]
        logits = self._said(pairs).reshape(len(flat), len(self._claims), -1)
        probabilities = self._probabilities(logits)
        weights = [len(one) for one in flat]
        said = iter(_means(probabilities, weights, [len(some) for some in windows if isinstance(some, list)]))
        return [some if isinstance(some, Failed) else self._chosen(next(said), many=self._many) for some in windows]

    def _probabilities(self, logits: Floats) -> Floats:
        """[windows, labels] of [windows, labels, outputs]"""
        if self._many:
            return softmax(logits[..., [self._contradicts, self._entails]])[..., 1]
        return softmax(logits[..., self._entails])


def _outputs(saved: Saved) -> tuple[int, int]:
    names = [label.lower() for label in saved.labels]
    entails = [i for i, name in enumerate(names) if name.startswith("entail")]
    if len(entails) != 1:
        raise BadSettings(f"{saved.name} is no model of natural language inference: none of its labels is entailment")
    against = [i for i, name in enumerate(names) if name.startswith(("contra", "not_entail", "not-entail"))]
    return entails[0], against[0] if against else (-1 if entails[0] == 0 else 0)


def _means(probabilities: Floats, weights: Sequence[int], counts: Sequence[int]) -> list[Floats]:
    """One row per text: the mean of its `counts` windows' rows, by their `weights`."""
    if len(probabilities) == len(counts):
        return list(probabilities)
    ends = np.cumsum([0, *counts]).tolist()
    return [
        np.average(probabilities[begin:end], axis=0, weights=np.maximum(weights[begin:end], 1))
        for begin, end in pairwise(ends)
    ]
