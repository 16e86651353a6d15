"""A MongoDB-wire server (mongo-java-server) on loopback, in memory or on disk (H2)."""

from pathlib import Path
from typing import ClassVar, Literal

from deploy.local.installation import Installation, Say
from deploy.local.ports import free_port
from deploy.local.probes import mongo_answers
from deploy.local.server import Server, say_nothing

Backend = Literal["memory", "h2"]


class MongoServer(Server):
    """See Server.

    backend: "memory" forgets everything when it ends; "h2" keeps what it has answered, killed or not.
    """

    name: ClassVar[str] = "mongo"
    main: ClassVar[str] = "Main"
    heap_mib: ClassVar[int] = 1024

    def __init__(
        self,
        folder: Path,
        port: int,
        *,
        backend: Backend = "memory",
        tied: bool = True,
        home: Path | None = None,
        say: Say = say_nothing,
    ) -> None:
        super().__init__(folder, port, tied=tied, home=home, say=say)
        self.backend = backend

    @property
    def address(self) -> str:
        return f"mongodb://{self.host}:{self.port}"

    def answers(self) -> bool:
        return mongo_answers(self.host, self.port)

    def prepare(self, installation: Installation) -> list[str]:
        place = [self.host, str(self.port)]
        if self.backend == "memory":
            return place
        self.data.mkdir(parents=True, exist_ok=True)
        return [*place, str(self.data / "mongo.mv")]

    def throw_away(self, folder: Path) -> Server:
        return MongoServer(folder, free_port(), backend="h2", home=self._home)
