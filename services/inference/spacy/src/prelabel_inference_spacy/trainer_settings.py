"""Settings of one training of a spaCy model."""

from typing import Annotated, Literal

from prelabel_provider.trainer import TrainerSettings
from pydantic import Field

Spans = Literal["ner", "spancat", "either"]


class SpacyTrainerSettings(TrainerSettings):
    """How a pipeline is trained. What is set by default takes seconds for some hundred short texts, on one core."""

    lang: Annotated[str, Field(pattern=r"^[a-z]{2,3}$")] = "en"
    """The language whose tokenizer cuts the texts; a base has its own."""
    spans: Spans = "ner"
    """What finds spans. `ner` takes none that overlap, `spancat` takes any and scores them, but needs more examples and
    more time; `either` is `ner`, or `spancat` where spans overlap."""
    longest_span: Annotated[int, Field(ge=1, le=32)] = 8
    """Tokens; spancat only, which looks at every run of tokens up to the longest that it was shown."""
    epochs: Annotated[int, Field(ge=1, le=1000)] = 30
    """How often every example is shown, at most."""
    batch: Annotated[int, Field(ge=1, le=1024)] = 8
    """Examples per step."""
    dropout: Annotated[float, Field(ge=0, le=0.9)] = 0.1
    learn_rate: Annotated[float | None, Field(gt=0, le=0.1)] = None
    """None: 0.004 for a component that is made anew, 0.001 for one of a base that is trained further."""
    width: Annotated[int, Field(ge=8, le=512)] = 64
    """Of the vector of a token; a base has its own."""
    development: Annotated[float, Field(gt=0, le=0.5)] = 0.2
    """The share of the examples that is scored instead of shown, from 20 examples on."""
    patience: Annotated[int, Field(ge=0, le=1000)] = 5
    """Epochs without a better score after which it ends, the best kept; 0: all examples are shown, in all epochs."""
    minimum: Annotated[int, Field(ge=2)] = 10
    """Examples that there must be."""
    max_length: Annotated[int, Field(ge=1, le=1_000_000)] = 20_000
    """Characters. A longer text is left out: what it needs in memory grows with it."""
