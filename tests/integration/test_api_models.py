"""Versions over HTTP: what serves, why others do not; promote and roll back, recorded, refused where that is no use.

No provider runs here: what those who predict say of a version, the tests say.
"""

import json
from collections.abc import AsyncIterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
import pytest_asyncio
from prelabel_contract import cloudevents, names
from prelabel_contract.events import (
    ModelLoaded,
    ModelPromoted,
    ModelRolledBack,
    ModelServing,
    ProviderAnnounced,
    SuggestionAccepted,
    SuggestionCorrected,
    event,
)
from prelabel_contract.names import Lane
from prelabel_provider.models.manifest import Rules
from prelabel_provider.models.store import Models, Origin
from prelabel_provider.serving.pointers import TRIED_AGAIN
from prelabel_runtime.loop import messages
from prelabel_runtime.run import Runtime
from prelabel_runtime.topics.spec import topic_spec
from prelabel_training.registry.versions import Figure, Figures, Judgement, LabelFigures, VersionRecord, Versions

from tests.rig.in_process import Here, eventually, prelabel_here

from .test_api_doors import problem
from .test_audit import rows

pytestmark = pytest.mark.asyncio(loop_scope="session")
RULES = Rules("rules", frozenset({".json"}))
_HALF = Figure(value=0.5, low=0.4, high=0.6)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def here(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Here]:
    async with prelabel_here(tmp_path_factory.mktemp("prelabel"), inbound={}, providers=()) as here:
        lanes = [topic_spec(names.requests(one, lane), 1) for one in ("rules", "echo") for lane in Lane]
        await here.runtime.bus.provision(lanes)
        about = {"package": "1", "kinds": ("span", "choice"), "settings_schema": {}}
        await tell(here.runtime, *(ProviderAnnounced(provider=one, **about) for one in ("rules", "echo")))
        yield here


async def version(
    here: Here, project: str, number: int, *, outcome: str = "refuse", score: float = 0.5, there: bool = True
) -> VersionRecord:
    """A version of the model `finder` that a gate has judged, with its artifact."""
    artifact = await published(here, number) if there else f"{number:064x}"
    overall = Figure(value=score, low=max(0.0, score - 0.1), high=min(1.0, score + 0.1))
    label = LabelFigures(question="topic", label="urgent", tp=1, fp=1, fn=1, precision=_HALF, recall=_HALF, f1=overall)
    report = Figures(
        metric="micro_f1",
        overall=overall,
        tasks=40,
        tp=1,
        fp=1,
        fn=1,
        precision=_HALF,
        recall=_HALF,
        f1=overall,
        macro_f1=_HALF,
        labels=(label,),
    )
    record = VersionRecord(
        version=f"{number}-{artifact[:12]}",
        number=number,
        project=project,
        model="finder",
        provider="rules",
        training=f"{project}/finder/{number}",
        artifact=artifact,
        examples=50 * number,
        report=report,
        verdict=Judgement(outcome=outcome, reason="worse", text="Not promoted: worse.", score=score),
        judged_ms=number,
    )
    return await Versions(here.runtime.store.documents).insert(record)


async def published(here: Here, number: int) -> str:
    """An artifact in the model store."""
    folder = Path(here.runtime.settings.blobs).parent
    source = folder / f"made-{number}"
    source.mkdir(exist_ok=True)
    (source / "model.json").write_text(json.dumps({"number": number}))
    models = Models(str(folder / "models"), folder / "models-cache")
    artifact = await models.publish(source, ["model.json"], Origin(1, "f"), RULES)
    models.stop()
    return artifact


async def post(here: Here, path: str, body: Any = None, **headers: str) -> Any:
    """An answer to a change."""
    return await here.client.post(f"/v1/projects/{path}", json=body, headers=headers)


async def tell(runtime: Runtime, *data: Any) -> None:
    """Events of others."""
    told = [event(one, id=runtime.new_id(), source="/test", time_ms=runtime.clock.now_ms()) for one in data]
    await runtime.bus.publish(messages(told))


T = TypeVar("T", ModelServing, ModelPromoted, ModelRolledBack)


async def told(here: Here, topic: str, kind: type[T], project: str) -> list[T]:
    """What was told of the changes of a project's model, in order; what was told twice is one event.

    Whoever looks while a change is being told tells it, too: the same, under the same id.
    """
    by_epoch: dict[int, tuple[str, T]] = {}
    for record in await here.records(topic):
        one = cloudevents.decode(record.headers, record.value, topic=topic, key=record.key) if record.value else None
        if one is not None and isinstance(one.data, kind) and one.data.project == project:
            assert by_epoch.setdefault(one.data.epoch, (one.id, one.data)) == (one.id, one.data)
    return [data for _, data in by_epoch.values()]


async def test_a_version_that_was_refused_can_be_promoted_by_hand_and_everybody_hears_of_it(here: Here) -> None:
    project = await here.project()
    one = await version(here, project, 1)
    answer = await post(here, f"{project}/models/finder/versions/{one.version}/promote", {"reason": "it is fine"})
    assert answer.status_code == 200, answer.text
    assert answer.headers["ETag"] == '"1"'
    said = answer.json()
    assert (said["version"], said["epoch"], said["artifact"]) == (one.version, 1, one.artifact)
    assert said == await here.get(f"{project}/models/finder/serving")
    (serving,) = await told(here, names.MODELS, ModelServing, project)
    assert (serving.version, serving.artifact, serving.previous_version) == (one.version, one.artifact, "settings")
    (promoted,) = await told(here, names.LEARNING, ModelPromoted, project)
    assert (promoted.version, promoted.epoch, promoted.detail) == (one.version, 1, "it is fine")
    found = await rows(here, 2, project=project)
    assert (found[-1]["action"], found[-1]["detail"]["version"]) == ("version.promote", one.version)


async def test_promoting_what_serves_changes_nothing(here: Here) -> None:
    project = await here.project()
    one = await version(here, project, 1)
    for _ in range(2):
        answer = await post(here, f"{project}/models/finder/versions/{one.version}/promote")
        assert answer.json()["epoch"] == 1


async def test_a_rollback_goes_to_what_served_before_or_to_what_is_named(here: Here) -> None:
    project = await here.project()
    one, two = await version(here, project, 1), await version(here, project, 2)
    for record in (one, two):
        await post(here, f"{project}/models/finder/versions/{record.version}/promote")
    back = await post(here, f"{project}/models/finder/rollback", {"reason": "recall"}, **{"If-Match": '"2"'})
    assert (back.json()["version"], back.json()["epoch"]) == (one.version, 3)
    again = await post(here, f"{project}/models/finder/rollback", {"reason": "recall"}, **{"If-Match": '"2"'})
    problem(again, "changed_meanwhile", 412)
    settings = await post(here, f"{project}/models/finder/rollback", {"version": "settings"})
    assert (settings.json()["version"], settings.json()["artifact"], settings.json()["epoch"]) == ("settings", "", 4)
    rolled = await told(here, names.LEARNING, ModelRolledBack, project)
    assert [(each.version, each.epoch, each.reason) for each in rolled] == [
        (one.version, 3, "recall"),
        ("settings", 4, ""),
    ]
    changes = (await here.get(f"{project}/models/finder/changes"))["changes"]
    assert [(change["version"], change["how"]) for change in changes] == [
        ("settings", "rolled_back"),
        (one.version, "rolled_back"),
        (two.version, "promoted"),
        (one.version, "promoted"),
    ]


async def test_what_cannot_be_loaded_is_not_promoted(here: Here) -> None:
    project = await here.project()
    gone = await version(here, project, 1, there=False)
    answer = await post(here, f"{project}/models/finder/versions/{gone.version}/promote")
    problem(answer, "artifact_gone", 409)
    assert (await here.get(f"{project}/models/finder/serving"))["epoch"] == 0


async def test_what_was_refused_is_tried_again_by_hand_and_only_the_new_try_counts(here: Here) -> None:
    project = await here.project()
    one = await version(here, project, 1)
    at = f"{project}/models/finder/versions/{one.version}"
    said = {"project": project, "model": "finder", "provider": "rules", "version": one.version}
    refused = {**said, "host": "h", "state": "refused"}
    assert (await post(here, f"{at}/promote")).json()["epoch"] == 1
    await tell(here.runtime, ModelLoaded.model_validate({**refused, "epoch": 1, "detail": "its process ended"}))
    seen = await here.until(at, lambda seen: seen["refused"] == "its process ended")
    assert (seen["state"], [one["epoch"] for one in seen["loads"]]) == ("refused", [1])
    for _ in range(2):  # sent again, before anybody has said what came of it, it is one try
        again = (await post(here, f"{at}/promote")).json()
        assert (again["version"], again["epoch"], again["previous_version"]) == (one.version, 2, "settings")
    seen = await here.get(at)
    assert (seen["state"], seen["refused"]) == ("serving", None)
    served = await told(here, names.MODELS, ModelServing, project)
    assert [(each.version, each.epoch) for each in served] == [(one.version, 1), (one.version, 2)]
    await tell(here.runtime, ModelLoaded.model_validate({**refused, "epoch": 2, "detail": "no memory"}))
    assert (await here.until(at, lambda seen: seen["refused"] == "no memory"))["state"] == "refused"


async def test_a_rollback_to_what_was_refused_asks_for_a_new_try(here: Here) -> None:
    project = await here.project()
    one, two = await version(here, project, 1), await version(here, project, 2)
    said = {"project": project, "model": "finder", "provider": "rules", "version": one.version, "epoch": 1}
    refused = ModelLoaded.model_validate({**said, "host": "h", "state": "refused", "detail": "its process ended"})
    await post(here, f"{project}/models/finder/versions/{one.version}/promote")
    await tell(here.runtime, refused)
    at = f"{project}/models/finder/versions/{one.version}"
    await here.until(at, lambda seen: seen["state"] == "refused")
    await post(here, f"{project}/models/finder/versions/{two.version}/promote")
    back = await post(here, f"{project}/models/finder/rollback")
    assert (back.status_code, back.json()["version"], back.json()["epoch"]) == (200, one.version, 3)
    assert (await here.get(at))["refused"] is None


async def test_what_could_not_be_loaded_for_a_while_says_so_at_any_length_and_can_be_promoted(here: Here) -> None:
    project = await here.project()
    one = await version(here, project, 1)
    said = {"project": project, "model": "finder", "provider": "rules", "version": one.version, "epoch": 1}
    why = f"the model store does not answer{'.' * 500}; version 0 goes on; {TRIED_AGAIN}"
    await tell(here.runtime, ModelLoaded.model_validate({**said, "host": "h", "state": "refused", "detail": why}))
    seen = await here.until(f"{project}/models/finder/versions/{one.version}", lambda seen: seen["refused"] is not None)
    assert seen["refused"].endswith(TRIED_AGAIN)
    assert len(seen["refused"]) < len(why)
    answer = await post(here, f"{project}/models/finder/versions/{one.version}/promote")
    assert answer.status_code == 200, answer.text


async def test_who_has_loaded_a_version_is_told_by_the_newest_word_of_each(here: Here) -> None:
    project = await here.project()
    one = await version(here, project, 1)
    assert (await here.get(f"{project}/models/finder/versions/{one.version}"))["loads"] == []
    said = {"project": project, "model": "finder", "provider": "rules", "version": one.version, "epoch": 1}
    for host, state in (("a", "refused"), ("b", "serving"), ("a", "serving")):
        await tell(here.runtime, ModelLoaded.model_validate({**said, "host": host, "state": state}))
        seen = await here.until(f"{project}/models/finder/versions/{one.version}", partial(_said_last, host, state))
    assert [(one["host"], one["state"]) for one in seen["loads"]] == [("a", "serving"), ("b", "serving")]


def _said_last(host: str, state: str, seen: Any) -> bool:
    return bool(seen["loads"]) and (seen["loads"][0]["host"], seen["loads"][0]["state"]) == (host, state)


@pytest.mark.parametrize(
    ("path", "body", "status", "kind"),
    [
        ("nobody/models/finder/rollback", None, 404, "unknown_project"),
        ("{project}/models/nobody/rollback", None, 404, "unknown_model"),
        ("{project}/models/finder/rollback", None, 409, "nothing_before"),
        ("{project}/models/finder/rollback", {"version": "9-abc"}, 404, "unknown_version"),
        ("{project}/models/finder/rollback", {"to": "9-abc"}, 422, "invalid"),
        ("{project}/models/finder/rollback", [], 422, "invalid"),
        ("{project}/models/finder/versions/9-abc/promote", None, 404, "unknown_version"),
        ("{project}/models/finder/versions/99999999999999-abc/promote", None, 404, "unknown_version"),
    ],
)
async def test_bad_changes_are_problems(here: Here, path: str, body: Any, status: int, kind: str) -> None:
    answer = await post(here, path.format(project=await here.project()), body)
    problem(answer, kind, status)


async def test_versions_are_listed_page_by_page_with_what_became_of_them(here: Here) -> None:
    project = await here.project()
    outcomes = ("refuse", "promote", "refuse")
    made = [await version(here, project, number, outcome=one) for number, one in enumerate(outcomes, start=1)]
    await post(here, f"{project}/models/finder/versions/{made[0].version}/promote")
    await post(here, f"{project}/models/finder/versions/{made[2].version}/promote")
    first = await here.get(f"{project}/models/finder/versions", limit=2)
    rest = await here.get(f"{project}/models/finder/versions", limit=2, cursor=first["next"])
    listed = [*first["versions"], *rest["versions"]]
    assert [(one["version"], one["state"]) for one in listed] == [
        (made[2].version, "serving"),
        (made[1].version, "kept"),
        (made[0].version, "served"),
    ]
    assert rest["next"] is None
    whole = await here.get(f"{project}/models/finder/versions/{made[1].version}")
    assert whole["report"]["overall"] == {"value": 0.5, "low": 0.4, "high": 0.6}
    assert (whole["verdict"]["reason"], whole["state"]) == ("worse", "kept")


async def test_the_curve_shows_examples_against_score_and_labels_by_version(here: Here) -> None:
    project = await here.project()
    one = await version(here, project, 1, score=0.5)
    two = await version(here, project, 2, score=0.7)
    await post(here, f"{project}/models/finder/versions/{two.version}/promote")
    curve = await here.get(f"{project}/models/finder/curve")
    assert (curve["metric"], curve["serving"]) == ("micro_f1", two.version)
    assert [(point["version"], point["examples"], point["score"], point["state"]) for point in curve["points"]] == [
        (one.version, 50, 0.5, "rejected"),
        (two.version, 100, 0.7, "serving"),
    ]
    (label,) = (await here.get(f"{project}/models/finder/labels"))["labels"]
    assert (label["label"], [point["f1"]["value"] for point in label["points"]]) == ("urgent", [0.5, 0.7])


async def test_acceptance_is_counted_by_version_and_provider_however_often_it_is_told(here: Here) -> None:
    project = await here.project()
    of: Mapping[str, Any] = {"project": project, "annotator": "ann", "model": "finder", "provider": "rules"}
    accepted = SuggestionAccepted.model_validate(
        {**of, "task": "t1", "request": "r1", "annotation": "a1", "version": "1"}
    )
    corrected = SuggestionCorrected.model_validate(
        {**of, "task": "t2", "request": "r2", "annotation": "a2", "version": "1"}
    )
    other = SuggestionAccepted.model_validate({**of, "task": "t3", "request": "r3", "annotation": "a3", "version": "2"})
    await tell(here.runtime, accepted, corrected, accepted, other, other)
    shown = await here.until(f"{project}/acceptance", lambda seen: sum(one["shown"] for one in seen["versions"]) == 3)
    assert [(one["version"], one["acceptance_rate"], one["edit_rate"]) for one in shown["versions"]] == [
        ("1", 0.5, 0.5),
        ("2", 1.0, 0.0),
    ]
    (provider,) = shown["providers"]
    assert (provider["provider"], provider["accepted"], provider["shown"]) == ("rules", 2, 3)


async def test_a_promotion_asks_the_open_tasks_again_once_it_is_loaded(here: Here) -> None:
    project = await here.project()
    task = (await post(here, f"{project}/tasks", {"data": {"text": "Ada, now"}})).json()["task"]
    await here.until(f"{project}/tasks/{task}", lambda seen: True)
    one = await version(here, project, 1)
    await post(here, f"{project}/models/finder/versions/{one.version}/promote")
    said = {"project": project, "model": "finder", "provider": "rules", "version": one.version, "epoch": 1}
    await tell(here.runtime, ModelLoaded.model_validate({**said, "host": "h", "state": "serving"}))
    seen = await here.until(f"{project}/models/finder/repredicting", lambda seen: seen["state"] == "done")
    assert (seen["epoch"], seen["asked"]) == (1, 1)

    async def requests() -> Any:
        return await here.records(names.requests("rules", "bulk"))

    await eventually(requests, lambda found: any(b'"finder/1"' in (record.value or b"") for record in found))
