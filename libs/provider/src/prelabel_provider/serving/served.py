"""By which version a model answers: what is looked at for every request.

    line = versions.line("mails", "ner")          # one per model of a project
    asked = served(model.settings, line.release)  # settings to ask with, and the name that predictions get

A line's release changes between two batches (`serving`): whoever took hold of one before ends with it.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from prelabel_contract import names
from pydantic import JsonValue

from ..base import Failed, Input
from ..predictor import Told, key_of

CANARY = 8
"""Inputs that a new version is tried on."""
CANARY_LINES = 16
"""Models whose last inputs are kept in memory, those that were asked last."""


@dataclass(frozen=True, slots=True)
class Release:
    """A trained version on this machine."""

    version: str
    """As the registry calls it."""
    artifact: str
    folder: str
    """Its files, checked."""
    sources: frozenset[str]
    """Settings in whose place the folder comes."""


@dataclass(frozen=True, slots=True)
class Served:
    """How a model is asked."""

    key: str
    """Of the model in its predictor."""
    settings: Mapping[str, JsonValue]
    version: str | None
    """What predictions say; None: what the model says itself."""
    group: str
    """Requests with the same are asked together: one model, one name."""

    def told(self, why: str) -> str:
        """What is wrong with it, without where its files lie on this machine: that is nobody's business elsewhere."""
        return why if self.version is None else why.replace(str(self.settings["path"]), f"version {self.version}")


def served(own: Mapping[str, JsonValue], release: Release | None) -> Served:
    """A model with these settings, as a version of it is asked; without one, as its settings say."""
    if release is None:
        key = key_of(own)
        return Served(key, own, None, key)
    kept = {name: value for name, value in own.items() if name not in release.sources}
    settings = {**kept, "path": release.folder}
    key = key_of(settings)
    return Served(key, settings, release.version, f"{key}/{release.version}")


def _nothing() -> None:
    return


@dataclass(slots=True, eq=False)
class Line:
    """The versions of one model of a project."""

    project: str
    model: str
    release: Release | None = None
    """What serves; None: the model as its settings say."""
    own: Mapping[str, JsonValue] | None = None
    """Its settings by the configuration that was asked for last."""
    cold: Callable[[], Awaitable[None]] | None = None
    """What has to be awaited before it is asked: which version serves is not settled yet."""
    doubt: Callable[[], None] = _nothing
    """Called when what serves cannot be loaded any more: it is settled anew."""
    news: Callable[[], None] = _nothing
    """Called when its settings have changed."""

    def asked_with(self, own: Mapping[str, JsonValue]) -> None:
        """It is asked with these settings of its configuration."""
        if own != self.own:
            self.own = own
            self.news()

    @property
    def name(self) -> str:
        """The key of its serving pointer."""
        return names.model_key(self.project, self.model)


class Versions:
    """The lines of all models that are asked here."""

    def __init__(self) -> None:
        self._lines: dict[tuple[str, str], Line] = {}
        self._last: OrderedDict[Line, tuple[Input, ...]] = OrderedDict()

    def line(self, project: str, model: str) -> Line:
        """That of a model. It stays the same for good."""
        if (line := self._lines.get((project, model))) is None:
            line = self._lines[project, model] = Line(project, model)
        return line

    def lines(self) -> Iterable[Line]:
        """All of them."""
        return self._lines.values()

    def remember(self, lines: Sequence[Line], inputs: Sequence[Input], said: Sequence[bytes | Told | Failed]) -> None:
        """Keep the last few inputs of each line that were answered: its next version must answer them too."""
        answered: dict[Line, list[Input]] = {}
        for line, one, what in zip(lines[-CANARY:], inputs[-CANARY:], said[-CANARY:], strict=True):
            if not isinstance(what, Failed):
                answered.setdefault(line, []).append(one)
        for line, last in answered.items():
            self._last[line] = tuple(last)
            self._last.move_to_end(line)
        while len(self._last) > CANARY_LINES:
            self._last.popitem(last=False)

    def last(self, line: Line) -> tuple[Input, ...]:
        """The last inputs of a model that were answered; none where it was not asked lately."""
        return self._last.get(line, ())
