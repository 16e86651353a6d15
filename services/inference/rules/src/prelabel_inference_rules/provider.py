"""Substrings, regular expressions in linear time and dictionaries, as spans and as choices."""

from collections.abc import Sequence
from importlib.metadata import version
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
        self._rules = [(rule, _finder(index, rule)) for index, rule in enumerate(settings.rules)]

    @classmethod
    def load(cls, settings: RulesSettings) -> Self:
        """Compile the rules. Raises `BadSettings` for an expression that is none."""
        return cls(settings)

    def describe(self) -> Description:
        """The package's version, and a hash of the rules."""
        content = content_hash(self._settings.model_dump(mode="json"))
        labels: dict[str, tuple[str, ...]] = {}
        for rule, _ in self._rules:
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
        choices: dict[str, float | None] = {}
        for rule, find in self._rules:
            if rule.as_ == "span":
                for start, end in find(text):
                    place = (start, end, rule.label)
                    spans[place] = _better(spans.get(place), rule.score)
            elif next(find(text), None) is not None:
                choices[rule.label] = _better(choices.get(rule.label), rule.score)
        regions: list[Region] = [
            Span(start=start, end=end, labels=(label,), score=score, text=text[start:end])
            for (start, end, label), score in sorted(spans.items(), key=lambda found: found[0])
        ]
        regions += [Choice(labels=(label,), score=score) for label, score in choices.items()]
        return Predicted(tuple(regions))


def _better(one: float | None, other: float | None) -> float | None:
    """Two rules say the same: the better score; a missing one says nothing."""
    return max((score for score in (one, other) if score is not None), default=None)


def _finder(index: int, rule: Rule) -> Finder:
    try:
        if rule.substring is not None:
            return substring(rule.substring, ignore_case=rule.ignore_case)
        if rule.pattern is not None:
            return pattern(rule.pattern, ignore_case=rule.ignore_case)
        return Words(rule.words, ignore_case=rule.ignore_case)
    except BadPattern as error:
        what = "pattern" if rule.pattern is not None else "words"
        raise BadSettings(f"/rules/{index}/{what}: {error}") from error
