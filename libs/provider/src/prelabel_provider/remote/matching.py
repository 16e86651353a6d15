"""Answers back to the tasks that they are about, by id."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from prelabel_contract.regions import REGIONS

from ..base import Failed, Predicted, PredictedJson, Prediction
from ..predictor import Told


@dataclass(frozen=True, slots=True)
class Matched:
    """What was said about whom."""

    said: Mapping[str, Prediction]
    odd: Mapping[str, int]
    """By reason: missing (asked, not answered), unknown (answered, not asked), duplicate (answered differently)."""


def matched(asked: Sequence[str], said: Iterable[tuple[str, Prediction]]) -> Matched:
    """Of several answers to one id that agree, one holds; of those that do not, none: nobody knows which is meant."""
    wanted = set(asked)
    odd: Counter[str] = Counter()
    found: dict[str, Prediction] = {}
    contradicted: set[str] = set()
    for name, prediction in said:
        if name not in wanted:
            odd["unknown"] += 1
        elif name in found and found[name] != prediction:
            contradicted.add(name)
        else:
            found[name] = prediction
    for name in contradicted:
        del found[name]
    odd["duplicate"] = len(contradicted)
    odd["missing"] = len(wanted) - len(found) - len(contradicted)
    return Matched(found, {reason: count for reason, count in odd.items() if count})


def told(prediction: Prediction, version: str) -> Told | Failed:
    """Regions as JSON with their version and their uncertainty, if that is one; or why there are none."""
    said = written(prediction)
    if isinstance(said, Failed):
        return said
    given = None if isinstance(prediction, Failed) else prediction.uncertainty
    return Told(said, version, given if given is not None and 0 <= given <= 1 else None)


def written(prediction: Prediction) -> bytes | Failed:
    """Regions as JSON, or why there are none."""
    match prediction:
        case Predicted():
            return REGIONS.dump_json(prediction.regions, exclude_none=True)
        case PredictedJson():
            return prediction.regions
    return prediction
