"""Settings of a spaCy model."""

from typing import Annotated, Literal, Self

from prelabel_contract.base import Json, Name
from prelabel_provider.base import ProviderSettings
from prelabel_provider.uncertainty import Measure
from prelabel_runtime.settings import Frozen
from pydantic import Field, StringConstraints, model_validator
from pydantic_settings import SettingsConfigDict

Emit = Literal["ner", "entity_ruler", "spancat", "textcat", "pos", "dep"]


class Pattern(ProviderSettings):
    """A pattern of an entity ruler: a phrase, or a list of token attributes as spaCy's Matcher takes them."""

    label: Name
    pattern: Annotated[str, StringConstraints(min_length=1)] | Annotated[list[dict[str, Json]], Field(min_length=1)]


class SpacySettings(ProviderSettings):
    """Which pipeline, and what of it. One of `pipeline`, `path` and `blank` says which; none: what is trained."""

    pipeline: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_]+$")] | None = None
    """An installed package, such as en_core_web_sm."""
    path: Annotated[str, StringConstraints(min_length=1)] | None = None
    """A folder that spaCy saved a pipeline in."""
    blank: Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}$")] | None = None
    """A language's empty pipeline; `patterns` fill it."""
    patterns: tuple[Pattern, ...] = ()
    """Of an entity ruler made on the spot; with `blank` only."""
    emit: tuple[Emit, ...] = ()
    """ner, entity_ruler and spancat give spans (only spancat has scores), textcat gives choices with scores,
    pos a span per token, dep relations between such spans. Empty: what the pipeline has of the first four."""
    spans_key: str | None = None
    """The group that spancat writes to, if not the component's own; with spancat only."""
    uncertainty: Measure = Measure.MARGIN
    """What makes an answer unsure: margin: the two likeliest are close; least_confidence: the likeliest one's share is
    low; entropy: the shares are spread. Of textcat those of all categories count, of spancat the scores of the spans
    that it gives, of ner, with `beam`, those of all that may be said of a token; the most doubtful one tells."""
    beam: Annotated[int, Field(ge=2, le=32)] | None = None
    """With ner only, which has no scores: how many ways through a text are followed to tell how unsure it is: 8, say.
    What is suggested stays the same. It costs the time of the pipeline about once more. Empty: ner does not tell."""
    batch_size: Annotated[int, Field(ge=1, le=4096)] = 64
    """Texts that the pipeline sees at once. Its parser takes a quarter of them: sixteen short texts stay in a core's
    caches; a quarter of 128 costs a tenth more."""
    max_length: Annotated[int, Field(ge=1)] = 1_000_000
    """Characters. A longer text fails as too_long: a trained model may need 1 GB per 100,000."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        given = [name for name in ("pipeline", "path", "blank") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"one of pipeline, path and blank says which pipeline, not {' and '.join(given)}")
        if (self.blank is None) != (not self.patterns):
            raise ValueError("blank and patterns have an effect together only")
        if self.blank is not None and self.emit not in ((), ("entity_ruler",)):
            raise ValueError("a blank pipeline can emit entity_ruler only")
        if self.spans_key is not None and "spancat" not in self.emit:
            raise ValueError("spans_key has an effect with spancat only")
        return self


class SpacyLimits(Frozen):
    """What the operator lets saved pipelines do. Of the process's environment: a project must not widen it."""

    model_config = SettingsConfigDict(env_prefix="PRELABEL_SPACY_")

    trusted: tuple[str, ...] = ()
    """Components and functions that saved pipelines may name beside spaCy's own, as JSON:
    ["factories:transformer", "architectures:spacy-transformers.TransformerModel.v3"]. They run with the provider's
    rights, and may read or unpickle what lies in the folder."""
