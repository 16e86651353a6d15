"""Which subscription is told of what: of events that are all within the projects it names, and of no others."""

from typing import Any

import orjson
import pytest
from prelabel_contract.errors import FieldError
from prelabel_contract.events import (
    EventData,
    ModelPromoted,
    ModelRejected,
    ModelRolledBack,
    ModelTrained,
    SubscriptionChanged,
    SubscriptionDisabled,
    TaskDeleted,
    TaskRejected,
    TrainingFailed,
    event,
)
from prelabel_runtime.bus.base import Record
from prelabel_runtime.loop import messages
from prelabel_webhooks.handlers import TOPICS, Outgoing, outgoing, wants

MODEL: dict[str, str] = {"project": "a", "model": "m", "provider": "spacy", "training": "a/m/2"}


def told(data: EventData) -> Outgoing:
    """As it is read from the log."""
    (message,) = messages([event(data, id="e", source="/tests", time_ms=1)])
    found = outgoing(Record(message.topic, 0, 7, message.key, message.value, message.headers, 1))
    assert found is not None
    return found


def subscription(**fields: Any) -> SubscriptionChanged:
    """One."""
    return SubscriptionChanged(id="s", url="http://127.0.0.1/", created_ms=1, **fields)


def disabled(*projects: str) -> EventData:
    """An endpoint that was given up."""
    return SubscriptionDisabled(subscription="o", url="http://o", reason="gone", since_ms=None, projects=projects)


def rejected(reason: str) -> EventData:
    """A task that was not taken."""
    return TaskRejected(project="b", task="t", reason=reason, errors=(FieldError(pointer="", detail="d"),))


@pytest.mark.parametrize(
    ("data", "projects", "is_told"),
    [
        (TaskDeleted(project="a", task="t"), ("a",), True),
        (TaskDeleted(project="b", task="t"), ("a",), False),
        (TaskDeleted(project="b", task="t"), (), True),
        (disabled("a"), ("a", "b"), True),
        (disabled("a", "b"), ("a",), False),
        (disabled(), ("a",), False),
        (disabled("a", "b"), (), True),
        (rejected("invalid"), ("b",), True),
        (rejected("forbidden_project"), ("b",), False),
        (rejected("forbidden_project"), (), True),
    ],
)
def test_what_reaches_beyond_its_projects_is_not_told_to_a_subscription(
    data: EventData, projects: tuple[str, ...], is_told: bool
) -> None:
    assert wants(subscription(projects=projects), told(data)) is is_told


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (ModelTrained(**MODEL, version="2-a", artifact="a" * 64), "model.trained"),
        (ModelPromoted(**MODEL, version="2-a", epoch=3, detail="a sentence"), "model.promoted"),
        (ModelRejected(**MODEL, version="2-a", reason="worse", detail="a sentence"), "model.rejected"),
        (ModelRolledBack(**MODEL, version="1-a", epoch=4), "model.rolled_back"),
        (TrainingFailed(**MODEL, reason="single_class", detail="a sentence"), "training.failed"),
    ],
)
def test_what_becomes_of_models_is_told(data: EventData, kind: str) -> None:
    found = told(data)
    assert found.type == kind
    assert found.place.topic in TOPICS
    assert wants(subscription(types=(kind,), projects=("a",)), found)
    assert not wants(subscription(projects=("b",)), found)
    thin = orjson.loads(found.body("thin"))["data"]
    assert {"project", "model", "training"} <= thin.keys()
    assert "detail" not in thin
