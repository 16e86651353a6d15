"""Text generation: a text region with what the model writes."""

from collections.abc import Sequence

from prelabel_contract.regions import Text
from prelabel_provider.base import BadSettings, Failed, Predicted, Prediction

from .batches import Piece, budget, by_length, filled
from .engines import Writer
from .saved import Saved
from .settings import HuggingFaceSettings
from .tasks import Task
from .tokens import Tokens


class TextGeneration(Task):
    """What a model writes to a prompt around the text, up to a number of tokens."""

    kind = "text"
    labels = None

    def __init__(self, saved: Saved, tokens: Tokens, writer: Writer, settings: HuggingFaceSettings) -> None:
        self._tokens = tokens
        self._writer = writer
        self._settings = settings
        self._pad_id = saved.pad_id
        most = saved.max_tokens if settings.max_tokens is None else settings.max_tokens
        self._room = most - settings.new_tokens if writer.continues else most
        if self._room < 1:
            raise BadSettings(
                f"new_tokens: {saved.name} reads and writes {most} tokens, {settings.new_tokens} leave none"
            )

    def predict(self, texts: Sequence[str]) -> Sequence[Prediction]:
        """Prompts of like length together."""
        prompts = [self._tokens.ids(self._settings.prompt.replace("{text}", text)) for text in texts]
        said: list[Prediction] = [self._unfit(len(ids)) for ids in prompts]
        fit = [i for i, ids in enumerate(prompts) if 0 < len(ids) <= self._room]
        lengths = [len(prompts[i]) + self._settings.new_tokens for i in fit]
        for group in by_length(lengths, budget(self._settings.batch_tokens, self._writer.about)):
            chosen = [fit[position] for position in group]
            batch = filled([Piece(prompts[i], [0] * len(prompts[i])) for i in chosen], self._pad_id, left=True)
            written = self._writer.write(batch, self._settings.new_tokens)
            for i, ids in zip(chosen, written, strict=True):
                said[i] = Predicted((Text(text=(self._tokens.text(ids).strip(),)),))
        return said

    def _unfit(self, count: int) -> Failed:
        if count:
            return Failed("too_long", f"{count} tokens with the prompt, the limit is {self._room}")
        return Failed("input", "there is no token in it")
