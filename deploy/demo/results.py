"""What the demo shows: results as the HTTP API gives them, and the numbers of a whole run. Pure data, no
I/O."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Span:
    """A label on the text from `start` up to `end` (code points). `score` is 0 to 1, None when the model
    gave none."""

    start: int
    end: int
    label: str
    score: float | None
    below_threshold: bool


@dataclass(frozen=True, slots=True)
class Choice:
    """A label on the whole text. `score` is 0 to 1, None when the model gave none."""

    label: str
    score: float | None
    below_threshold: bool


@dataclass(frozen=True, slots=True)
class Prediction:
    """What one model said about one task; without spans and choices when its outcome is not `created`."""

    model: str
    provider: str
    version: str
    outcome: str
    spans: tuple[Span, ...]
    choices: tuple[Choice, ...]
    request: str = ""
    """Its id: what people's annotations name."""


@dataclass(frozen=True, slots=True)
class Result:
    """A task and everything that models said about it. `source` is where its text comes from, empty when
    unknown."""

    id: str
    text: str
    source: str
    predictions: tuple[Prediction, ...]

    @classmethod
    def from_json(cls, task: Mapping[str, Any], predictions: Iterable[Mapping[str, Any]]) -> "Result":
        """Read what the API answered. Region kinds that a text does not have are passed over, wrong offsets
        too."""
        text = str(task["data"].get("text", ""))
        meta = task.get("meta") or {}
        found = tuple(_prediction(prediction, len(text)) for prediction in predictions)
        return cls(id=str(task["id"]), text=text, source=str(meta.get("module", "")), predictions=found)

    @property
    def spans(self) -> tuple[Span, ...]:
        """Every model's spans, in the order of the text, the longer first where two start together."""
        spans = (span for prediction in self.predictions for span in prediction.spans)
        return tuple(sorted(spans, key=lambda span: (span.start, -span.end)))

    @property
    def choices(self) -> tuple[Choice, ...]:
        """Every model's choices, in the order of the models."""
        return tuple(choice for prediction in self.predictions for choice in prediction.choices)


@dataclass(frozen=True, slots=True)
class VersionPoint:
    """A version of the model that learned: a point of the curve. The score and its interval are 0 to 1."""

    version: str
    examples: int
    score: float | None
    low: float | None
    high: float | None
    served: bool
    reason: str
    tasks: int
    """Of the hold-out, that it was scored on."""

    @classmethod
    def from_json(cls, point: Mapping[str, Any]) -> "VersionPoint":
        """As the API's curve has it."""
        return cls(
            version=str(point["version"]),
            examples=int(point["examples"]),
            score=point["score"],
            low=point["low"],
            high=point["high"],
            served=point["state"] in ("serving", "served"),
            reason=str(point["reason"]),
            tasks=int(point["tasks"]),
        )


@dataclass(frozen=True, slots=True)
class Learned:
    """What came of people's corrections. Before and after are F1 on the texts that nobody annotated, 0 to 1."""

    serving: str
    metric: str
    points: tuple[VersionPoint, ...]
    annotated: int
    untouched: int
    """Texts that were set aside, which nobody annotated, predicted before and after."""
    before: float
    after: float
    before_by_label: Mapping[str, float]
    after_by_label: Mapping[str, float]
    accepted: int
    """Suggestions that people accepted as they were."""
    decided: int
    """Suggestions that they accepted or corrected."""
    beginner: float | None = None
    """What the model scored that nobody had taught yet, on the first hold-out."""
    seconds: float = 0.0
    """The loop took."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """A run in numbers, as the checker counted them.

    `outcomes` counts outcomes by model and kind of outcome. `seconds` run from the first byte sent to the
    last outcome readable. `f1` (0 to 1) and `f1_by_label` are the trained model's on held-out passages,
    None and empty where nothing was trained; `trained_seconds` is how long that took.
    """

    tasks: int
    outcomes: Mapping[str, Mapping[str, int]]
    duplicates: int
    lost: int
    dead_letters: int
    seconds: float
    f1: float | None = None
    f1_by_label: Mapping[str, float] | None = None
    trained_seconds: float | None = None
    servers: str = "SQLite, one process"
    learned: Learned | None = None
    """None: the loop was left out."""

    @property
    def tasks_per_second(self) -> float:
        """0 for a run that took no time."""
        return self.tasks / self.seconds if self.seconds > 0 else 0.0


def _prediction(prediction: Mapping[str, Any], length: int) -> Prediction:
    regions = [region for region in prediction.get("regions") or () if region.get("labels")]
    return Prediction(
        model=str(prediction.get("model", "")),
        provider=str(prediction.get("provider", "")),
        version=str(prediction.get("version", "")),
        outcome=str(prediction.get("outcome", "created")),
        spans=tuple(
            Span(region["start"], region["end"], str(region["labels"][0]), _score(region), _below(region))
            for region in regions
            if region["kind"] == "span" and 0 <= region["start"] < region["end"] <= length
        ),
        choices=tuple(
            Choice(str(label), _score(region), _below(region))
            for region in regions
            if region["kind"] == "choice"
            for label in region["labels"]
        ),
        request=str(prediction.get("request", "")),
    )


def _score(region: Mapping[str, Any]) -> float | None:
    score = region.get("score")
    return None if score is None else float(score)


def _below(region: Mapping[str, Any]) -> bool:
    return bool(region.get("below_threshold"))
