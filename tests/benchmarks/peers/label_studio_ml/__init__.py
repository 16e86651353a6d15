"""Label Studio's ML backend: `_wsgi.py`, run by gunicorn with the arguments of the Dockerfile that it writes.

Twice: asking spaCy as its own example does, and as it is asked best.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx

from deploy.local.ports import LOOPBACK
from tests.benchmarks.peers.peer import Peer, Span, our

_PROJECT = "1.1"
_CONFIG = (
    '<View><Labels name="label" toName="text"><Label value="TYPE"/></Labels><Text name="text" value="$text"/></View>'
)


def _introduce(http: httpx.Client) -> None:
    setup = {"project": _PROJECT, "schema": _CONFIG, "force_reload": True}
    http.post("/setup", json=setup).raise_for_status()


def _command(port: int) -> Sequence[str]:
    where = ("--chdir", str(Path(__file__).parent), "--bind", f"{LOOPBACK}:{port}")
    return ("gunicorn", "--preload", *where, "--workers", "1", "--threads", "8", "--timeout", "0", "_wsgi:app")


def _body(texts: Sequence[str]) -> bytes:
    tasks = [{"id": number, "data": {"text": text}} for number, text in enumerate(texts)]
    return json.dumps({"tasks": tasks, "project": _PROJECT, "label_config": _CONFIG}).encode()


def _spans(answer: Any) -> Sequence[Sequence[Span]]:
    return [[_span(region["value"]) for region in one["result"]] for one in answer["results"]]


def _span(value: Any) -> Span:
    return value["start"], value["end"], value["labels"][0]


LABEL_STUDIO_ML = Peer(
    name="label-studio-ml",
    way="text by text as its spaCy example",
    requirements=("label-studio-ml==1.0.9", "rq==1.10.1", "gunicorn>=23", our("spacy")),
    command=_command,
    environment={"LABEL_STUDIO_ML_BACKEND_V2": "true"},
    ready="/health",
    introduce=_introduce,
    body=_body,
    spans=_spans,
)
PIPED = replace(
    LABEL_STUDIO_ML,
    name="label-studio-ml-piped",
    way="a request's texts by `nlp.pipe`",
    environment={**LABEL_STUDIO_ML.environment, "BENCH_PIPED": "yes"},
)
