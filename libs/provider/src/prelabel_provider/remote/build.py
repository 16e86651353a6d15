"""A remote provider's predictor, from what a service is built from."""

import os
from typing import Any

from prelabel_runtime.egress import Egress
from prelabel_runtime.run import Runtime

from .base import RemoteProvider
from .calls import RemoteCaller
from .http import Link
from .secrets import Secrets
from .settings import RemoteSettings


def caller(runtime: Runtime, provider: type[RemoteProvider[Any]], settings: RemoteSettings) -> RemoteCaller:
    """Everything from this process: its egress policy, its secrets, its store. Raises `Refused`."""
    egress = Egress.of(runtime.settings, purpose=provider.name, metrics=runtime.metrics, clock=runtime.clock)
    link = Link(egress, Secrets(os.environ), runtime.clock, settings.answer_bytes)
    return RemoteCaller(
        provider,
        link,
        runtime.store.quotas,
        member=runtime.new_id(),
        patience=settings.patience_seconds,
        clock=runtime.clock,
        rng=runtime.rng,
        metrics=runtime.metrics,
    )
