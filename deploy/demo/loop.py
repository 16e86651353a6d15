"""The learning loop, shown: simulated annotators correct what was pre-labelled, models learn, the gate decides.

The annotators know the truth (the library says what its names are), and correct suggestions as people would: what was
right is accepted, the rest is corrected; texts of the hold-out they answer blind. How much better the model has become
is measured on texts that nobody has annotated: they are predicted once more after each promotion.
"""

import asyncio
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import httpx
from prelabel_all_in_one.sample.corpus import Corpus, Passage
from prelabel_all_in_one.sample.gold import Gold
from prelabel_contract import names
from prelabel_training.examples.holdout import in_holdout
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from deploy.demo.results import Learned, Result, VersionPoint
from tests.rig.client import Client, NotDone

MODEL: Final = "names"
WAVES: Final = (320, 320)
"""Texts that people correct before each training."""
HOLDOUT: Final = 0.25
"""The share of them that no version learns from: with fewer the gate would stay unsure."""
UNTOUCHED: Final = 3
"""Of so many texts one is set aside, which nobody corrects: it tells what the corrections of others were good for."""
PEOPLE: Final = ("ada", "grace")
BOTH: Final = 8
"""Every so many texts are corrected by both: so that it is known how far they agree."""
TRAINING: Final[Mapping[str, Any]] = {
    "every_n": None,
    "quiet_seconds": 5.0,  # longer than annotations of one wave lie apart in the store, on real servers too
    "minimum": 50,
    "start": "settings",
    "settings": {"learn_rate": 0.002, "epochs": 10, "patience": 3},  # a beginner has little to forget
}
LOOK_SECONDS: Final = 0.3
AGAIN_SECONDS: Final = 1.0
"""Between two looks at all results."""
PATIENCE: Final = 240.0
"""Seconds without news after which the demo gives up."""


@dataclass(frozen=True, slots=True)
class Loop:
    """Drives the loop of one project, and looks at it."""

    console: Console
    client: Client
    project: str
    corpus: Corpus

    async def run(self, before: Sequence[Result]) -> tuple[Learned, list[Result]]:
        """All waves; what was learned, and the results afterwards. Raises `NotDone`."""
        gold = Gold(self.corpus.names)
        passages = {one.id: one for one in self.corpus.tasks}
        known = [one for one in before if one.id in passages]
        untouched = known[::UNTOUCHED]
        aside = {one.id for one in untouched}
        # Where the model found something there is something to correct: most texts hold no name at all.
        told = sorted((one for one in known if one.id not in aside), key=lambda one: not one.spans)
        taken = 0
        for size in WAVES:
            wave = told[taken : taken + size]
            taken += len(wave)
            await self._annotate(wave, passages, gold)
            await self._trained(taken)
        curve = await self.client.get(f"/v1/projects/{self.project}/models/{MODEL}/curve")
        first = await self.client.get(
            f"/v1/projects/{self.project}/models/{MODEL}/versions/{curve['points'][0]['version']}"
        )
        after = await self._predicted_again(aside, str(curve["serving"]))
        truth = {one.id: set(gold(passages[one.id])) for one in untouched}
        acceptance = await self.client.get(f"/v1/projects/{self.project}/acceptance")
        learned = Learned(
            serving=str(curve["serving"]),
            metric=str(curve["metric"] or "score"),
            points=tuple(VersionPoint.from_json(one) for one in curve["points"]),
            annotated=taken,
            beginner=(first["verdict"]["compared"] or {}).get("serving"),
            untouched=len(untouched),
            before=f1(before, truth),
            after=f1(after, truth),
            before_by_label=by_label(before, truth),
            after_by_label=by_label(after, truth),
            accepted=sum(int(one["accepted"]) for one in acceptance["versions"] if one["model"] == MODEL),
            decided=sum(int(one["shown"]) for one in acceptance["versions"] if one["model"] == MODEL),
        )
        return learned, after

    # ------------------------------------------------------------------------------------------------- people

    async def _annotate(self, wave: Sequence[Result], passages: Mapping[str, Passage], gold: Gold) -> None:
        found = await self.client.get(f"/v1/projects/{self.project}")
        areas = {
            label["value"] if isinstance(label, dict) else label
            for question in found["label_set"]["questions"]
            if question["name"] == "area"
            for label in question["labels"]
        }
        body = [
            one
            for place, result in enumerate(wave)
            for one in _said(place, result.id, passages[result.id], gold, areas, suggestion(self.project, result))
        ]
        await self.client.annotate(self.project, body)
        self.console.print(f"   {len(wave)} texts corrected by {' and '.join(PEOPLE)}", highlight=False)

    # ----------------------------------------------------------------------------------------------- trainings

    async def _trained(self, annotated: int) -> None:
        """Until a version is judged that learned from everything that was annotated so far, with a bar.

        How many trainings that takes is the trigger's business.
        """
        where = f"/v1/projects/{self.project}"
        seen: Any = None
        since = time.monotonic()
        with _bar(self.console) as progress:
            bar = progress.add_task("waiting for the training", total=None)
            while True:
                await asyncio.sleep(LOOK_SECONDS)
                examples = await self.client.get(f"{where}/examples")
                model = next(one for one in examples["models"] if one["model"] == MODEL)
                training = next(iter(await self._trainings()), None)
                since = since if (model, training) == seen else time.monotonic()
                seen = model, training
                self._check(since, f"{model}, {training}")
                if training is None:
                    continue
                now = training["progress"]
                progress.update(
                    bar, description=str(training["state"]), completed=now["step"], total=now["steps"] or None
                )
                if training["state"] in ("failed", "refused", "cancelled"):
                    raise NotDone(f"{training['training']} {training['state']}: {training['detail']}")
                if training["state"] == "trained" and _is_all(model, annotated):
                    break
            version: Any = None
            # Its verdict is there a moment before it serves: what is looked at next stands on that.
            while version is None or version["state"] == "kept":
                self._check(since, f"no end of the verdict on {training['version']}")
                await asyncio.sleep(LOOK_SECONDS)
                version = await self._found(f"{where}/models/{MODEL}/versions/{training['version']}")
        self.console.print(
            f"   version {version['version']} learned from {version['examples']}. {version['verdict']['text']}",
            highlight=False,
        )

    async def _trainings(self) -> Any:
        """The newest, if there is one."""
        return (await self.client.get(f"/v1/projects/{self.project}/trainings?model={MODEL}&limit=1"))["trainings"]

    # -------------------------------------------------------------------------------------------------- after

    async def _predicted_again(self, wanted: set[str], serving: str) -> list[Result]:
        """The results, once what serves was asked about all that is open, and has predicted what nobody annotated."""
        if serving == "settings":
            return await current_results(self.client, self.project)
        seen: Any = None
        since = time.monotonic()
        with _bar(self.console) as progress:
            bar = progress.add_task("predicting others again", total=len(wanted))
            while True:
                work = await self._found(f"/v1/projects/{self.project}/models/{MODEL}/repredicting")
                results = await current_results(self.client, self.project)
                done = sum(
                    one.id in wanted and any(p.model == MODEL and p.version.endswith(serving) for p in one.predictions)
                    for one in results
                )
                progress.update(bar, completed=done)
                if done >= len(wanted) and _is_over(work, serving):
                    return results
                since = since if (work, done) == seen else time.monotonic()
                seen = work, done
                self._check(since, f"{done} of {len(wanted)} texts were predicted again: {work}")
                await asyncio.sleep(AGAIN_SECONDS)

    async def _found(self, path: str) -> Any:
        """An answer; None where there is nothing yet."""
        try:
            return await self.client.get(path)
        except httpx.HTTPStatusError as error:
            if error.response.status_code != httpx.codes.NOT_FOUND:
                raise
            return None

    def _check(self, since: float, what: str) -> None:
        if time.monotonic() - since > PATIENCE:
            raise NotDone(f"nothing came for {PATIENCE:.0f} s: {what}")


def _is_all(model: Mapping[str, Any], annotated: int) -> bool:
    """Whether so many texts are stored with what was said of them, and the last training was given all of it."""
    stored = model["examples"] + model["held_out"] + sum(model["left_out"].values())
    return bool(stored >= annotated and model["new"] == 0 and model["training"] is None)


def _is_over(work: Mapping[str, Any] | None, serving: str) -> bool:
    """Whether a version has been asked about everything that is open."""
    return work is not None and work["version"] == serving and work["state"] not in ("listing", "asking")


async def current_results(client: Client, project: str) -> list[Result]:
    """Every task with the predictions that nothing has replaced, page by page."""
    results: list[Result] = []
    cursor = ""
    while True:
        page = await client.get(f"/v1/projects/{project}/tasks?predictions=true&limit=500{cursor}")
        results += [
            Result.from_json(line, [one for one in line["predictions"] if one["superseded_by"] is None])
            for line in page["tasks"]
        ]
        if page["next"] is None:
            return results
        cursor = f"&cursor={page['next']}"


def suggestion(project: str, result: Result) -> str | None:
    """What people are shown of a text: the request of the model's prediction. None: nothing; they answer it blind."""
    if in_holdout(project, names.task_uid(project, result.id), HOLDOUT):
        return None
    return next((one.request for one in result.predictions if one.model == MODEL and one.request), None)


def _said(
    place: int, task: str, passage: Passage, gold: Gold, areas: Collection[str], shown: str | None
) -> Iterator[dict[str, Any]]:
    """What people say of a text: the truth, beginning with what the model suggested, where they were shown that."""
    regions: list[dict[str, Any]] = [
        {"kind": "span", "field": "text", "question": "names", "start": start, "end": end, "labels": [label]}
        for start, end, label in gold(passage)
    ]
    if passage.area in areas:
        regions.append({"kind": "choice", "field": "text", "question": "area", "labels": [passage.area]})
    people = PEOPLE if place % BOTH == 0 else (PEOPLE[place % len(PEOPLE)],)
    for annotator in people:
        yield {
            "id": annotator,
            "task": task,
            "annotator": annotator,
            "regions": regions,
            "lead_time": 4.0,
            **({"parent_prediction": shown} if shown is not None else {}),
        }


Marks = set[tuple[int, int, str]]


def f1(results: Sequence[Result], truth: Mapping[str, Marks]) -> float:
    """F1 of the model's names in these texts: exact ends and labels."""
    right, said, true = 0, 0, 0
    for marks, known in _pairs(results, truth):
        right, said, true = right + len(marks & known), said + len(marks), true + len(known)
    return 2 * right / (said + true) if said + true else 0.0


def by_label(results: Sequence[Result], truth: Mapping[str, Marks]) -> dict[str, float]:
    """The same for each label."""
    labels = sorted({label for marks in truth.values() for _, _, label in marks})
    pairs = list(_pairs(results, truth))
    found = {}
    for label in labels:
        own = [({m for m in marks if m[2] == label}, {m for m in known if m[2] == label}) for marks, known in pairs]
        total = sum(len(marks) + len(known) for marks, known in own)
        found[label] = 2 * sum(len(marks & known) for marks, known in own) / total if total else 0.0
    return found


def _pairs(results: Sequence[Result], truth: Mapping[str, Marks]) -> Iterator[tuple[Marks, Marks]]:
    for result in results:
        if result.id in truth:
            said = (one for one in result.predictions if one.model == MODEL)
            yield {(s.start, s.end, s.label) for one in said for s in one.spans}, truth[result.id]


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("   {task.description:<27}"),
        BarColumn(bar_width=40),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    )
