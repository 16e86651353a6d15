"""Settings that make no sense are refused when a project is put, with the field and what is wrong."""

from typing import Any

import pytest
from prelabel_contract.errors import InvalidEvent
from prelabel_contract.events import ProviderAnnounced
from prelabel_contract.projects import Project
from prelabel_inference_remote.provider import RestProvider
from prelabel_ingestion.projects import check_models
from pydantic import ValidationError

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
        ({"url": "http://ner.example.org:0/"}, "/models/0/settings/url", "port 0"),
        ({"url": "http://ner.example.org:99999/"}, "/models/0/settings/url", "cannot be read"),
        ({"url": "http://ner..example.org/"}, "/models/0/settings/url", "no host name"),
        ({"url": f"http://{'a' * 64}.example.org/"}, "/models/0/settings/url", "no host name"),
        ({"url": "http://[1.2.3]/x"}, "/models/0/settings/url", "cannot be read"),
        ({"health_url": "http://ner.example.org:0/"}, "/models/0/settings/health_url", "port 0"),
        ({"url": "ftp://ner.example.org"}, "/models/0/settings/url", "does not begin with https://"),
        ({"url": "https://user:password@ner.example.org"}, "/models/0/settings/url", "a password in it"),
        ({"url": "https://user:12345@ner.example.org/"}, "/models/0/settings/url", "a password in it"),
        ({"url": "http://[::1/predict"}, "/models/0/settings/url", "cannot be read"),
        ({"url": "https://:8080/predict"}, "/models/0/settings/url", "cannot be read"),
        ({"request": f"[{'9' * 5000}]"}, "/models/0/settings/request", "no JMESPath"),
        ({"request": "[" * 8000}, "/models/0/settings/request", "no JMESPath"),
        ({"request": "a" * 8001}, "/models/0/settings/request", "longer than 8000 characters"),
        ({"response": "a" * 8001}, "/models/0/settings/response", "longer than 8000 characters"),
        ({"request": ""}, "/models/0/settings/request", "empty"),
        ({"attempts": 0}, "/models/0/settings/attempts", "0"),
        ({"attempt_seconds": 0}, "/models/0/settings/attempt_seconds", "0"),
        ({"total_seconds": 1e9}, "/models/0/settings/total_seconds", "3600"),
        ({"concurrency": -1}, "/models/0/settings/concurrency", "-1"),
        ({"tasks_per_call": 1001}, "/models/0/settings/tasks_per_call", "1000"),
        ({"tasks_per_call": 1.5}, "/models/0/settings/tasks_per_call", "integer"),
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


@pytest.mark.parametrize(
    "url",
    [
        "https://ner.example.org/run/@cf/a/model?as=a@b",
        "http://[::1]:8080?to=x",
        "https://bücher.example/predict",
    ],
)
def test_an_address_may_hold_all_that_addresses_hold(url: str) -> None:
    put({"url": url})


@pytest.mark.parametrize("url", ["http://[1.2.3]/x", "http://ner.example.org:0/x", "http://ner.example.org:99999/x"])
def test_an_address_that_cannot_be_called_is_refused_by_the_provider(url: str) -> None:
    with pytest.raises(ValidationError) as refused:
        RestProvider.Settings.model_validate({"url": url})
    assert [error["loc"] for error in refused.value.errors()] == [("url",)]


@pytest.mark.parametrize("total", [2.0, 120.0])
def test_no_attempt_takes_longer_than_all_of_them_may(total: float) -> None:
    calling = RestProvider.load(RestProvider.Settings(url=URL, total_seconds=total)).calling()
    assert (calling.attempt_seconds, calling.total_seconds) == (min(total, 8.0), total)
