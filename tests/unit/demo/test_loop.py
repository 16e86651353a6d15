"""The demo's annotators: what they are shown."""

from prelabel_contract import names
from prelabel_training.examples.holdout import in_holdout

from deploy.demo.loop import HOLDOUT, MODEL, suggestion
from deploy.demo.results import Result

PROJECT = "stdlib"


def predicted(task: str) -> Result:
    """A text that both models of the demo have predicted."""
    said = [
        {"model": model, "provider": "spacy", "version": "1", "outcome": "created", "regions": [], "request": request}
        for model, request in (("areas", f"areas-{task}"), (MODEL, f"names-{task}"))
    ]
    return Result.from_json({"id": task, "data": {"text": "a text"}, "meta": {}}, said)


def test_texts_of_the_hold_out_are_answered_blind_and_others_from_the_models_suggestion() -> None:
    texts = [f"t{n}" for n in range(200)]
    held = {one for one in texts if in_holdout(PROJECT, names.task_uid(PROJECT, one), HOLDOUT)}
    assert 20 < len(held) < 80
    shown = {one: suggestion(PROJECT, predicted(one)) for one in texts}
    assert shown == {one: None if one in held else f"names-{one}" for one in texts}
