"""An existing Kafka: TLS, SASL, certificates, and an access control list that denies what it does not allow.

Every service is a user of its own and may do what `topics plan` names, and nothing else; nobody but the administrator
may create a topic.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from prelabel_contract import names
from prelabel_contract.topics import Deployment, resolve
from prelabel_runtime.bus.base import Message
from prelabel_runtime.bus.kafka import KafkaBus
from prelabel_runtime.topics.plan import Right

from deploy.local.kafka.secured import ADMIN, SecuredKafkaServer
from tests.e2e.test_learning_loop import LearningLoop
from tests.e2e.test_main_job import INBOUND, PROVIDERS, MainJob
from tests.rig.processes import Prelabel, PrelabelProcess
from tests.rig.secured import UPSTREAM, allow, by_certificate, by_password, deny, planned, secured_kafka, security_of
from tests.rig.servers import ServerHandle

pytestmark = [pytest.mark.kafka, pytest.mark.mongo]

LIMIT = 120.0
"""Seconds until a process has ended, or is ready: never waited for in a test that passes."""
USERS = (*(f"prelabel-{one.service}" for one in resolve(Deployment(PROVIDERS))), UPSTREAM, "nobody")
LACKING = [
    ("READ", "topic", names.ANNOTATIONS),
    ("READ", "topic", names.PROJECTS),
    ("WRITE", "topic", names.AUDIT),
    ("READ", "group", "training"),
]
"""Rights of training's: one it reads in its group, one it follows, one it writes, and the group."""


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredKafkaServer]:
    lacking = [f"l{number}-training" for number in range(9)]
    server = secured_kafka(tmp_path_factory.mktemp("secured-kafka"), [*USERS, *lacking])
    yield server
    server.remove()


def topics_command(server: SecuredKafkaServer, prefix: str, *arguments: str, user: str = ADMIN) -> tuple[int, str, str]:
    """Exit code, output and complaint of `python -m prelabel_runtime.topics`."""
    variables = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PRELABEL_")},
        **by_password(server, user),
        "PRELABEL_PREFIX": prefix,
        "PRELABEL_PARTITIONS": "4",
        **INBOUND,
    }
    command = [sys.executable, "-m", "prelabel_runtime.topics", *arguments]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False, timeout=180)
    return done.returncode, done.stdout, done.stderr


class TestMainJobWithTheRightsOfThePlan(MainJob):
    """Users of all kinds: SCRAM with either hash, PLAIN, and a certificate."""

    kafka: SecuredKafkaServer

    @pytest.fixture(scope="class", autouse=True)
    def server(self, request: pytest.FixtureRequest, kafka: SecuredKafkaServer) -> None:
        request.cls.kafka = kafka

    @pytest.fixture(scope="class")
    def prelabel(
        self, tmp_path_factory: pytest.TempPathFactory, kafka: SecuredKafkaServer, mongo_server: ServerHandle
    ) -> Iterator[Prelabel]:
        prelabel = Prelabel.separate(
            tmp_path_factory.mktemp("secured"),
            kafka=kafka.address,
            mongo=mongo_server.address,
            providers=PROVIDERS,
            environment={**INBOUND, "PRELABEL_CREATE_TOPICS": "false"},
        )
        options = ("--providers", ",".join(PROVIDERS), "--upstream", "User:upstream-{source}")
        with let_in(prelabel, kafka, *options):
            yield prelabel

    def test_all_stop_in_order_and_their_logs_hold_neither_texts_nor_keys(self, prelabel: Prelabel) -> None:
        """What a class defines anew runs after all that it inherits: before the end, what looks and mends."""
        self.look_and_mend(prelabel)
        super().test_all_stop_in_order_and_their_logs_hold_neither_texts_nor_keys(prelabel)

    def look_and_mend(self, prelabel: Prelabel) -> None:
        asyncio.run(publish_as_upstream(self.kafka, prelabel.prefix, {"nothing": "that anybody takes"}, "inbound-2"))
        letters = until(prelabel, "/v1/deadletters?group=inbound-crm", lambda found: len(found["deadletters"]) == 1)
        (letter,) = letters["deadletters"]
        assert asked(prelabel, "POST", f"/v1/deadletters/{letter['id']}/replay").status_code < 300
        again = "/v1/deadletters?group=inbound-crm&state=open"
        until(prelabel, again, lambda found: any(one["replay_of"] == letter["id"] for one in found["deadletters"]))
        trace = asked(prelabel, "GET", "/v1/projects/job/tasks/t9001/trace")
        assert trace.status_code == 200, trace.text
        assert asked(prelabel, "GET", "/v1/overview").status_code == 200
        until(prelabel, "/v1/audit", lambda found: any(one["action"] == "project.put" for one in found["audit"]))
        begun = asked(prelabel, "POST", "/v1/rebuilds")
        assert begun.status_code == 202, begun.text
        until(prelabel, begun.headers["Location"], lambda rebuild: rebuild["state"] == "completed")

    def test_no_log_holds_a_password(self, prelabel: Prelabel) -> None:
        for name in prelabel.names:
            text = prelabel.log(name).read_text()
            assert not [user for user, password in self.kafka.users.passwords.items() if password in text], name

    def inbound(self, prelabel: Prelabel, task: Mapping[str, Any]) -> None:
        asyncio.run(publish_as_upstream(self.kafka, prelabel.prefix, task))


class TestLearningLoopWithTheRightsOfThePlan(LearningLoop):
    """Trainers, the gate and re-prediction, with the rights of their rows."""

    @pytest.fixture(scope="class")
    def prelabel(
        self, tmp_path_factory: pytest.TempPathFactory, kafka: SecuredKafkaServer, mongo_server: ServerHandle
    ) -> Iterator[Prelabel]:
        with let_in(
            Prelabel.separate(
                tmp_path_factory.mktemp("loop-secured"),
                kafka=kafka.address,
                mongo=mongo_server.address,
                providers=("spacy",),
                trainers=("spacy",),
                environment={"PRELABEL_CREATE_TOPICS": "false"},
            ),
            kafka,
            "--providers",
            "spacy",
        ) as prelabel:
            yield prelabel


def let_in(prelabel: Prelabel, kafka: SecuredKafkaServer, *options: str) -> Prelabel:
    """The same, with its topics, and a user of its own for every process."""
    for name in prelabel.names:
        if name != "gateway":
            prelabel.process(name).tell(shown_by(name, kafka))
    code, said, complaint = topics_command(kafka, prelabel.prefix, "apply", "--acls", *options)
    assert code == 0, complaint
    assert "0 missing, 0 differs" in said
    return prelabel


def shown_by(name: str, kafka: SecuredKafkaServer) -> Mapping[str, str]:
    """How a service comes in."""
    match name:
        case "ingestion":
            return by_password(kafka, "prelabel-ingestion", "SCRAM-SHA-512")
        case "projection":
            return by_password(kafka, "prelabel-projection", "SCRAM-SHA-256")
        case "training" | "webhooks":
            return by_password(kafka, f"prelabel-{name}", "PLAIN")
    if name.startswith("trainer-"):
        return by_password(kafka, f"prelabel-{name}", "PLAIN")
    return by_certificate(kafka, f"prelabel-inference-{name}")


def asked(prelabel: Prelabel, method: str, path: str) -> httpx.Response:
    key = {"Authorization": f"Bearer {prelabel.key}"}
    body: dict[str, Any] | None = {} if method == "POST" else None
    return httpx.request(method, prelabel.address + path, headers=key, json=body, trust_env=False, timeout=60)


def until(prelabel: Prelabel, path: str, ready: Callable[[Any], bool]) -> Any:
    """An answer, once it is as wanted."""
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        answer = asked(prelabel, "GET", path)
        if answer.status_code == 200 and ready(answer.json()):
            return answer.json()
        time.sleep(0.2)
    raise AssertionError(f"{path} never came; the last was {answer.text}")


async def publish_as_upstream(
    kafka: SecuredKafkaServer, prefix: str, task: Mapping[str, Any], event: str = "inbound-1"
) -> None:
    attributes = {"specversion": "1.0", "type": "prelabel.task.submitted.v1", "source": "/crm", "id": event}
    headers = (
        *((f"ce_{name}", value.encode()) for name, value in attributes.items()),
        ("content-type", b"application/json"),
    )
    bus = KafkaBus(kafka.address, prefix=prefix, security=security_of(kafka, UPSTREAM))
    await bus.start()
    value = json.dumps({"project": "job", **task}).encode()
    await bus.publish([Message(names.inbound("crm"), event.encode(), value, headers)])
    await bus.stop()


# ------------------------------------------------------------------------------------------ one thing is missing

Start = Callable[..., PrelabelProcess]


@pytest.fixture
def start(tmp_path: Path, kafka: SecuredKafkaServer, mongo_server: ServerHandle) -> Iterator[Start]:
    """Start training with these variables; it is killed at the end."""
    started: list[PrelabelProcess] = []

    def start_one(**variables: str) -> PrelabelProcess:
        base = {
            "PRELABEL_BUS": f"kafka://{kafka.address}",
            "PRELABEL_STORE": f"{mongo_server.address}/secured",
            "PRELABEL_API_KEY": "pl_a-key-for-the-tests-of-security",
            "PRELABEL_START_SECONDS": "60",
            "PRELABEL_PREFIX": "one.",
        }
        process = PrelabelProcess(f"p{len(started)}", "prelabel_training", {**base, **variables}, tmp_path)
        started.append(process)
        process.start()
        return process

    yield start_one
    for process in started:
        process.signal(signal.SIGKILL)


@pytest.fixture(scope="module")
def topics(kafka: SecuredKafkaServer) -> None:
    """The topics are there; nobody but the administrator has a right to them."""
    code, _, complaint = topics_command(kafka, "one.", "apply", "--providers", "echo")
    assert code == 0, complaint


def needed(number: int) -> list[Right]:
    """What training needs, for a user who has nothing yet."""
    wanted = planned("one.", ["echo"], principal=f"User:l{number}-{{service}}").rights
    return [right for right in wanted if right.service == "training"]


@pytest.mark.usefixtures("topics")
@pytest.mark.parametrize("number", range(len(LACKING)), ids=lambda n: "-".join(LACKING[n]))
def test_a_service_that_lacks_one_right_ends_with_a_line_that_names_it(
    start: Start, kafka: SecuredKafkaServer, number: int
) -> None:
    operation, resource, name = LACKING[number]
    rights = needed(number)
    (lacking,) = (r for r in rights if (r.operation, r.resource, r.name) == (operation, resource, f"one.{name}"))
    asyncio.run(allow(kafka, [right for right in rights if right is not lacking]))
    process = start(**by_password(kafka, f"l{number}-training"))
    assert process.wait(LIMIT) == 2
    assert f"user l{number}-training has no right to {operation} {resource} one.{name}" in last_line(process)
    assert "Traceback" not in process.log.read_text()


@pytest.mark.usefixtures("topics")
def test_a_right_that_is_taken_away_ends_a_running_service_with_a_line_that_names_it(
    start: Start, kafka: SecuredKafkaServer
) -> None:
    rights = needed(8)
    asyncio.run(allow(kafka, rights))
    process = start(**by_password(kafka, "l8-training"))
    process.ready(LIMIT)
    (group,) = (right for right in rights if (right.resource, right.name) == ("group", "one.training"))
    asyncio.run(deny(kafka, group))
    assert process.wait(LIMIT) == 2
    assert "user l8-training has no right to READ group one.training" in last_line(process)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"PRELABEL_KAFKA_USERNAME": "nobody-here"}, "does not accept user nobody-here with this password"),
        ({"PRELABEL_KAFKA_SASL_MECHANISM": "PLAIN", "PRELABEL_KAFKA_USERNAME": "x"}, "does not accept user x"),
        ({"PRELABEL_KAFKA_CA_FILE": ""}, "shows a certificate that we do not trust"),
        ({"PRELABEL_KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT", "PRELABEL_KAFKA_CA_FILE": ""}, "uses TLS there"),
    ],
)
def test_who_is_not_let_in_ends_with_a_line_that_says_why_and_holds_no_password(
    start: Start, kafka: SecuredKafkaServer, changed: dict[str, str], said: str
) -> None:
    shown = {name: value for name, value in {**by_password(kafka, "nobody"), **changed}.items() if value}
    process = start(**shown)
    assert process.wait(LIMIT) == 2
    assert said in last_line(process)
    assert f"Kafka at {kafka.address}" in last_line(process)
    assert kafka.users.passwords["nobody"] not in process.log.read_text()
    assert "Traceback" not in process.log.read_text()


def test_who_shows_no_certificate_where_one_is_asked_for_is_told_so(start: Start, kafka: SecuredKafkaServer) -> None:
    process = start(
        PRELABEL_BUS=f"kafka://{kafka.mutual_address}",
        PRELABEL_KAFKA_SECURITY_PROTOCOL="SSL",
        PRELABEL_KAFKA_CA_FILE=str(kafka.authority.cert),
    )
    assert process.wait(LIMIT) == 2
    assert "asks for a certificate: set PRELABEL_KAFKA_CERT_FILE" in last_line(process)


def test_topics_that_are_not_there_are_named_when_the_wait_is_over(start: Start, kafka: SecuredKafkaServer) -> None:
    # Long enough to come in at a busy broker: where that takes longer, it is the broker that "does not answer".
    process = start(**by_password(kafka, ADMIN), PRELABEL_PREFIX="nowhere.", PRELABEL_START_SECONDS="10")
    assert process.wait(LIMIT) == 3
    assert "there is no topic nowhere.prelabel.access" in last_line(process)
    assert "prelabel topics apply" in last_line(process)


def test_a_password_that_has_changed_ends_a_service_when_the_broker_comes_back_and_the_next_start_reads_it(
    start: Start, kafka: SecuredKafkaServer, tmp_path: Path
) -> None:
    own = secured_kafka(tmp_path / "own", ["prelabel-training"])
    try:
        assert topics_command(own, "one.", "apply", "--acls", "--providers", "echo")[0] == 0
        process = start(**by_password(own, "prelabel-training", "PLAIN"))
        process.ready(LIMIT)
        own.users.passwords["prelabel-training"] = "another one"
        own.restart()
        assert process.wait(LIMIT) == 2
        assert "does not accept user prelabel-training" in last_line(process)
        (own.folder / "users" / "prelabel-training.password").write_text("another one")
        process.start()
        process.ready(LIMIT)
    finally:
        own.remove()


# ------------------------------------------------------------------------------------------------- plan and apply


def test_the_plan_tells_what_differs_and_what_is_not_ours_and_apply_leaves_both(kafka: SecuredKafkaServer) -> None:
    assert topics_command(kafka, "few.", "apply", "--providers", "echo", "--keep-days", "7")[0] == 0
    options = ("plan", "--providers", "rules", "--json")
    code, said, _ = topics_command(kafka, "few.", *options, "--check")
    found = json.loads(said)
    by_name = {one["topic"]["name"].removeprefix("few."): one for one in found["findings"]}
    assert code == 1
    assert by_name[names.TASKS]["state"] == "differs"
    assert by_name[names.TASKS]["differences"] == ["retention.ms is 604800000 instead of -1"]
    assert by_name[names.requests("rules", "bulk")]["state"] == "missing"
    assert f"few.{names.requests('echo', 'bulk')}" in found["extra"]
    assert topics_command(kafka, "few.", "apply", "--providers", "rules")[0] == 0
    again = json.loads(topics_command(kafka, "few.", *options)[1])
    assert {one["state"] for one in again["findings"]} == {"there", "differs"}
    assert again["extra"] == found["extra"]


def test_without_the_right_to_see_the_list_the_plan_shows_what_is_needed(kafka: SecuredKafkaServer) -> None:
    code, said, _ = topics_command(kafka, "one.", "plan", "--providers", "echo", user="nobody")
    assert code == 0
    assert "user nobody has no right to see the access control list" in said
    assert "READ     group  one.projection" in said or "one.projection" in said
    code, _, complaint = topics_command(kafka, "two.", "apply", "--providers", "echo", user="nobody")
    assert code == 2
    assert "user nobody has no right to CREATE" in complaint
    assert complaint.count("\n") == 1


def last_line(process: PrelabelProcess) -> str:
    return process.log.read_text().splitlines()[-1]
