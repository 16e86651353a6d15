"""Texts as tokens: whole where they fit, else as windows that overlap."""

from collections.abc import Sequence

from prelabel_provider.base import BadSettings
from tokenizers import Encoding, Tokenizer

from .saved import Saved, line_of
from .settings import HuggingFaceSettings

_SMALLEST = 8
"""Tokens of text, below which a window is not worth its special tokens."""


class TooLong(Exception):
    """The text does not fit, and is not to be cut; the message says by how much."""


class Tokens:
    """A model's tokenizer. Offsets count code points, as Python's strings do: the library turns its bytes into them."""

    def __init__(self, tokenizer: Tokenizer, max_tokens: int, settings: HuggingFaceSettings) -> None:
        self._tokenizer = tokenizer
        self._most = max_tokens
        self._overlap = settings.overlap
        self._long = settings.long_texts

    @classmethod
    def load(cls, saved: Saved, settings: HuggingFaceSettings) -> "Tokens":
        """Raises `BadSettings`."""
        try:
            tokenizer = Tokenizer.from_file(str(saved.folder / "tokenizer.json"))
        except Exception as error:  # the library raises bare Exceptions
            raise BadSettings(f"{saved.name}: tokenizer.json cannot be read: {line_of(error)}") from error
        tokenizer.no_truncation()  # what somebody saved in it would cut texts silently, and pad them to his length
        tokenizer.no_padding()
        most = saved.max_tokens if settings.max_tokens is None else settings.max_tokens
        if most > saved.max_tokens:
            raise BadSettings(f"max_tokens: {saved.name} reads {saved.max_tokens} tokens at once, not {most}")
        tokens = cls(tokenizer, most, settings)
        tokens.shared(tokens.room())
        return tokens

    def room(self, beside: int = 0, *, pair: bool = False) -> int:
        """Tokens of text in one window, with `beside` tokens of another text. Raises `BadSettings` for too few."""
        room = self._most - self._tokenizer.num_special_tokens_to_add(pair) - beside
        if room < _SMALLEST:
            raise BadSettings(f"max_tokens: {self._most} tokens leave room for {max(room, 0)} of the text")
        return int(room)

    def shared(self, room: int) -> int:
        """Tokens that two windows share. Raises `BadSettings`."""
        overlap = room // 4 if self._overlap is None else self._overlap
        if overlap >= room:
            raise BadSettings(f"overlap: windows of {room} tokens cannot share {overlap}")
        return overlap

    def bare(self, texts: Sequence[str]) -> list[Encoding]:
        """Without special tokens, as long as they are."""
        return self._tokenizer.encode_batch(list(texts), add_special_tokens=False)

    def windows(self, text: Encoding, room: int) -> list[Encoding]:
        """A bare text in windows of at most `room` tokens. Raises `TooLong` where it must not be cut."""
        count = len(text)
        if count <= room:
            return [text]
        if self._long == "fail":
            raise TooLong(f"{count} tokens, the limit is {room}")
        text.truncate(room, stride=self.shared(room))
        return [text, *(text.overflowing if self._long == "windows" else ())]

    def dressed(self, window: Encoding, beside: Encoding | None = None) -> Encoding:
        """With the special tokens of a model's input, which may be a pair."""
        return self._tokenizer.post_process(window, beside)

    def ids(self, text: str) -> list[int]:
        """What a model is given for a text, special tokens included, however long."""
        return list(self._tokenizer.encode(text).ids)

    def text(self, ids: Sequence[int]) -> str:
        """What tokens say, special ones left out."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=True))


def kept(window: int, windows: int, count: int, overlap: int) -> slice:
    """Which of a window's `count` tokens are its own, so that each token of the text comes from the window that sees
    more around it: of what two share, either keeps the half that is farther from its edge.
    """
    first = 0 if window == 0 else overlap - overlap // 2
    last = count if window == windows - 1 else count - overlap // 2
    return slice(first, last)
