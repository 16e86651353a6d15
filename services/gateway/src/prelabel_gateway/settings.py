"""The gateway's settings."""

from pathlib import Path
from typing import Annotated, Any

from prelabel_runtime.settings import Frozen
from pydantic import BeforeValidator, Field, IPvAnyNetwork
from pydantic_settings import SettingsConfigDict


def _as_many(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


Origins = Annotated[tuple[str, ...], BeforeValidator(_as_many), Field(min_length=1)]
"""Where a service is: one address, or several that are taken in turn."""


class GatewaySettings(Frozen):
    """Where the services are."""

    model_config = SettingsConfigDict(env_prefix="PRELABEL_GATEWAY_")

    services: Annotated[dict[str, Origins], Field(min_length=1)]
    """Where each service is, as JSON: {"ingestion": "http://ingestion:8080", "projection": "http://projection:8080"}.

    A list of addresses is taken in turn, the next one where one does not answer. A service that is not named here is
    not offered."""
    documents: Path | None = None
    """A folder with each service's OpenAPI document, as <service>.json; empty: those that came with the gateway."""
    trusted: tuple[IPvAnyNetwork, ...] = ()
    """Proxies in front of the gateway, as JSON: ["10.0.0.0/8"]. What they say about the caller is passed on."""
    connect_seconds: Annotated[float, Field(gt=0, le=60)] = 2.0
    """How long a service may take to accept a connection."""
    idle_seconds: Annotated[float, Field(gt=0)] = 120.0
    """How long a service may say nothing, or take nothing, before it is given up. Longer than any wait of its own.

    A caller in the middle of a body may say nothing for as long."""
    connections: Annotated[int, Field(ge=1)] = 1000
    """Connections to services at once; every follower of a run holds one."""
    patience_seconds: Annotated[float, Field(ge=0)] = 60.0
    """Ready once every service has answered; after this time, once one has."""
