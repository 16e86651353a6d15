"""Substrings, regular expressions in linear time and dictionaries, as spans and as choices."""

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from importlib.metadata import version
from itertools import islice
from typing import Self

from prelabel_contract.names import content_hash
from prelabel_contract.regions import Choice, Region, Span
from prelabel_provider.base import BadSettings, Description, Failed, Input, Predicted, Prediction, Provider

from .finders import BadPattern, Finder, Words, pattern, substring
from .settings import Rule, RulesSettings


class RulesProvider(Provider[RulesSettings]):
    """Says what rules say."""

    name = "rules"
    kinds = frozenset({"span", "choice"})
    Settings = RulesSettings

    def __init__(self, settings: RulesSettings) -> None:
        self._settings = settings
        self._rules = settings.rules
        self._finders = {index: _finder(index, rule) for index, rule in enumerate(settings.rules) if not rule.words}
        self._walks = _walks(settings.rules)

    @classmethod
    def load(cls, settings: RulesSettings) -> Self:
        """Compile the rules. Raises `BadSettings` for an expression that is none."""
        return cls(settings)

    def describe(self) -> Description:
        """The package's version, and a hash of the rules."""
        content = content_hash(self._settings.model_dump(mode="json"))
        labels: dict[str, tuple[str, ...]] = {}
        for rule in self._rules:
            said = labels.get(rule.as_, ())
            labels[rule.as_] = said if rule.label in said else (*said, rule.label)
        return Description(f"rules-{version('prelabel-inference-rules')}+{content[:16]}", frozenset(labels), labels)

    def predict(self, batch: Sequence[Input]) -> list[Prediction]:
        """One answer per input."""
        return [self._answer(one) for one in batch]

    def _answer(self, one: Input) -> Prediction:
        try:
            text = one.text
        except ValueError as error:
            return Failed("input", str(error))
        spans: dict[tuple[int, int, str], float | None] = {}
        met: set[int] = set()
        for index, start, end in self._found(text, met):
            rule = self._rules[index]
            met.add(index)
            if rule.as_ == "span":
                place = (start, end, rule.label)
                spans[place] = _better(spans.get(place), rule.score)
        choices: dict[str, float | None] = {}
        for rule in (self._rules[index] for index in sorted(met)):
            if rule.as_ == "choice":
                choices[rule.label] = _better(choices.get(rule.label), rule.score)
        regions: list[Region] = [
            Span(start=start, end=end, labels=(label,), score=score, text=text[start:end])
            for (start, end, label), score in sorted(spans.items(), key=lambda found: found[0])
        ]
        regions += [Choice(labels=(label,), score=score) for label, score in choices.items()]
        return Predicted(tuple(regions))

    def _found(self, text: str, met: AbstractSet[int]) -> Iterator[tuple[int, int, int]]:
        """Places with the index of their rule; a choice needs one only, and `met` says which rules have one."""
        for index, find in self._finders.items():
            places = ((index, start, end) for start, end in find(text))
            yield from islice(places, 1) if self._rules[index].as_ == "choice" else places
        for walk, enough in self._walks:
            for place in walk(text):
                yield place
                if enough <= met:
                    break


def _better(one: float | None, other: float | None) -> float | None:
    """Two rules say the same: the better score; a missing one says nothing."""
    return max((score for score in (one, other) if score is not None), default=None)


def _finder(index: int, rule: Rule) -> Finder:
    if rule.substring is not None:
        return substring(rule.substring, ignore_case=rule.ignore_case)
    try:
        return pattern(rule.pattern or "", ignore_case=rule.ignore_case)
    except BadPattern as error:
        raise BadSettings(f"/rules/{index}/pattern: {error}") from error


def _walks(rules: Sequence[Rule]) -> list[tuple[Words, frozenset[int]]]:
    """The rules of words: those that read a text alike share a walk, so that it is not cut into words for each of them.

    With each walk the rules that end it when they are all met; where spans are to be found, that is never.
    """
    walks = []
    for ignore_case in (False, True):
        mine = {index: rule for index, rule in enumerate(rules) if rule.words and rule.ignore_case == ignore_case}
        if not mine:
            continue
        walk = Words(ignore_case=ignore_case)
        for index, rule in mine.items():
            try:
                walk.add(index, rule.words)
            except BadPattern as error:
                raise BadSettings(f"/rules/{index}/words: {error}") from error
        enough = frozenset(mine) if all(rule.as_ == "choice" for rule in mine.values()) else _NEVER
        walks.append((walk, enough))
    return walks


_NEVER = frozenset({-1})
"""Of no rule."""
