"""Label Studio's results (the items of `result`) to our regions and back."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from ..errors import MAX_ERRORS, FieldError, InvalidEvent, field_errors, pointer
from ..projects import listing
from ..regions import (
    Choice,
    DateTime,
    Ellipse,
    HtmlSpan,
    KeyPoint,
    Mask,
    Message,
    Number,
    Pairwise,
    ParagraphSpan,
    Polygon,
    Ranking,
    Rating,
    Rectangle,
    Region,
    RegionBase,
    Regions,
    Relation,
    SeriesSpan,
    Span,
    Taxonomy,
    Text,
    TimedSpan,
    Timeline,
    Track,
)
from .config import ANSWERS, Control, LabelingConfig

_Value = Mapping[str, Any]

_KEYS: Mapping[type[RegionBase], Mapping[str, str]] = {
    Span: {"start": "start", "end": "end", "text": "text"},
    HtmlSpan: {
        "start": "start",
        "end": "end",
        "startOffset": "start_offset",
        "endOffset": "end_offset",
        "globalOffsets": "global_offsets",
        "text": "text",
    },
    ParagraphSpan: {
        "start": "start",
        "end": "end",
        "startOffset": "start_offset",
        "endOffset": "end_offset",
        "text": "text",
    },
    Choice: {"choices": "labels"},
    Taxonomy: {"taxonomy": "paths"},
    Text: {"text": "text"},
    Number: {"number": "number"},
    DateTime: {"datetime": "datetime"},
    Rating: {"rating": "rating"},
    Pairwise: {"selected": "selected"},
    Ranking: {"ranker": "lists"},
    Rectangle: {"x": "x", "y": "y", "width": "width", "height": "height", "rotation": "rotation"},
    Polygon: {"points": "points", "closed": "closed"},
    Ellipse: {"x": "x", "y": "y", "radiusX": "radius_x", "radiusY": "radius_y", "rotation": "rotation"},
    KeyPoint: {"x": "x", "y": "y", "width": "width"},
    Mask: {"rle": "rle", "imageDataURL": "png"},
    Track: {"sequence": "sequence", "framesCount": "frames", "duration": "duration"},
    Timeline: {"ranges": "ranges"},
    TimedSpan: {"start": "start", "end": "end", "channel": "channel"},
    SeriesSpan: {"start": "start", "end": "end", "instant": "instant"},
    Message: {"role": "role", "content": "content"},
}
"""Label Studio's key in `value` -> our field, by kind."""

_CLASSES: Mapping[str, type[RegionBase]] = {str(cls.model_fields["kind"].default): cls for cls in _KEYS}
_PICTURE = {"original_width": "width", "original_height": "height", "image_rotation": "rotation"}
_RELATION_KEYS = ("from_id", "to_id", "direction", "labels", "score")


class _Refused(Exception):
    """Why one item cannot be converted; pointers are relative to the item."""

    def __init__(self, *errors: FieldError) -> None:
        super().__init__(*errors)
        self.errors = errors


def regions_from_results(results: Sequence[Any], config: LabelingConfig) -> Regions:
    """The regions that results stand for, in their order.

    Raises:
        InvalidEvent: with pointers into `results`: `/3/value/labels` is the fourth item's labels.
    """
    if not isinstance(results, (list, tuple)):
        raise _invalid([FieldError(pointer="", detail="results are a list of objects")])
    regions: list[Region | None] = [None] * len(results)
    errors: list[FieldError] = []
    items = list(enumerate(results))
    # Answers about one region repeat its geometry: read what draws first, then compare.
    for about_one in (False, True):
        geometry = _geometries(region for region in regions if region is not None)
        for index, item in items:
            control = _control_of(item, config)
            if (control is not None and control.per_region) != about_one:
                continue
            try:
                regions[index] = _region(item, control, config, geometry)
            except _Refused as refused:
                errors += (FieldError(pointer=f"/{index}{e.pointer}", detail=e.detail) for e in refused.errors)
    found = tuple(region for region in regions if region is not None)
    if not errors:
        errors += (_theirs(error, results, config) for error in config.label_set.errors(found, at=""))
    if errors:
        raise _invalid(errors)
    return found


def results_from_regions(regions: Sequence[RegionBase], config: LabelingConfig) -> list[dict[str, Any]]:
    """The results that say what the regions say, in their order.

    Raises:
        InvalidEvent: a region that the configuration does not ask for; pointers into `regions`.
    """
    errors = list(config.label_set.errors(tuple(regions), at=""))
    if errors:
        raise _invalid(errors)
    geometry = _geometries(regions)
    return [_item(region, config, geometry) for region in regions]


# ------------------------------------------------------------------------------------------------ one item in


def _control_of(item: Any, config: LabelingConfig) -> Control | None:
    name = item.get("from_name") if isinstance(item, dict) else None
    return config.control(name) if isinstance(name, str) else None


def _region(item: Any, control: Control | None, config: LabelingConfig, geometry: Mapping[str, _Value]) -> Region:
    if not isinstance(item, dict):
        raise _refused("", "a result is an object")
    if item.get("type") == "relation":
        return _relation(item, config)
    for name in ("from_name", "to_name", "type", "value"):
        if name not in item:
            raise _refused(f"/{name}", "this field is required")
    if control is None:
        asked = listing(c.name for c in config.controls)
        raise _refused("/from_name", f"no control of the configuration; controls are {asked}")
    if item["type"] != control.type:
        raise _refused("/type", f"control {control.name!r} gives results of type {control.type}")
    on = next((o for o in control.objects if o.name == item["to_name"]), None)
    if on is None:
        asked = listing(o.name for o in control.objects)
        raise _refused("/to_name", f"control {control.name!r} is about {asked}")
    if not isinstance(item["value"], dict):
        raise _refused("/value", "value is an object")
    value: _Value = {key: said for key, said in item["value"].items() if said is not None}
    common: dict[str, Any] = {"field": on.field, "question": control.name, **_envelope(item)}
    if control.per_region:
        value = _without_geometry(value, common, control, geometry)
    cls = _CLASSES[_kind(control, value)]
    if cls is Message:
        return _message(value, common)
    if cls is TimedSpan and item.get("original_length") is not None:
        common["length"] = item["original_length"]
    fields, keys = _fields(cls, value, control)
    return _made(cls, {**common, **fields}, {**keys, "length": "/original_length"})


def _kind(control: Control, value: _Value) -> str:
    if len(control.kinds) == 1:
        return control.kinds[0]
    if "points" in value:
        kind = "polygon"
    elif "radiusX" in value:
        kind = "ellipse"
    elif "rle" in value or "imageDataURL" in value:
        kind = "mask"
    else:
        kind = "rectangle" if "height" in value else "keypoint"
    return kind if kind in control.kinds else control.kinds[0]


def _envelope(item: Mapping[str, Any]) -> dict[str, Any]:
    said = {key: item[key] for key in ("id", "score") if item.get(key) is not None}
    picture = {ours: item[theirs] for theirs, ours in _PICTURE.items() if item.get(theirs) is not None}
    return {**said, "picture": picture} if picture else said


def _fields(cls: type[RegionBase], value: _Value, control: Control) -> tuple[dict[str, Any], dict[str, str]]:
    """Our fields, and which of their keys each came from."""
    names = _KEYS[cls]
    fields = {names[key]: said for key, said in value.items() if key in names}
    keys = {ours: f"/value/{theirs}" for theirs, ours in names.items()}
    rest = {key: said for key, said in value.items() if key not in names}
    if cls is Mask and rest.pop("format", "rle") != "rle":
        raise _refused("/value/format", "format is rle")
    if cls is ParagraphSpan:
        for end in ("start", "end"):
            fields[end] = _index(fields.get(end), end)
    if control.tag not in ANSWERS:
        fields["labels"], keys["labels"] = _said_labels(rest, control)
    if rest:
        unknown = next(iter(rest))
        detail = f"this key is not carried for {control.type}; known are {listing(names)}"
        raise _refused(pointer(("value", unknown)), detail)
    return fields, keys


def _said_labels(rest: dict[str, Any], control: Control) -> tuple[Any, str]:
    """The labels, under the control's type or under `labels`: the editor may write either, or both."""
    said = {key: rest.pop(key) for key in dict.fromkeys((control.type, "labels")) if key in rest}
    if not said:
        if control.own_options:
            raise _refused(f"/value/{control.type}", "this field is required")
        return [], "/value/labels"
    first = next(iter(said))
    if len(said) == 2 and said[first] != said["labels"]:
        raise _refused("/value/labels", f"says something else than {first}")
    return said[first], f"/value/{first}"


def _without_geometry(
    value: _Value, common: dict[str, Any], control: Control, geometry: Mapping[str, _Value]
) -> _Value:
    """What a per-region answer says itself. The geometry that it repeats must be its region's."""
    drawn = geometry.get(str(common.get("id", "")))
    if drawn is None:
        detail = f"control {control.name!r} is about one region: no other result has the same id"
        raise _refused("/id", detail)
    cls = _CLASSES[control.kinds[0]]
    own = set(_KEYS[cls])
    for key, said in value.items():
        if key in drawn and key not in own and said != drawn[key]:
            raise _refused(pointer(("value", key)), "differs from the region of the same id")
    if cls is Text:
        common["of"] = common["id"]
    return {key: said for key, said in value.items() if key in own or key not in drawn}


def _index(said: Any, end: str) -> int:
    if not (isinstance(said, str) and said.isascii() and said.isdigit() and len(said) < 10):
        raise _refused(f"/value/{end}", "the index of a paragraph, as a string")
    return int(said)


def _message(value: _Value, common: Mapping[str, Any]) -> Region:
    if set(value) != {"chatmessage"} or not isinstance(value["chatmessage"], dict):
        raise _refused("/value", "value holds chatmessage, an object with role and content")
    message = value["chatmessage"]
    if extra := set(message) - {"role", "content"}:
        raise _refused(pointer(("value", "chatmessage", min(map(str, extra)))), "this key is not carried")
    keys = {key: f"/value/chatmessage/{key}" for key in ("role", "content")}
    return _made(Message, {**common, **message}, keys)


def _relation(item: Mapping[str, Any], config: LabelingConfig) -> Region:
    if config.relations is None:
        raise _refused("/type", "the configuration has no Relations")
    said = {key: item[key] for key in _RELATION_KEYS if item.get(key) is not None}
    question = config.label_set.question(config.relations)
    field = "" if question is None else question.field
    return _made(Relation, {"question": config.relations, "field": field, **said}, {})


def _made(cls: type[RegionBase], fields: Mapping[str, Any], keys: Mapping[str, str]) -> Region:
    """Validate as JSON, strictly: a "3" is no 3, an unknown field inside a value is no field."""
    try:
        document = json.dumps({**fields, "kind": cls.model_fields["kind"].default})
        region: Any = cls.model_validate_json(document, strict=True, extra="forbid")
    except ValidationError as error:
        raise _Refused(*(_placed(e, keys) for e in field_errors(error))) from None
    except (TypeError, ValueError, RecursionError):
        raise _refused("/value", "this is no JSON value") from None
    made: Region = region
    return made


def _placed(error: FieldError, keys: Mapping[str, str]) -> FieldError:
    _, _, path = error.pointer.partition("/")
    first, slash, rest = path.partition("/")
    if first == "picture":
        theirs = next((key for key, ours in _PICTURE.items() if ours == rest), "original_width")
        return FieldError(pointer=f"/{theirs}", detail=error.detail)
    place = keys.get(first, "/" + first if first else "/value")
    return FieldError(pointer=place + slash + rest, detail=error.detail)


def _theirs(error: FieldError, results: Sequence[Any], config: LabelingConfig) -> FieldError:
    """A label set's complaint about a region, pointing into the result that the region came from."""
    index, _, step = error.pointer[1:].partition("/")
    item = results[int(index)]
    control = _control_of(item, config)
    if control is None:  # a relation: its fields have the same names
        return error
    value = item["value"]
    by_step = {"question": "/from_name", "field": "/to_name", "kind": "/type", "of": "/id"}
    names = {ours: theirs for theirs, ours in _KEYS[_CLASSES[control.kinds[0]]].items()}
    if step == "labels" and "labels" not in names:
        names["labels"] = control.type if control.type in value else "labels"
    place = by_step.get(step, f"/value/{names.get(step, step)}")
    return FieldError(pointer=f"/{index}{place}", detail=error.detail)


# ----------------------------------------------------------------------------------------------- one item out


def _geometries(regions: Iterable[RegionBase]) -> dict[str, dict[str, Any]]:
    """What every drawn thing looks like, by its id; the first region of an id says it."""
    found: dict[str, dict[str, Any]] = {}
    for region in regions:
        if region.id is not None and type(region) in _KEYS and str(getattr(region, "kind", "")) not in _ANSWERING:
            found.setdefault(region.id, _value(region))
    return found


_ANSWERING = frozenset((*ANSWERS.values(), "message", "relation"))


def _value(region: RegionBase) -> dict[str, Any]:
    """What a region says in `value`, without its labels (unless they are all it says)."""
    fields = {name: _plain(getattr(region, name)) for name in _KEYS[type(region)].values()}
    value = {key: fields[name] for key, name in _KEYS[type(region)].items() if fields[name] is not None}
    if isinstance(region, ParagraphSpan):
        value |= {"start": str(region.start), "end": str(region.end)}
    elif isinstance(region, Mask) and region.rle is not None:
        value["format"] = "rle"
    elif isinstance(region, Message):
        value = {"chatmessage": value}
    return value


def _plain(said: Any) -> Any:
    """Models, tuples and mappings as JSON has them, without nulls."""
    if isinstance(said, BaseModel):
        return said.model_dump(mode="json", exclude_none=True)
    if isinstance(said, tuple):
        return [_plain(item) for item in said]
    if isinstance(said, dict):
        return {key: _plain(item) for key, item in said.items()}
    return said


def _item(region: RegionBase, config: LabelingConfig, geometry: Mapping[str, _Value]) -> dict[str, Any]:
    if isinstance(region, Relation):
        return _relation_item(region)
    control = config.control(region.question)
    if control is None:
        raise _invalid([FieldError(pointer="", detail=f"{region.question!r} is no control")])
    on = next(o for o in control.objects if o.field == region.field)
    value = _value(region)
    id_ = region.id
    if control.per_region:
        id_ = getattr(region, "of", None) or region.id
        value = {**geometry.get(id_ or "", {}), **value}
    elif control.tag not in ANSWERS and not isinstance(region, Message) and (region.labels or control.own_options):
        value[control.type if control.own_options else "labels"] = list(region.labels)
    item: dict[str, Any] = {
        "id": id_,
        "from_name": control.name,
        "to_name": on.name,
        "type": control.type,
        "score": region.score,
        "original_length": region.length if isinstance(region, TimedSpan) else None,
    }
    if region.picture is not None:
        item |= {theirs: getattr(region.picture, ours) for theirs, ours in _PICTURE.items()}
    return {key: said for key, said in item.items() if said is not None} | {"value": value}


def _relation_item(region: Relation) -> dict[str, Any]:
    item: dict[str, Any] = {
        "type": "relation",
        "from_id": region.from_id,
        "to_id": region.to_id,
        "direction": region.direction,
    }
    if region.labels:
        item["labels"] = list(region.labels)
    if region.score is not None:
        item["score"] = region.score
    return item


def _refused(at: str, detail: str) -> _Refused:
    return _Refused(FieldError(pointer=at, detail=detail))


def _invalid(errors: Sequence[FieldError]) -> InvalidEvent:
    first = errors[0]
    detail = f"{first.pointer or '(whole value)'}: {first.detail}"
    return InvalidEvent("invalid", detail, errors[:MAX_ERRORS])
