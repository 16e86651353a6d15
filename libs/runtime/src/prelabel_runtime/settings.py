"""Settings that every service shares. One frozen class, one prefix (PRELABEL_), a sentence under each."""

from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from prelabel_contract.errors import pointer
from pydantic import Field, IPvAnyNetwork, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from .errors import Refused


class Frozen(BaseSettings):
    """Base of all settings: read once from the environment, then fixed. Raises `Refused` for what makes no sense."""

    model_config = SettingsConfigDict(env_prefix="PRELABEL_", frozen=True, extra="ignore")

    def __init__(self, **values: Any) -> None:
        prefix = str(self.model_config.get("env_prefix", ""))
        try:
            super().__init__(**values)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            setting, *steps = first["loc"] or ("",)
            where = f" at {pointer(steps)}" if steps else ""
            said = first["msg"].removeprefix("Value error, ")
            raise Refused(f"{prefix}{str(setting).upper()}{where}: {said}") from None
        except SettingsError as error:  # a field that is written as JSON, and is none
            named = next((name for name in type(self).model_fields if f'"{name}"' in str(error)), "")
            raise Refused(f"{prefix}{named.upper()}: write it as JSON, see docs/settings.md") from None


class ProcessSettings(Frozen):
    """What a process listens on, how it stops, what it logs: all that one without a bus and a store needs."""

    host: str = "127.0.0.1"
    """The address to listen on; nothing beyond loopback unless told."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    """The port of the API."""
    health_port: Annotated[int, Field(ge=0, le=65535)] = 8081
    """The port of /livez, /readyz and /metrics."""
    grace_seconds: Annotated[float, Field(ge=0)] = 25.0
    """How long a stop may take to finish what is in flight."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """What is logged."""


class RuntimeSettings(ProcessSettings):
    """Where the bus and the store are, who may call."""

    one_process: ClassVar[bool] = False
    """Everything runs in this one process on somebody's own machine, whose loopback may then be called."""
    bus: str = "sqlite:///data/log.db"
    """The bus: sqlite:///FILE (embedded) or kafka://HOST:PORT[,HOST:PORT…]."""
    store: str = "sqlite:///data/results.db"
    """The store: sqlite:///FILE (embedded) or mongodb://HOST:PORT/DATABASE."""
    mongo_driver: Literal["motor", "pymongo"] = "motor"
    """The MongoDB driver: motor, or PyMongo's own asynchronous client."""
    blobs: str = ""
    """Where what is too large for an event is kept, the same for all services: a folder, or s3://, gs://, abfs://.

    Each of the three needs a driver package and finds its credentials itself. Empty: nowhere, and tasks whose data is
    over 192 KiB are refused."""
    prefix: Annotated[str, Field(pattern=r"^[a-zA-Z0-9._-]{0,60}$")] = ""
    """Put before the name of every topic and consumer group."""
    partitions: Annotated[int, Field(ge=1, le=1000)] = 12
    """Partitions of topics that are created. Counts of existing topics never change."""
    instance: Annotated[str, Field(pattern=r"^[a-zA-Z0-9._-]{0,100}$")] = ""
    """On Kafka: this process's name among the members of its groups, the same after a restart and no other's.

    A process with one takes up its partitions at once when it is started again; empty: after `session_seconds`."""
    session_seconds: Annotated[float, Field(ge=6, le=300)] = 45.0
    """On Kafka: a process that is not heard of for so long is dead, and its partitions go to others."""
    create_topics: bool = False
    """Create missing topics at start. The embedded bus always does."""
    api_key: SecretStr | None = None
    """The key that callers send as "Authorization: Bearer KEY"."""
    api_key_file: Path | None = None
    """A file that holds the key."""
    hosts: tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9.-]{1,253}$")], ...] = ()
    """Names under which browsers reach this, as JSON: ["labels.example.org"]. Loopback and PRELABEL_HOST always are."""
    proxies: tuple[IPvAnyNetwork, ...] = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
    """Gateways and proxies in front, as JSON: ["10.0.0.0/8"]. They are believed about who calls (X-Forwarded-For).

    Callers without a key are limited by that address. Behind a gateway that is not named here all share one."""
    delivery_seconds: Annotated[float, Field(gt=0)] = 10.0
    """A record that is not acknowledged by the bus within this time counts as unknown: 503, or repeated."""
    start_seconds: Annotated[float, Field(ge=0)] = 300.0
    """How long to wait at start for a bus or a store that does not answer."""

    def key(self) -> str:
        """The API key. Raises `Refused` if none is set or it is too short to be one."""
        if self.api_key is not None:
            key = self.api_key.get_secret_value()
        elif self.api_key_file is not None:
            try:
                key = self.api_key_file.read_text().strip()
            except OSError as error:
                raise Refused(f"PRELABEL_API_KEY_FILE cannot be read: {error.strerror}") from None
        else:
            raise Refused("no API key: set PRELABEL_API_KEY or PRELABEL_API_KEY_FILE (at least 16 characters)")
        if len(key) < 16:
            raise Refused("the API key is too short: at least 16 characters")
        return key
