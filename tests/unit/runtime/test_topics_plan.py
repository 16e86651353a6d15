"""The plan: complete, with names of one deployment, and told apart from what a Kafka has."""

import re
from dataclasses import replace

import pytest
from prelabel_contract import names
from prelabel_contract.topics import Deployment
from prelabel_runtime.topics.command import main
from prelabel_runtime.topics.plan import (
    MAX_MESSAGE_BYTES,
    Plan,
    Right,
    Rule,
    State,
    TopicRow,
    TopicState,
    compare,
    plan,
)

DEPLOYMENT = Deployment(providers=("echo",), sources=("crm",))


def as_planned(wanted: Plan) -> dict[str, TopicState]:
    return {row.name: TopicState(row.partitions, 1, row.configs) for row in wanted.topics}


def as_allowed(wanted: Plan) -> list[Rule]:
    return [Rule(r.principal, r.resource, "literal", r.name, r.operation) for r in wanted.rights]


def row(wanted: Plan, name: str) -> TopicRow:
    return next(one for one in wanted.topics if one.name.endswith(name))


def test_every_name_carries_the_prefix_and_every_topic_has_a_writer() -> None:
    wanted = plan(DEPLOYMENT, prefix="acme.")
    named = [*(topic.name for topic in wanted.topics), *(right.name for right in wanted.rights)]
    assert all(name.startswith("acme.") for name in named)
    assert all(one.written_by for one in wanted.topics)


def test_what_is_kept_and_how_many_partitions_follow_from_the_kind() -> None:
    wanted = plan(DEPLOYMENT, partitions=7, keep_days=30)
    assert (row(wanted, names.TASKS).partitions, row(wanted, names.TASKS).retention_ms) == (7, 30 * 86_400_000)
    assert (row(wanted, names.PROJECTS).partitions, row(wanted, names.PROJECTS).compacted) == (1, True)
    assert row(plan(DEPLOYMENT), names.TASKS).configs["retention.ms"] == "-1"
    assert row(wanted, names.TASKS).configs["max.message.bytes"] == str(MAX_MESSAGE_BYTES)


def test_a_service_may_do_what_its_row_says_and_nothing_else() -> None:
    rights = [right for right in plan(DEPLOYMENT).rights if right.service == "inference-echo"]
    assert {right.principal for right in rights} == {"User:prelabel-inference-echo"}
    written = {right.name for right in rights if right.operation == "WRITE"}
    assert {names.PREDICTIONS, names.REPLIES, names.PROVIDERS} < written
    assert names.TASKS not in {right.name for right in rights}
    assert {right.name for right in rights if right.resource == "group"} == {
        "inference-echo-interactive",
        "inference-echo-bulk",
        "inference-echo-backfill",
    }
    assert not [right for right in plan(DEPLOYMENT).rights if right.resource == "cluster"]


def test_upstreams_have_rights_only_when_they_are_named() -> None:
    assert not [right for right in plan(DEPLOYMENT).rights if right.service == "upstream-crm"]
    named = plan(DEPLOYMENT, upstream="User:{source}-export").rights
    assert [right for right in named if right.service == "upstream-crm"] == [
        Right("User:crm-export", "WRITE", "topic", names.inbound("crm"), "upstream-crm")
    ]


def test_what_is_as_planned_fits() -> None:
    wanted = plan(DEPLOYMENT)
    found = compare(wanted, as_planned(wanted), as_allowed(wanted))
    assert found.fits
    assert (found.missing, found.extra, found.missing_rights) == ((), (), ())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"partitions": 3}, "3 partitions instead of 12: left so"),
        ({"configs": {"cleanup.policy": "compact"}}, "cleanup.policy is compact instead of delete"),
        ({"configs": {"retention.ms": "60000"}}, "retention.ms is 60000 instead of -1"),
        ({"configs": {"max.message.bytes": "1000"}}, f"max.message.bytes is 1000 instead of {MAX_MESSAGE_BYTES}"),
    ],
)
def test_what_differs_is_told(change: dict[str, object], said: str) -> None:
    wanted = plan(DEPLOYMENT)
    there = as_planned(wanted)
    there[names.TASKS] = replace(there[names.TASKS], **change)  # type: ignore[arg-type]
    found = compare(wanted, there, as_allowed(wanted))
    (differs,) = (one for one in found.findings if one.state is State.DIFFERS)
    assert differs.topic.name == names.TASKS
    assert re.search(said, differs.differences[0])
    assert not found.fits


def test_more_than_planned_is_no_difference_and_what_may_not_be_seen_is_none() -> None:
    wanted = plan(DEPLOYMENT, replication=2)
    there = {name: replace(one, replication=3) for name, one in as_planned(wanted).items()}
    there[names.requests("echo", "bulk")] = TopicState(12, 3, {"retention.ms": "-1", "max.message.bytes": "9999999"})
    assert compare(wanted, there, as_allowed(wanted)).fits


def test_missing_and_foreign_topics_are_told_apart() -> None:
    wanted = plan(DEPLOYMENT, prefix="acme.")
    there = as_planned(wanted)
    del there[f"acme.{names.TASKS}"]
    there |= {name: TopicState(1, 1, {}) for name in (f"acme.{names.retry('old')}", "acme.other", names.TASKS)}
    found = compare(wanted, there, None, rights_unknown="nobody may look")
    assert [one.name for one in found.missing] == [f"acme.{names.TASKS}"]
    assert found.extra == (f"acme.{names.retry('old')}",)
    assert (found.missing_rights, found.rights_unknown) == (None, "nobody may look")


READ = Right("User:a", "READ", "topic", "acme.x", "a")


@pytest.mark.parametrize(
    ("rules", "granted"),
    [
        ([Rule("User:a", "topic", "literal", "acme.x", "READ")], True),
        ([Rule("User:a", "topic", "literal", "acme.x", "ALL")], True),
        ([Rule("User:a", "topic", "prefixed", "acme.", "READ")], True),
        ([Rule("User:*", "topic", "literal", "*", "READ")], True),
        ([Rule("User:a", "topic", "literal", "acme.x", "DESCRIBE")], False),
        ([Rule("User:a", "group", "literal", "acme.x", "READ")], False),
        ([Rule("User:b", "topic", "literal", "acme.x", "READ")], False),
        ([Rule("User:a", "topic", "literal", "acme.", "READ")], False),
        ([Rule("User:a", "topic", "literal", "acme.x", "READ", host="10.0.0.1")], False),
        (
            [
                Rule("User:a", "topic", "prefixed", "acme.", "ALL"),
                Rule("User:a", "topic", "literal", "acme.x", "READ", allows=False),
            ],
            False,
        ),
    ],
)
def test_a_right_is_there_when_the_list_gives_it(rules: list[Rule], granted: bool) -> None:
    found = compare(Plan("", (), (READ,)), {}, rules)
    assert found.missing_rights == (() if granted else (READ,))


def test_the_command_shows_the_plan_without_a_kafka_and_refuses_what_makes_no_sense(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRELABEL_INGESTION_INBOUND", '{"crm": {"projects": ["mails"]}}')
    assert main(["plan", "--providers", "echo"]) == 0
    shown = capsys.readouterr().out
    assert "PRELABEL_BUS names no Kafka" in shown
    assert names.inbound("crm") in shown
    for wrong, said in (
        (["plan", "--principal", "me"], "--principal 'me': write it as Kafka does"),
        (["plan", "--providers", "No Such"], "--providers, --sources: "),
        (["apply"], "PRELABEL_BUS names no Kafka: set it to kafka://"),
    ):
        assert main(wrong) == 2
        complaint = capsys.readouterr().err
        assert said in complaint
        assert complaint.count("\n") == 1
