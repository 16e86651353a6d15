"""Regions: one label on data each. The union, its units and its ranges.

Units, once and for all:

* text offsets count Unicode code points, half open: `text[start:end]`
* picture geometry is in percent of the picture's width or height, 0 to 100; rotation in degrees, clockwise
* time is in seconds from the start of the recording; video frames count from 1

A region names the data field it lies on and the question of the label set that it answers, and carries its
labels as a list. Several regions may share an `id`: they say several things about the same thing. A kind this
version does not know passes through as `UnknownRegion` with all of its fields.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import (
    ConfigDict,
    Discriminator,
    Field,
    GetJsonSchemaHandler,
    SerializerFunctionWrapHandler,
    Tag,
    TypeAdapter,
    model_serializer,
    model_validator,
)
from pydantic_core import core_schema

from .base import Count, Json, Model, Name, NotEmpty, Score

Percent = Annotated[float, Field(ge=0, le=100)]
Offset = Count
Frame = Count
Seconds = Annotated[float, Field(ge=0)]


class Picture(Model):
    """The picture a region lies on, as it was when the region was drawn."""

    width: Annotated[int, Field(ge=1)]
    """Pixels."""
    height: Annotated[int, Field(ge=1)]
    """Pixels."""
    rotation: float | None = None
    """Degrees, clockwise."""


class RegionBase(Model):
    """What all kinds share."""

    id: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """Names the thing that is labelled, unique within one prediction or annotation; relations point to it."""
    field: str = ""
    """The field of the task's data. Empty only between a provider and the runtime, which fills it in."""
    question: str = ""
    """The question of the label set. Empty only between a provider and the runtime."""
    labels: tuple[Name, ...] = ()
    """Labels of the question, in the provider's words until they are mapped."""
    score: Score | None = None
    below_threshold: bool = False
    """The model's score is under the threshold of its project. Marked, never removed."""
    picture: Picture | None = None


class Span(RegionBase):
    """Characters `start` to `end` (exclusive) of a text field, in code points."""

    kind: Literal["span"] = "span"
    start: Offset
    end: Offset
    text: str | None = None
    """The characters themselves, when the writer knows them: a reader checks offsets against it."""

    @model_validator(mode="after")
    def _forward(self) -> Self:
        if self.end < self.start:
            raise ValueError("end must not lie before start")
        return self


class HtmlOffsets(Model):
    """The same span counted over the text of the whole document, in code points."""

    start: Offset
    end: Offset


class HtmlSpan(RegionBase):
    """From `start_offset` in the HTML text node at `start` to `end_offset` in the node at `end`."""

    kind: Literal["html_span"] = "html_span"
    start: str
    """XPath of the text node."""
    end: str
    start_offset: Offset
    end_offset: Offset
    global_offsets: HtmlOffsets | None = None
    text: str | None = None


class ParagraphSpan(RegionBase):
    """A span of a dialogue: from `start_offset` in paragraph `start` to `end_offset` in paragraph `end`."""

    kind: Literal["paragraph_span"] = "paragraph_span"
    start: Offset
    """Index of the paragraph, from 0."""
    end: Offset
    start_offset: Offset
    end_offset: Offset
    text: str | None = None


class Choice(RegionBase):
    """Labels for the field as a whole."""

    kind: Literal["choice"] = "choice"
    labels: Annotated[tuple[Name, ...], NotEmpty()]


class Taxonomy(RegionBase):
    """Paths from the root of a tree of labels to the chosen nodes."""

    kind: Literal["taxonomy"] = "taxonomy"
    paths: tuple[tuple[Name, ...], ...]


class Text(RegionBase):
    """Free text: a summary, a translation, a transcript."""

    kind: Literal["text"] = "text"
    text: tuple[str, ...]
    of: str | None = None
    """The id of the region that this text belongs to (a transcribed box); null for the whole field."""


class Number(RegionBase):
    """A number."""

    kind: Literal["number"] = "number"
    number: float


class DateTime(RegionBase):
    """A date or a point in time, as text in ISO 8601."""

    kind: Literal["datetime"] = "datetime"
    datetime: str


class Rating(RegionBase):
    """A rating in whole stars, 0 up to the maximum that the question states."""

    kind: Literal["rating"] = "rating"
    rating: Count


class Pairwise(RegionBase):
    """Which of two things is better."""

    kind: Literal["pairwise"] = "pairwise"
    selected: Literal["left", "right"] | str
    """What a later version adds is read, and refused at doors."""


class Ranking(RegionBase):
    """Items in order, best first, per list."""

    kind: Literal["ranking"] = "ranking"
    lists: dict[str, tuple[str, ...]]


class Rectangle(RegionBase):
    """A box: its corner, size (percent) and rotation about that corner (degrees)."""

    kind: Literal["rectangle"] = "rectangle"
    x: Percent
    y: Percent
    width: Percent
    height: Percent
    rotation: float | None = None


class Polygon(RegionBase):
    """Corners (x, y) in percent, in order."""

    kind: Literal["polygon"] = "polygon"
    points: Annotated[tuple[tuple[Percent, Percent], ...], NotEmpty()]
    closed: bool | None = None


class Ellipse(RegionBase):
    """Centre and radii in percent, rotation in degrees."""

    kind: Literal["ellipse"] = "ellipse"
    x: Percent
    y: Percent
    radius_x: Percent
    radius_y: Percent
    rotation: float | None = None


class KeyPoint(RegionBase):
    """A point; `width` is the diameter it is drawn with, in percent of the picture's width."""

    kind: Literal["keypoint"] = "keypoint"
    x: Percent
    y: Percent
    width: Percent | None = None


class Mask(RegionBase):
    """Pixels: run-length encoded bytes as Label Studio's brush writes them, or a PNG as a data URL."""

    kind: Literal["mask"] = "mask"
    rle: tuple[Annotated[int, Field(ge=0, le=255)], ...] | None = None
    png: str | None = None

    @model_validator(mode="after")
    def _one_encoding(self) -> Self:
        if (self.rle is None) == (self.png is None):
            raise ValueError("a mask has either rle or png")
        return self


class Keyframe(Model):
    """Where a tracked box is at one frame; between keyframes it is interpolated while `enabled`."""

    frame: Frame
    time: Seconds | None = None
    enabled: bool = True
    x: Percent
    y: Percent
    width: Percent
    height: Percent
    rotation: float | None = None


class Track(RegionBase):
    """A box that moves through a video."""

    kind: Literal["track"] = "track"
    sequence: tuple[Keyframe, ...]
    frames: Frame | None = None
    """Length of the video in frames."""
    duration: Seconds | None = None
    """Length of the video in seconds."""


class FrameRange(Model):
    """Frames `start` to `end`, inclusive."""

    start: Frame
    end: Frame


class Timeline(RegionBase):
    """Ranges of frames of a video."""

    kind: Literal["timeline"] = "timeline"
    ranges: tuple[FrameRange, ...]


class TimedSpan(RegionBase):
    """Seconds `start` to `end` of a recording."""

    kind: Literal["timed_span"] = "timed_span"
    start: Seconds
    end: Seconds
    channel: Count | None = None
    length: Seconds | None = None
    """Length of the whole recording."""


class SeriesSpan(RegionBase):
    """A stretch of a time series, in the units of its own time column."""

    kind: Literal["series_span"] = "series_span"
    start: float
    end: float
    instant: bool | None = None


class Relation(RegionBase):
    """An arrow between two regions of the same prediction or annotation, by their ids."""

    kind: Literal["relation"] = "relation"
    from_id: str
    to_id: str
    direction: Literal["left", "right", "bi"] | str = "right"
    """Which way it points; what a later version adds is read, and refused at doors."""


class Message(RegionBase):
    """A message in a conversation."""

    kind: Literal["message"] = "message"
    role: str
    content: str


class UnknownRegion(RegionBase):
    """A kind from a later version: kept whole, passed on whole."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Json] = Field(init=False)
    kind: str

    @classmethod
    def __get_pydantic_json_schema__(
        cls, source: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        made = super().__get_pydantic_json_schema__(source, handler)
        # Or a known kind would be of two kinds, and a schema with "oneOf" would refuse it.
        handler.resolve_ref_schema(made)["properties"]["kind"]["not"] = {"enum": sorted(KINDS)}
        return made

    @model_serializer(mode="wrap")
    def _whole(self, inner: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # "Null is left out" holds for fields that this version knows; of the others it cannot tell what null
        # means.
        return {**inner(self), **(self.__pydantic_extra__ or {})}


_KINDS: dict[str, type[RegionBase]] = {
    cls.model_fields["kind"].default: cls
    for cls in (
        *(Span, HtmlSpan, ParagraphSpan, Choice, Taxonomy, Text, Number, DateTime, Rating, Pairwise, Ranking),
        *(
            Rectangle,
            Polygon,
            Ellipse,
            KeyPoint,
            Mask,
            Track,
            Timeline,
            TimedSpan,
            SeriesSpan,
            Relation,
            Message,
        ),
    )
}

KINDS = frozenset(_KINDS)
"""Every kind that this version knows."""


def _tag(value: Any) -> str:
    kind = value.get("kind") if isinstance(value, dict) else getattr(value, "kind", None)
    return kind if kind in _KINDS else "unknown"


Region = Annotated[
    Annotated[Span, Tag("span")]
    | Annotated[HtmlSpan, Tag("html_span")]
    | Annotated[ParagraphSpan, Tag("paragraph_span")]
    | Annotated[Choice, Tag("choice")]
    | Annotated[Taxonomy, Tag("taxonomy")]
    | Annotated[Text, Tag("text")]
    | Annotated[Number, Tag("number")]
    | Annotated[DateTime, Tag("datetime")]
    | Annotated[Rating, Tag("rating")]
    | Annotated[Pairwise, Tag("pairwise")]
    | Annotated[Ranking, Tag("ranking")]
    | Annotated[Rectangle, Tag("rectangle")]
    | Annotated[Polygon, Tag("polygon")]
    | Annotated[Ellipse, Tag("ellipse")]
    | Annotated[KeyPoint, Tag("keypoint")]
    | Annotated[Mask, Tag("mask")]
    | Annotated[Track, Tag("track")]
    | Annotated[Timeline, Tag("timeline")]
    | Annotated[TimedSpan, Tag("timed_span")]
    | Annotated[SeriesSpan, Tag("series_span")]
    | Annotated[Relation, Tag("relation")]
    | Annotated[Message, Tag("message")]
    | Annotated[UnknownRegion, Tag("unknown")],
    Discriminator(_tag),
]
"""Any region."""

Regions = tuple[Region, ...]
REGIONS: TypeAdapter[Regions] = TypeAdapter(Regions)
"""Validates and dumps a whole list of regions at once."""
