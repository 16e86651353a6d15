"""Settings of a rules model."""

from typing import Annotated, Literal, Self

from prelabel_contract.base import Name, Score
from prelabel_provider.base import ProviderSettings
from pydantic import Field, StringConstraints, model_validator

Phrase = Annotated[str, StringConstraints(min_length=1, max_length=1000)]


class Rule(ProviderSettings):
    """Where something is found, say a label. Exactly one of `substring`, `pattern` and `words` says what."""

    label: Name
    as_: Annotated[Literal["span", "choice"], Field(alias="as")] = "span"
    """A span on every place, or one choice for the whole text."""
    substring: Phrase | None = None
    """These characters, anywhere."""
    pattern: Phrase | None = None
    r"""A regular expression in RE2's syntax, which takes linear time. Its \w, \d and \b know ASCII only;
    \pL and \pN are letters and digits of all scripts."""
    words: tuple[Phrase, ...] = ()
    """Whole words, or phrases of several words with any white space between them; the longest one counts."""
    ignore_case: bool = False
    score: Score | None = None
    """A rule knows no confidence: null, unless somebody measured one."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        given = [name for name in ("substring", "pattern", "words") if getattr(self, name)]
        if len(given) != 1:
            said = " and ".join(given) or "none"
            raise ValueError(f"a rule has exactly one of substring, pattern and words; this one has {said}")
        return self


class RulesSettings(ProviderSettings):
    """The rules, in order: a choice that takes one label gets that of the first rule that is met."""

    rules: Annotated[tuple[Rule, ...], Field(min_length=1, max_length=1000)]
