"""A Kafka that lets in only those it knows, and Prelabel's services as users of it, each with its own."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from prelabel_contract.topics import Deployment
from prelabel_runtime.bus.kafka_admin import administering
from prelabel_runtime.bus.kafka_security import KafkaSecurity
from prelabel_runtime.credentials import KafkaCredentials
from prelabel_runtime.topics.plan import Plan, Right, Rule, plan

from deploy.local.kafka.secured import ADMIN, SecuredKafkaServer, Users
from deploy.local.ports import free_port

UPSTREAM = "upstream-crm"
PRINCIPAL = "User:prelabel-{service}"


def secured_kafka(folder: Path, users: Sequence[str]) -> SecuredKafkaServer:
    """Start one that knows these users; they have no rights yet. Dies with this process."""
    server = SecuredKafkaServer(folder, free_port(), users=Users.new(users))
    server.start()
    try:
        server.wait_ready(60)
    except BaseException:
        server.kill()
        raise
    return server


def by_password(server: SecuredKafkaServer, user: str, mechanism: str = "SCRAM-SHA-512") -> Mapping[str, str]:
    """Variables with which a process comes in by a password, which is in a file."""
    return server.variables_of(user, mechanism)


def by_certificate(server: SecuredKafkaServer, user: str) -> Mapping[str, str]:
    """Variables with which a process comes in by a certificate, whose key is locked; the address is another one."""
    certificate = server.certificate_of(user, password="opens it")
    return {
        "PRELABEL_BUS": f"kafka://{server.mutual_address}",
        "PRELABEL_KAFKA_SECURITY_PROTOCOL": "SSL",
        "PRELABEL_KAFKA_CERT_FILE": str(certificate.cert),
        "PRELABEL_KAFKA_KEY_FILE": str(certificate.key),
        "PRELABEL_KAFKA_KEY_PASSWORD": "opens it",
        "PRELABEL_KAFKA_CA_FILE": str(server.authority.cert),
    }


def security_of(server: SecuredKafkaServer, user: str) -> KafkaSecurity:
    """The same for a bus in this process."""
    return KafkaSecurity.of(
        KafkaCredentials(
            security_protocol="SASL_SSL",
            username=user,
            password=server.users.passwords[user],
            ca_file=server.authority.cert,
        )
    )


def planned(prefix: str, providers: Sequence[str], **options: object) -> Plan:
    """The plan of the deployments of tests."""
    deployment = Deployment(providers=tuple(providers), sources=("crm",))
    return plan(deployment, prefix=prefix, partitions=4, upstream="User:upstream-{source}", **options)  # type: ignore[arg-type]


async def allow(server: SecuredKafkaServer, rights: Sequence[Right]) -> None:
    """Give rights, as the administrator."""
    async with administering([server.address], security_of(server, ADMIN)) as admin:
        await admin.allow(rights)


async def deny(server: SecuredKafkaServer, right: Right) -> None:
    """Take a right away from somebody who has it."""
    async with administering([server.address], security_of(server, ADMIN)) as admin:
        await admin.add([Rule(right.principal, right.resource, "literal", right.name, right.operation, allows=False)])
