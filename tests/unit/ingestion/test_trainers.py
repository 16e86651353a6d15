"""A model that is to learn by itself has a provider that can: who cannot is refused, who did not say is not."""

from typing import Any

import pytest
from prelabel_contract.errors import InvalidEvent
from prelabel_contract.events import ProviderAnnounced
from prelabel_contract.projects import Project
from prelabel_ingestion.projects import check_models

QUESTION = {"name": "topic", "kind": "choice", "field": "text", "labels": ["a", "b"]}


def project(**model: Any) -> Project:
    """One model of the provider `words`."""
    models = [{"name": "m", "provider": "words", **model}]
    return Project.model_validate({"id": "p", "label_set": {"questions": [QUESTION]}, "models": models})


def running(**trains: bool | None) -> dict[str, ProviderAnnounced]:
    """Providers, and what they say of their trainers."""
    about: dict[str, Any] = {"package": "1", "kinds": ("choice",), "settings_schema": {}}
    return {name: ProviderAnnounced(provider=name, trains=said, **about) for name, said in trains.items()}


def test_training_of_a_provider_without_a_trainer_is_refused_with_those_that_have_one() -> None:
    with pytest.raises(InvalidEvent) as refused:
        check_models(project(training={}), running(words=False, spacy=True, other=None))
    (wrong,) = refused.value.errors
    assert wrong.pointer == "/models/0/training"
    assert wrong.detail.startswith("words has no trainer: leave training out")
    assert wrong.detail.endswith("these learn: spacy")


@pytest.mark.parametrize("trains", [True, None])
def test_a_provider_that_trains_or_does_not_say_is_taken(trains: bool | None) -> None:
    check_models(project(training={}), running(words=trains))


def test_a_trainer_that_was_heard_of_counts_whatever_the_package_says() -> None:
    check_models(project(training={}), running(words=False), {"words"})


def test_a_model_that_learns_only_when_somebody_asks_needs_no_trainer() -> None:
    check_models(project(), running(words=False))
