"""The webhooks service's settings."""

from pathlib import Path
from typing import Annotated

from prelabel_runtime.errors import Refused
from prelabel_runtime.settings import Frozen
from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

Seconds = Annotated[float, Field(gt=0)]


class WebhooksSettings(Frozen):
    """How events are delivered to endpoints, and how their secrets are kept."""

    model_config = SettingsConfigDict(env_prefix="PRELABEL_WEBHOOKS_")

    keys: tuple[SecretStr, ...] = ()
    """Keys that encrypt endpoints' secrets, as JSON: 32 random bytes each, in base64. The first one encrypts, all open.

    To change the key without a failed delivery: add the new one at the end, then move it to the front, then take the
    old one away; each time in all processes."""
    keys_file: Path | None = None
    """A file that holds the keys, one per line."""
    retry_seconds: tuple[Annotated[float, Field(ge=0)], ...] = (
        *(5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600),
        *(10 * 3600, 14 * 3600, 20 * 3600, 24 * 3600),
    )
    """Waits before the second attempt, the third, and so on, as JSON. Each is up to 20 % shorter or longer."""
    attempt_seconds: Annotated[float, Field(gt=0, le=60)] = 20.0
    """An attempt takes at most so long, to the last byte of the answer."""
    concurrency: Annotated[int, Field(ge=1, le=200)] = 10
    """Attempts under way to one endpoint."""
    disable_hours: Seconds = 120.0
    """An endpoint that does nothing but fail for so long is disabled."""
    hold_after: Annotated[int, Field(ge=1)] = 10
    """After so many failures in a row new events wait in the log, and one at a time tries whether it works again."""
    hold_seconds: Seconds = 60.0
    """The longest wait between two such tries."""
    overlap_hours: Annotated[float, Field(ge=0)] = 24.0
    """How long an endpoint's old secret signs beside the new one, unless the rotation says otherwise."""
    log_rows: Annotated[int, Field(ge=0, le=100_000)] = 1000
    """Deliveries that succeeded, kept per endpoint to look at."""
    exhausted_rows: Annotated[int, Field(ge=0, le=1_000_000)] = 10_000
    """Deliveries that were given up, kept per endpoint to be recovered."""
    log_days: Seconds = 30.0
    """How long both are kept at most."""
    window_bytes: Annotated[int, Field(ge=64 * 1024)] = 8 * 1024 * 1024
    """The newest events, kept in memory for all endpoints; who is further behind reads the log."""
    save_seconds: Seconds = 1.0
    """How often an endpoint's place in the log is written: what a killed process delivers again is about as much."""
    lease_seconds: Annotated[float, Field(ge=1)] = 15.0
    """After so long the endpoints of a process that is not heard of go to others. Their clocks must agree."""

    def secret_keys(self) -> tuple[str, ...]:
        """The keys, the newest first. Raises `Refused` where there is none."""
        if self.keys:
            return tuple(key.get_secret_value() for key in self.keys)
        if self.keys_file is None:
            raise Refused(
                "no key to encrypt endpoints' secrets with: set PRELABEL_WEBHOOKS_KEYS_FILE to a file with one per "
                "line (32 random bytes in base64, as from `openssl rand -base64 32`), or PRELABEL_WEBHOOKS_KEYS"
            )
        try:
            return tuple(line.strip() for line in self.keys_file.read_text().splitlines() if line.strip())
        except (OSError, UnicodeDecodeError) as error:
            said = error.strerror if isinstance(error, OSError) else "it is no text"
            raise Refused(f"PRELABEL_WEBHOOKS_KEYS_FILE cannot be read: {said}") from None
