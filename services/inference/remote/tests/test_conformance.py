"""The remote provider is a remote provider, by our contract and by templates."""

from typing import Any

import orjson
from prelabel_inference_remote.provider import RestProvider
from prelabel_provider.remote.base import Request, Response
from prelabel_provider.remote.testing import RemoteProviderTests

URL = "https://ner.example.org/predict"
SAMPLES = ({"text": "Ada met Grace"}, {"text": "Grace wrote"}, {"text": "Ada"})


def spans(text: str) -> list[dict[str, Any]]:
    places = [(word, text.find(word)) for word in ("Ada", "Grace")]
    return [
        {"kind": "span", "start": at, "end": at + len(word), "labels": ["PERSON"], "score": 0.5}
        for word, at in places
        if at >= 0
    ]


def predicted(task: dict[str, Any]) -> dict[str, Any]:
    text = task["data"].get("text")
    if not isinstance(text, str):
        return {"id": task["id"], "error": {"reason": "input", "detail": "no text"}}
    return {"id": task["id"], "regions": spans(text)}


def said(body: Any) -> Response:
    return Response(200, {}, orjson.dumps(body))


class TestSingle(RemoteProviderTests):
    provider = RestProvider
    settings = {"url": URL}
    other_settings = {"url": "https://other.example.org/predict"}
    samples = SAMPLES

    def answer(self, request: Request) -> Response:
        return said({**predicted(orjson.loads(request.content)), "version": "ner-3"})


class TestBatch(RemoteProviderTests):
    provider = RestProvider
    settings = {"url": URL, "tasks_per_call": 2}
    other_settings = {"url": URL, "tasks_per_call": 2, "parameters": {"beam": 4}}
    samples = SAMPLES

    def answer(self, request: Request) -> Response:
        return said({"predictions": [predicted(task) for task in orjson.loads(request.content)["tasks"]][::-1]})


class TestTemplates(RemoteProviderTests):
    provider = RestProvider
    settings = {
        "url": URL,
        "tasks_per_call": 2,
        "request": "{inputs: tasks[].data.text}",
        "response": (
            "{predictions: body.outputs[].{regions: entities[].{kind: 'span', start: begin, end: end, "
            "labels: [label], score: p}}}"
        ),
        "match": "order",
    }
    other_settings = {**settings, "version": "2"}
    samples = SAMPLES

    def answer(self, request: Request) -> Response:
        def entities(text: str) -> list[dict[str, Any]]:
            return [
                {"begin": span["start"], "end": span["end"], "label": "PERSON", "p": span["score"]}
                for span in spans(text)
            ]

        texts = orjson.loads(request.content)["inputs"]
        return said({"outputs": [{"entities": entities(text)} for text in texts]})
