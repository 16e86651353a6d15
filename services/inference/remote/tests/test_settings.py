"""Settings that make no sense are refused when a project is put, with the field and what is wrong."""

from typing import Any

import pytest
from prelabel_contract.errors import InvalidEvent
from prelabel_contract.events import ProviderAnnounced
from prelabel_contract.projects import Project
from prelabel_inference_remote.provider import RestProvider
from prelabel_ingestion.projects import check_models

URL = "https://ner.example.org/predict"


def put(settings: dict[str, Any]) -> None:
    project = Project.model_validate(
        {
            "id": "p",
            "title": "P",
            "label_set": {"questions": [{"name": "q", "kind": "span", "field": "text", "labels": ["WORD"]}]},
            "models": [{"name": "m", "provider": "remote", "settings": settings}],
        }
    )
    announced = ProviderAnnounced(
        provider="remote",
        package="1",
        kinds=tuple(sorted(RestProvider.kinds)),
        settings_schema=RestProvider.Settings.model_json_schema(),
    )
    check_models(project, {"remote": announced})


def test_what_makes_sense_is_taken() -> None:
    put(
        {
            "url": URL,
            "tasks_per_call": 8,
            "headers": {"X-Tenant": "blue"},
            "secret_headers": {"Authorization": {"secret": "NER_TOKEN", "prefix": "Bearer "}},
            "request": "{inputs: tasks[].data.text}",
            "response": "{predictions: body[].{id: key, regions: `[]`}}",
            "kinds": ["span"],
            "rate": {"calls_per_second": 50},
        }
    )


@pytest.mark.parametrize(
    ("wrong", "pointer", "said"),
    [
        ({"url": "ftp://ner.example.org"}, "/models/0/settings/url", "does not match"),
        ({"url": "https://user:password@ner.example.org"}, "/models/0/settings/url", "does not match"),
        ({"request": "{inputs: tasks[]"}, "/models/0/settings/request", "no JMESPath"),
        ({"response": "predictions[?"}, "/models/0/settings/response", "no JMESPath"),
        ({"headers": {"Authorization": "Bearer x"}}, "/models/0/settings/headers", "Authorization"),
        ({"headers": {"X-API-Key": "x"}}, "/models/0/settings/headers", "X-API-Key"),
        ({"secret_headers": {"X-Key": "in-plain-text"}}, "/models/0/settings/secret_headers/X-Key", "not of type"),
        (
            {"secret_headers": {"X-Key": {"secret": "../etc"}}},
            "/models/0/settings/secret_headers/X-Key/secret",
            "match",
        ),
        ({"kinds": ["sapn"]}, "/models/0/settings/kinds/0", "not one of"),
        ({"rate": {"calls_per_second": 0}}, "/models/0/settings/rate", "0"),
        ({"tasks_per_cal": 1}, "/models/0/settings", "tasks_per_cal"),
    ],
)
def test_what_makes_none_is_told_with_its_field(wrong: dict[str, Any], pointer: str, said: str) -> None:
    with pytest.raises(InvalidEvent) as refused:
        put({"url": URL, **wrong})
    (error, *_) = refused.value.errors
    assert error.pointer.startswith(pointer)
    assert said in error.detail
