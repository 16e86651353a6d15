"""BentoML: `service.py` with adaptive batching, run by `bentoml serve`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from deploy.local.ports import LOOPBACK
from tests.benchmarks.peers.peer import Peer, Span, our


def _introduce(_: httpx.Client) -> None:
    """It needs no introduction."""


def _command(port: int) -> Sequence[str]:
    where = ("--working-dir", str(Path(__file__).parent), "--host", LOOPBACK, "--port", str(port))
    return ("bentoml", "serve", *where, "service:Names")


def _body(texts: Sequence[str]) -> bytes:
    return json.dumps({"texts": list(texts)}).encode()


def _spans(answer: Any) -> Sequence[Sequence[Span]]:
    return [[(one["start"], one["end"], one["label"]) for one in regions] for regions in answer]


BENTOML = Peer(
    name="bentoml",
    way="batched adaptively, by `nlp.pipe`",
    requirements=("bentoml==1.4.39", our("spacy")),
    command=_command,
    environment={"BENTOML_DO_NOT_TRACK": "True"},
    ready="/readyz",
    introduce=_introduce,
    body=_body,
    spans=_spans,
)
