"""Token classification: spans."""

from collections.abc import Sequence

import numpy as np
from prelabel_provider.base import Failed, Predicted, Prediction
from prelabel_provider.shares import of_rows, told
from tokenizers import Encoding

from .batches import Piece, run, softmax
from .engines import Engine, Floats
from .saved import Saved
from .settings import HuggingFaceSettings
from .tasks import NO_NUMBER, Task, checked
from .tokens import Tokens, TooLong, kept
from .words import Read, shares, spans, tags


class TokenClassification(Task):
    """Each token gets a tag; what belongs together becomes a span."""

    kind = "span"

    def __init__(self, saved: Saved, tokens: Tokens, engine: Engine, settings: HuggingFaceSettings) -> None:
        self._tokens = tokens
        self._engine = engine
        self._settings = settings
        self._pad_id = saved.pad_id
        self._room = tokens.room()
        self._overlap = tokens.shared(self._room)
        self._meaning = tags(saved.labels)
        self.labels = checked([tag.label for tag in self._meaning if tag.label is not None])

    def predict(self, texts: Sequence[str]) -> Sequence[Prediction]:
        """All texts' windows go through the model together."""
        windows: list[list[Encoding] | Failed] = [self._windows(text) for text in self._tokens.bare(texts)]
        pieces = [Piece(one.ids, one.type_ids) for some in windows if isinstance(some, list) for one in some]
        said = iter(run(self._engine, pieces, self._pad_id, self._settings.batch_tokens))
        return [
            some if isinstance(some, Failed) else self._predicted(text, some, [next(said) for _ in some])
            for text, some in zip(texts, windows, strict=True)
        ]

    def _windows(self, text: Encoding) -> list[Encoding] | Failed:
        try:
            some = self._tokens.windows(text, self._room)
        except TooLong as error:
            return Failed("too_long", str(error))
        return [self._tokens.dressed(one) for one in some] if len(text) else []

    def _predicted(self, text: str, windows: Sequence[Encoding], said: Sequence[Floats]) -> Prediction:
        offsets: list[tuple[int, int]] = []
        words: list[int | None] = []
        rows: list[Floats] = []
        for number, (window, logits) in enumerate(zip(windows, said, strict=True)):
            inside = [i for i, special in enumerate(window.special_tokens_mask) if not special]
            inside = inside[kept(number, len(windows), len(inside), self._overlap)]
            inside = [i for i in inside if window.offsets[i][0] < window.offsets[i][1]]
            offsets += [window.offsets[i] for i in inside]
            words += [window.word_ids[i] for i in inside]
            rows.append(logits[inside])
        if not offsets:
            return Predicted()
        probabilities = softmax(np.concatenate(rows))
        if not np.isfinite(probabilities).all():
            return NO_NUMBER
        read = Read(offsets, words, probabilities)
        aggregation, measure = self._settings.aggregation, self._settings.uncertainty
        doubt = of_rows(shares(read, aggregation), measure).max()
        return Predicted(tuple(spans(text, read, self._meaning, aggregation)), told(np.atleast_1d(doubt))[0])
