"""Other programs with the same model and the same texts, and Prelabel beside them: with --peers only.

A program is given many callers, since it gathers what comes at the same time; what a text costs its callers is the
same for all. It hands nothing on and keeps nothing: what Prelabel does besides is not counted in its favour.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

import httpx

from tests.benchmarks.case import Case, Figure, Lost, Turn, Values
from tests.benchmarks.cases import ner
from tests.benchmarks.peers import PEERS
from tests.benchmarks.peers.callers import seconds
from tests.benchmarks.peers.peer import Peer, Span
from tests.benchmarks.pipeline import Asked, Pipeline
from tests.benchmarks.stage import Stage

US = "peers.prelabel"
CALLERS = {1: 32, 100: 8}
"""At a time, by texts in a request."""
_PROBES = 20
"""Texts about which all have to find the same."""
GOALS = {("label-studio-ml", 1): 1 / 5, ("label-studio-ml", 100): 1 / 2}


@contextmanager
def start(stage: Stage) -> Iterator[list[Turn]]:
    """Each runs beside the others, idle while it is not asked."""
    measured = stage.texts_and_ner()
    texts = measured.texts[: stage.sizes.peers]
    with ExitStack() as stack:
        turns = []
        answers: dict[str, Sequence[Sequence[Span]]] = {}
        if stage.wants(US):
            pipeline = stack.enter_context(stage.on_sqlite("peers", ["spacy"]))
            ours = measured.many(stage.sizes.texts)
            turns.append(stage.end_to_end(US, pipeline, ner.asked(measured), ours))
            answers["prelabel"] = _ours(pipeline, ner.asked(measured), texts[:_PROBES])
        for peer in PEERS:
            if stage.wants(f"peers.{peer.name}"):
                address = stack.enter_context(peer.serving(measured.model, stage.folder, stage.say))
                turns += [_turn(peer, address, texts, size) for size in CALLERS]
                answers[peer.name] = peer.found(address, texts[:_PROBES])
        agree(answers)
        yield [turn for turn in turns if stage.wants(turn.name)]


def agree(answers: Mapping[str, Sequence[Sequence[Span]]]) -> None:
    """Raises Lost where one finds other names than the rest, or all find none: it is not the same work."""
    said = {name: [sorted(spans) for spans in texts] for name, texts in answers.items()}
    first, *others = said
    if not any(said[first]):
        raise Lost(f"{first} finds nothing in {len(said[first])} texts")
    for name in others:
        if said[name] != said[first]:
            raise Lost(f"{name} finds other names than {first} in the same texts")


def _ours(pipeline: Pipeline, asked: Asked, texts: Sequence[str]) -> Sequence[Sequence[Span]]:
    with pipeline.client() as http:
        pipeline.set_up(http, "bench-probe", asked)
        return [
            _found(http, f"{pipeline.prelabel.address}/v1/projects/bench-probe/predictions", text) for text in texts
        ]


def _found(http: httpx.Client, door: str, text: str) -> Sequence[Span]:
    answer = http.post(door, json={"data": {"text": text}}, headers={"Prefer": "wait=30"})
    answer.raise_for_status()
    return [(one["start"], one["end"], one["labels"][0]) for one in answer.json()["predictions"][0]["regions"]]


def _turn(peer: Peer, address: str, texts: tuple[str, ...], size: int) -> Turn:
    name = f"peers.{peer.name}.{size}"
    bodies = [peer.body(texts[first : first + size]) for first in range(0, len(texts), size)]

    def measure(_: int) -> Values:
        return {name: len(texts) / seconds(address, bodies, min(CALLERS[size], len(bodies)))}

    return Turn(name, measure)


def _figure(peer: Peer, size: int) -> Figure:
    asked = "a text" if size == 1 else f"{size} texts"
    what = f"{peer.requirements[0]}, {peer.way}: {asked} in a request, {CALLERS[size]} requests at a time"
    return Figure(f"peers.{peer.name}.{size}", ner.UNIT, what, US, at_most=GOALS.get((peer.name, size)))


CASE = Case(
    "peers",
    (
        Figure(US, ner.UNIT, f"Prelabel, all in one on SQLite: {ner.END_TO_END}"),
        *(_figure(peer, size) for peer in PEERS for size in CALLERS),
    ),
    start,
    only_if_named="peers",
)
