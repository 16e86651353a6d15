"""A labelling configuration: what is asked (controls) about what (objects), and the label set it comes to."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from ..errors import FieldError, InvalidEvent
from ..projects import Label, LabelSet, Question
from .markup import Element, parse

SHAPES: Mapping[str, str] = {
    "Rectangle": "rectangle",
    "Polygon": "polygon",
    "Ellipse": "ellipse",
    "KeyPoint": "keypoint",
    "Brush": "mask",
    "Bitmask": "mask",
    "VideoRectangle": "track",
}
"""Controls that draw, without labels of their own: those come from a Labels control on the same object."""

LABELLED: Mapping[str, str] = {
    "HyperTextLabels": "html_span",
    "ParagraphLabels": "paragraph_span",
    "RectangleLabels": "rectangle",
    "PolygonLabels": "polygon",
    "EllipseLabels": "ellipse",
    "KeyPointLabels": "keypoint",
    "BrushLabels": "mask",
    "BitmaskLabels": "mask",
    "TimelineLabels": "timeline",
    "TimeSeriesLabels": "series_span",
}
"""Controls that draw and label."""

ANSWERS: Mapping[str, str] = {
    "Choices": "choice",
    "Taxonomy": "taxonomy",
    "TextArea": "text",
    "Number": "number",
    "DateTime": "datetime",
    "Rating": "rating",
    "Pairwise": "pairwise",
    "Ranker": "ranking",
}
"""Controls that answer for the whole field, or with perRegion for one region."""

LABELS_ON: Mapping[str, str] = {
    "Text": "span",
    "HyperText": "html_span",
    "Paragraphs": "paragraph_span",
    "Audio": "timed_span",
    "AudioPlus": "timed_span",
    "Video": "track",
    "TimeSeries": "series_span",
}
"""What the Labels control means by the object it stands on; on an Image it labels what the shapes draw."""

_IGNORED = frozenset({"Filter", "Shortcut"})
_OPTIONS = frozenset({"Label", "Choice"})
_DEFAULT_MAX_RATING = 5
_RELATIONS = "relations"


@dataclass(frozen=True, slots=True)
class Option:
    """A label that a control offers. Results carry `value`: the alias where there is one."""

    value: str
    title: str | None = None
    """What people read, if it differs."""
    parent: str | None = None
    """The option above, in a taxonomy."""


@dataclass(frozen=True, slots=True)
class DataObject:
    """A tag that shows a field of the data."""

    name: str
    tag: str
    field: str | None
    """The key in the task's data; None for a fixed text."""


@dataclass(frozen=True, slots=True)
class Control:
    """A tag that asks something."""

    name: str
    tag: str
    kinds: tuple[str, ...]
    """The kinds of region that answer it, the usual one first."""
    objects: tuple[DataObject, ...]
    """What it asks about; two for a comparison."""
    options: tuple[Option, ...] = ()
    own_options: bool = True
    """The options stand inside the control; False: they are those of Labels controls on the same object."""
    per_region: bool = False
    """It is asked about one region at a time."""
    multiple: bool = True
    max_rating: int | None = None

    @property
    def type(self) -> str:
        """What results call it."""
        return "chatmessage" if self.tag == "Chat" else self.tag.lower()


@dataclass(frozen=True, slots=True)
class LabelingConfig:
    """A parsed configuration."""

    controls: tuple[Control, ...]
    label_set: LabelSet
    """One question per control, in order; relations, where they are allowed, are the last question."""
    relations: str | None = None
    """The question that relations answer; None where the configuration has no Relations."""

    def control(self, name: str) -> Control | None:
        """The control of that name."""
        return next((control for control in self.controls if control.name == name), None)


def parse_config(xml: str) -> LabelingConfig:
    """Read a labelling configuration.

    Raises:
        InvalidEvent: no XML, or it asks for something that cannot be carried; the detail names the tag.
    """
    root = parse(xml)
    elements = [root, *root.walk()]
    objects = _objects(elements)
    controls = tuple(_controls(elements, objects))
    if not controls:
        raise _wrong("the labelling configuration has no control (a tag with name and toName)")
    relations, found = None, next((e for e in elements if e.tag == "Relations"), None)
    questions = [_question(control) for control in controls]
    if found is not None:
        # Relations have no name of their own, and join regions of any field; ours stand on the first one's.
        relations = _free(_RELATIONS, {control.name for control in controls})
        said = tuple(Label(value=_value(e), title=_title(e)) for e in found.walk() if e.tag == "Relation")
        questions.append(_valid(name=relations, kind="relation", field=questions[0].field, labels=said))
    try:
        label_set = LabelSet(questions=tuple(questions))
    except ValidationError as error:
        raise InvalidEvent.from_validation(error, what="labelling configuration") from None
    return LabelingConfig(controls, label_set, relations)


def _objects(elements: Sequence[Element]) -> dict[str, DataObject]:
    objects: dict[str, DataObject] = {}
    for element in elements:
        said = element.attributes
        shown = said.get("value") or said.get("valueList")
        if "name" not in said or "toName" in said or shown is None:
            continue
        if said["name"] in objects:
            raise _wrong(f"two objects have the name {said['name']!r}")
        field = shown[1:] if shown.startswith("$") and len(shown) > 1 else None
        objects[said["name"]] = DataObject(said["name"], element.tag, field)
    return objects


def _controls(elements: Sequence[Element], objects: Mapping[str, DataObject]) -> Iterator[Control]:
    beside: dict[str, list[Element]] = {}
    for element in filter(_asks, elements):
        for name in _names(element):
            beside.setdefault(name, []).append(element)
    for element in elements:
        if element.tag == "Chat" and "name" in element.attributes:
            yield Control(element.attributes["name"], "Chat", ("message",), (_shown(element, objects),))
        elif _asks(element):
            yield _control(element, objects, beside)


def _asks(element: Element) -> bool:
    return "name" in element.attributes and "toName" in element.attributes and element.tag not in _IGNORED


def _control(element: Element, objects: Mapping[str, DataObject], beside: Mapping[str, Sequence[Element]]) -> Control:
    said, tag = element.attributes, element.tag
    if "{{" in said["name"]:
        raise _wrong(f"{_told(element)}: a Repeater's names are not supported")
    on = tuple(_shown(element, objects, name) for name in _names(element))
    if len(on) > 1 and tag != "Pairwise":
        raise _wrong(f"{_told(element)}: several objects in toName are for Pairwise only")
    neighbours = beside[on[0].name]
    options = tuple(_options(element))
    if tag in SHAPES:
        options = _once(o for e in neighbours if e.tag == "Labels" for o in _options(e))
    elif not options and (said.get("value", "").startswith("$") or "apiUrl" in said):
        raise _wrong(f"{_told(element)}: labels from the task's data are not supported; list them")
    return Control(
        name=said["name"],
        tag=tag,
        kinds=_kinds(element, on[0], neighbours),
        objects=on,
        options=options,
        own_options=tag not in SHAPES,
        per_region=tag in ANSWERS and said.get("perRegion", "").lower() == "true",
        multiple=tag != "Choices" or said.get("choice", "") == "multiple",
        max_rating=_max_rating(element) if tag == "Rating" else None,
    )


def _kinds(element: Element, on: DataObject, neighbours: Sequence[Element]) -> tuple[str, ...]:
    kind = SHAPES.get(element.tag) or LABELLED.get(element.tag) or ANSWERS.get(element.tag)
    if kind is not None:
        return (kind,)
    if element.tag == "Labels" and on.tag in LABELS_ON:
        return (LABELS_ON[on.tag],)
    if element.tag == "Labels" and on.tag == "Image":
        drawn = tuple(dict.fromkeys(SHAPES[e.tag] for e in neighbours if e.tag in SHAPES))
        return drawn or ("rectangle",)
    raise _wrong(f"{_told(element)} on {on.tag} is not supported")


def _shown(element: Element, objects: Mapping[str, DataObject], name: str | None = None) -> DataObject:
    name = element.attributes["name"] if name is None else name
    shown = objects.get(name)
    if shown is None:
        raise _wrong(f"{_told(element)}: no object has the name {name!r}")
    if shown.field is None:
        raise _wrong(f'{shown.tag} {name!r} must name a field of the data: value="$field"')
    return shown


def _options(element: Element) -> Iterator[Option]:
    if element.tag == "Taxonomy":
        yield from _tree(element, None)
    else:
        yield from (Option(_value(e), _title(e)) for e in element.walk() if e.tag in _OPTIONS)


def _tree(element: Element, parent: str | None) -> Iterator[Option]:
    for child in element.children:
        above = parent
        if child.tag in _OPTIONS:
            option = Option(_value(child), _title(child), parent)
            yield option
            above = option.value
        yield from _tree(child, above)


def _once(options: Iterator[Option]) -> tuple[Option, ...]:
    return tuple({option.value: option for option in options}.values())


def _question(control: Control) -> Question:
    options = control.options
    if control.tag == "Taxonomy":
        options = tuple({(option.parent, option.value): option for option in options}.values())
    return _valid(
        name=control.name,
        kind=control.kinds[0],
        also=control.kinds[1:],
        field=control.objects[0].field,
        other_field=control.objects[1].field if len(control.objects) > 1 else None,
        labels=tuple(Label(value=o.value, title=o.title, parent=o.parent) for o in options),
        multiple=control.multiple,
        max_rating=control.max_rating,
    )


def _valid(**fields: object) -> Question:
    try:
        return Question.model_validate(fields)
    except ValidationError as error:
        raise InvalidEvent.from_validation(error, what=f"control {fields['name']!r}") from None


def _max_rating(element: Element) -> int:
    said = element.attributes.get("maxRating", str(_DEFAULT_MAX_RATING))
    if not (said.isascii() and said.isdigit() and 1 <= int(said[:9]) < 10**6):
        raise _wrong(f"{_told(element)}: maxRating is a whole number from 1 on")
    return int(said)


def _value(option: Element) -> str:
    value = option.attributes.get("alias") or option.attributes.get("value")
    if not value:
        raise _wrong(f"a {option.tag} has neither value nor alias")
    return value


def _title(option: Element) -> str | None:
    return option.attributes.get("value") or None if option.attributes.get("alias") else None


def _names(element: Element) -> list[str]:
    return [name.strip() for name in element.attributes["toName"].split(",")]


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    return name


def _told(element: Element) -> str:
    return f"{element.tag} {element.attributes.get('name', '')[:200]!r}"


def _wrong(detail: str) -> InvalidEvent:
    return InvalidEvent("invalid", detail, [FieldError(pointer="", detail=detail)])
