"""Apache Kafka, one node, on loopback."""

import shutil
from pathlib import Path
from string import Template
from typing import ClassVar

from deploy.local.installation import Installation, Say
from deploy.local.java import run
from deploy.local.ports import free_port
from deploy.local.probes import kafka_answers
from deploy.local.server import Server, say_nothing

# The node's identity inside its data; no two nodes here ever meet, so one fixed id serves all.
CLUSTER_ID = "MkU3OEVBNTcwNTJENDM2Qg"
_FORMATTED = "formatted"


class KafkaServer(Server):
    """See Server. `controller_port`: the node's talk with itself; a free one when not given."""

    name: ClassVar[str] = "kafka"
    main: ClassVar[str] = "kafka.Kafka"
    heap_mib: ClassVar[int] = 512
    kind: ClassVar[str] = "KRaft"

    def __init__(
        self,
        folder: Path,
        port: int,
        *,
        controller_port: int | None = None,
        tied: bool = True,
        home: Path | None = None,
        say: Say = say_nothing,
    ) -> None:
        super().__init__(folder, port, tied=tied, home=home, say=say)
        self.controller_port = controller_port or free_port()

    @property
    def ports(self) -> list[int]:
        return [self.port, self.controller_port]

    def answers(self) -> bool:
        return kafka_answers(self.host, self.port)

    def prepare(self, installation: Installation) -> list[str]:
        if not self.data.exists():
            # Formatting takes a JVM of its own, a second; copying what it made takes none.
            shutil.copytree(installation.folder / _FORMATTED, self.data)
        return [str(self._write_settings(self.data))]

    def format(self, installation: Installation) -> None:
        settings = self._write_settings(installation.folder / _FORMATTED)
        format_data = ["format", "--ignore-formatted", "--cluster-id", CLUSTER_ID, "--config", str(settings)]
        run(
            installation.command("kafka.tools.StorageTool", *format_data, heap_mib=self.heap_mib),
            "formatting Kafka's storage",
        )

    def throw_away(self, folder: Path) -> Server:
        return KafkaServer(folder, free_port(), home=self._home)

    def _write_settings(self, data: Path) -> Path:
        template = Template((Path(__file__).parent / "server.properties").read_text())
        settings = self.folder / "server.properties"
        settings.parent.mkdir(parents=True, exist_ok=True)
        settings.write_text(template.substitute(port=self.port, controller_port=self.controller_port, data=data))
        return settings
