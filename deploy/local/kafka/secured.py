"""The same node as KafkaServer, which lets in only those it knows, and lets them do only what they were given.

Three ways in: SASL over TLS (the server's `port`), TLS with a client certificate, and SASL without encryption, which is
also how the node talks to itself. Passwords are taken as PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import Template

from deploy.local.certificates import Authority, Certificate
from deploy.local.installation import Installation
from deploy.local.java import run
from deploy.local.kafka.server import CLUSTER_ID, KafkaServer
from deploy.local.ports import LOOPBACK, free_port
from deploy.local.probes import kafka_answers

ADMIN = "admin"
_BROKER = "broker"
_PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule"
_SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule"


@dataclass(frozen=True, slots=True)
class Users:
    """Names and passwords: the administrator, who may do everything, and others, who may do nothing until allowed."""

    passwords: dict[str, str] = field(repr=False)

    @classmethod
    def new(cls, names: Sequence[str]) -> "Users":
        """With passwords that nobody knows yet."""
        return cls({name: secrets.token_urlsafe(18) for name in (ADMIN, _BROKER, *names)})


class SecuredKafkaServer(KafkaServer):
    """See KafkaServer. `port` takes SASL over TLS; certificates lie in the folder."""

    def __init__(self, folder: Path, port: int, *, users: Users, tied: bool = True) -> None:
        super().__init__(folder, port, tied=tied)
        self.users = users
        self.mutual_port, self.clear_port = free_port(), free_port()
        self.authority = Authority(self.folder / "certificates")
        self._certificate = self.authority.issue("kafka", LOOPBACK, "localhost")

    @property
    def ports(self) -> list[int]:
        return [*super().ports, self.mutual_port, self.clear_port]

    @property
    def mutual_address(self) -> str:
        """Where a client certificate is asked for."""
        return f"{self.host}:{self.mutual_port}"

    @property
    def clear_address(self) -> str:
        """Where passwords are taken without encryption."""
        return f"{self.host}:{self.clear_port}"

    def certificate_of(self, user: str, password: str = "") -> Certificate:
        """A client certificate by which the user comes in at `mutual_address`."""
        return self.authority.issue(user, password=password)

    def answers(self) -> bool:
        return kafka_answers(self.host, self.clear_port)

    def prepare(self, installation: Installation) -> list[str]:
        settings = self._write_settings(self.data)
        if not self.data.exists():
            self._format_with_users(installation, settings)
        return [str(settings)]

    def _format_with_users(self, installation: Installation, settings: Path) -> None:
        scram = [
            f"SCRAM-SHA-{bits}=[name={name},password={password}]"
            for name, password in self.users.passwords.items()
            for bits in (256, 512)
        ]
        command = ["format", "--ignore-formatted", "--cluster-id", CLUSTER_ID, "--config", str(settings)]
        for one in scram:
            command += ["--add-scram", one]
        run(
            installation.command("kafka.tools.StorageTool", *command, heap_mib=self.heap_mib),
            "formatting Kafka's storage",
        )

    def _write_settings(self, data: Path) -> Path:
        settings = super()._write_settings(data)
        template = Template((Path(__file__).parent / "secured.template").read_text())
        mine = self.users.passwords[_BROKER]
        known = " ".join(f'user_{name}="{password}"' for name, password in self.users.passwords.items())
        text = template.substitute(
            port=self.port,
            mutual_port=self.mutual_port,
            clear_port=self.clear_port,
            controller_port=self.controller_port,
            plain=f'{_PLAIN} required username="{_BROKER}" password="{mine}" {known};',
            scram=f"{_SCRAM} required;",
            certificate=self._certificate.both,
            authority=self.authority.cert,
            admin=ADMIN,
        )
        settings.touch(mode=0o600)
        settings.write_text(settings.read_text() + text)
        return settings
