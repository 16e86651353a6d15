"""The same node as KafkaServer, which lets in only those it knows, and lets them do only what they were given.

Three ways in: SASL over TLS (the server's `port`), TLS with a client certificate, and SASL without encryption, which is
also how the node talks to itself. Passwords are taken as PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512.
"""

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import ClassVar

from deploy.local.certificates import Authority, Certificate
from deploy.local.installation import Installation, Say
from deploy.local.java import run
from deploy.local.kafka.server import CLUSTER_ID, KafkaServer
from deploy.local.ports import LOOPBACK, free_port
from deploy.local.probes import kafka_answers
from deploy.local.server import say_nothing

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

    @classmethod
    def kept(cls, file: Path, names: Sequence[str]) -> "Users":
        """Those of a file; it is written, with new passwords, where there is none."""
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch(mode=0o600)
            file.write_text(json.dumps(cls.new(names).passwords))
        return cls(json.loads(file.read_text()))


def services_here() -> list[str]:
    """The users that our services are, with the providers that are installed."""
    from prelabel_contract.topics import Deployment, resolve
    from prelabel_runtime.topics.command import providers_here

    return [f"prelabel-{row.service}" for row in resolve(Deployment(providers_here()))]


class SecuredKafkaServer(KafkaServer):
    """See KafkaServer. `port` takes SASL over TLS; certificates lie in the folder."""

    kind: ClassVar[str] = "KRaft, secured"

    def __init__(
        self,
        folder: Path,
        port: int,
        *,
        users: Users,
        controller_port: int | None = None,
        mutual_port: int | None = None,
        clear_port: int | None = None,
        tied: bool = True,
        home: Path | None = None,
        say: Say = say_nothing,
    ) -> None:
        super().__init__(folder, port, controller_port=controller_port, tied=tied, home=home, say=say)
        self.users = users
        self.mutual_port, self.clear_port = mutual_port or free_port(), clear_port or free_port()
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

    def variables_of(self, user: str, mechanism: str = "SCRAM-SHA-512") -> Mapping[str, str]:
        """The settings with which a process of Prelabel comes in by this user's password, which is put in a file."""
        file = self.folder / "users" / f"{user}.password"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
        file.write_text(self.users.passwords[user] + "\n")
        return {
            "PRELABEL_BUS": f"kafka://{self.address}",
            "PRELABEL_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "PRELABEL_KAFKA_SASL_MECHANISM": mechanism,
            "PRELABEL_KAFKA_USERNAME": user,
            "PRELABEL_KAFKA_PASSWORD_FILE": str(file),
            "PRELABEL_KAFKA_CA_FILE": str(self.authority.cert),
        }

    def hints(self) -> list[str]:
        for user in self.users.passwords:
            lines = [f"{name}={value}" for name, value in self.variables_of(user).items()]
            (self.folder / "users" / f"{user}.env").write_text("\n".join(lines) + "\n")
        return [f"each user's settings are in {self.folder / 'users'}: set -a; . {self.folder / 'users'}/{ADMIN}.env"]

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
