"""The table of who reads and writes what: complete, and with names that belong to one deployment."""

from prelabel_contract import names, topics
from prelabel_contract.topics import Deployment, resolve

SMALL = Deployment(providers=("echo", "rules"), sources=("crm",))


def by_service(deployment: Deployment = SMALL) -> dict[str, topics.ServiceTopics]:
    return {one.service: one for one in resolve(deployment)}


def test_every_topic_that_is_read_is_written_by_somebody() -> None:
    rows = resolve(SMALL)
    written = {topic for row in rows for topic in row.writes}
    assert {topic for row in rows for topic in row.reads} <= written


def test_no_name_is_left_with_a_hole() -> None:
    for row in resolve(SMALL):
        for name in (row.service, *row.groups, *row.reads, *row.writes):
            assert "{" not in name


def test_a_provider_has_rights_to_its_own_requests_only() -> None:
    echo = by_service()["inference-echo"]
    assert set(echo.groups) == {"inference-echo-interactive", "inference-echo-bulk", "inference-echo-backfill"}
    assert echo.groups["inference-echo-bulk"] == (
        names.requests("echo", "bulk"),
        names.retry("inference-echo-bulk"),
    )
    assert not [topic for topic in (*echo.reads, *echo.writes) if ".rules" in topic or "-rules" in topic]


def test_ingestion_writes_every_provider_s_requests_and_reads_every_source() -> None:
    ingestion = by_service()["ingestion"]
    assert {names.requests(p, lane) for p in SMALL.providers for lane in names.Lane} <= set(ingestion.writes)
    assert ingestion.groups["inbound-crm"] == (names.inbound("crm"), names.retry("inbound-crm"))
    assert names.inbound("crm") not in ingestion.writes
    assert by_service()["upstream-crm"].writes == (names.inbound("crm"),)


def test_a_group_writes_what_it_sets_aside() -> None:
    for row in resolve(SMALL):
        for group in row.groups:
            assert {names.retry(group), names.dead_letters(group)} <= set(row.writes)


def test_who_writes_and_reads_is_told_by_kind() -> None:
    assert topics.writers("predictions") == ("projection", "inference-{provider}")
    assert "ingestion" in topics.readers("submitted")
    assert "projection" in topics.readers("predictions")
    assert topics.writers("inbound") == (topics.UPSTREAM,)
    assert topics.UPSTREAM not in topics.writers("retry")
