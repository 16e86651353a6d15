"""Our REST contract: what is sent, and how an answer is read."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from prelabel_provider.base import Failed, Input, PredictedJson, Prediction
from prelabel_provider.remote.base import Answers, Cost
from prelabel_provider.remote.failures import InputRefused, TargetFailed
from pydantic import JsonValue

_REASON = re.compile(r"[a-z][a-z0-9_]{0,39}")
_MAX_VERSION = 200


def tasks_of(batch: Sequence[Input]) -> list[dict[str, Any]]:
    """Tasks as they are sent, and as templates see them."""
    return [{"id": one.task, "field": one.field, "data": dict(one.data)} for one in batch]


def batch_body(batch: Sequence[Input], parameters: Mapping[str, JsonValue]) -> dict[str, Any]:
    """The batch form."""
    return {"tasks": tasks_of(batch), **({"parameters": dict(parameters)} if parameters else {})}


def single_body(one: Input, parameters: Mapping[str, JsonValue]) -> dict[str, Any]:
    """The single form."""
    return {**tasks_of([one])[0], **({"parameters": dict(parameters)} if parameters else {})}


def json_of(body: bytes) -> Any:
    """Raises `TargetFailed`."""
    try:
        return orjson.loads(body)
    except ValueError:
        raise TargetFailed("the answer is no JSON") from None


def answers_of(answer: Any, batch: Sequence[Input], *, by_order: bool = False) -> Answers:
    """An answer in the batch form, or in the single form to one task. Raises `CallFailed` for anything else."""
    if not isinstance(answer, dict):
        raise TargetFailed("the answer is no JSON object")
    predictions = answer.get("predictions")
    if predictions is None and ("regions" in answer or "error" in answer) and len(batch) == 1:
        predictions = [{"id": batch[0].task, **answer}]
    if not isinstance(predictions, list):
        raise TargetFailed("the answer has no list of predictions")
    if by_order and len(predictions) != len(batch):
        # One without the field may have been left out by the request template: alone, it is seen which one it is.
        raise InputRefused(f"the answer has {len(predictions)} predictions for {len(batch)} tasks")
    ids = [one.task for one in batch] if by_order else [_id(one) for one in predictions]
    said = ((name, _said(one)) for name, one in zip(ids, predictions, strict=True))
    version = answer.get("version")
    named = version[:_MAX_VERSION] if isinstance(version, str) and version else None
    return Answers([(name, one) for name, one in said if one is not None], named, _cost(answer.get("cost")))


def _id(prediction: Any) -> str:
    name = prediction.get("id") if isinstance(prediction, dict) else None
    return name if isinstance(name, str) else ""


def _said(prediction: Any) -> Prediction | None:
    """None for what says neither regions nor an error: as if there were no answer."""
    if not isinstance(prediction, dict):
        return None
    error = prediction.get("error")
    if isinstance(error, dict):
        reason, detail = error.get("reason"), error.get("detail")
        known = isinstance(reason, str) and _REASON.fullmatch(reason) is not None
        return Failed(str(reason) if known else "remote", detail[:300] if isinstance(detail, str) else "")
    regions = prediction.get("regions")
    if not isinstance(regions, list):
        return None
    try:
        written = orjson.dumps(regions)
    except TypeError:  # what a template makes may be beyond JSON: a number of hundreds of digits
        return Failed("output", "the regions cannot be written as JSON")
    return PredictedJson(written, _number(prediction.get("uncertainty")))


def _number(said: Any) -> float | None:
    """None for what is none, or beyond all bounds."""
    try:
        return float(said) if type(said) in (int, float) else None
    except OverflowError:
        return None


def _cost(said: Any) -> Cost:
    if not isinstance(said, dict):
        return Cost()
    return Cost(units=_amounts(said.get("units")), money=_amounts(said.get("money")))


def _amounts(said: Any) -> dict[str, float]:
    if not isinstance(said, dict):
        return {}
    return {str(name): amount for name, one in said.items() if (amount := _number(one)) is not None}
