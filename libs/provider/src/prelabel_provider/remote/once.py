"""`python -m prelabel_provider.remote.once NAME`: ask a remote provider about one task, once, to try it.

Standard input is a JSON object: `settings` of the model, `data` of the task, `field`. What comes of it is one line of
JSON: `version` with `regions`, or with `reason` and `detail` where there are none; `settings` says why those are
refused, `broken` what is wrong with the provider. Secrets and what may be called come from the environment, as in
production, but for services on this machine, which may be called.
"""

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any

from prelabel_contract.errors import field_errors
from prelabel_runtime.clock import SystemClock
from prelabel_runtime.egress import Egress
from prelabel_runtime.egress_policy import EgressPolicy, EgressSettings
from prelabel_runtime.metrics import Metrics
from pydantic import ValidationError

from ..base import REMOTE_ENTRY_POINTS, BadSettings, Failed, Input
from .base import RemoteProvider
from .failures import CallFailed
from .http import Link
from .matching import matched, written
from .secrets import Secrets
from .settings import RemoteSettings

_TASK = "task"


def main() -> None:
    """Ask, and print what was said."""
    asked = json.load(sys.stdin)
    try:
        (point,) = entry_points(group=REMOTE_ENTRY_POINTS, name=sys.argv[1])
        said = asyncio.run(_said(point.load(), asked["settings"], Input(_TASK, asked["data"], asked["field"])))
    except ValidationError as error:
        said = {"settings": "; ".join(f"{e.pointer or '(settings)'}: {e.detail}" for e in field_errors(error))}
    except BadSettings as error:
        said = {"settings": str(error)}
    except Exception as error:  # an import can raise anything, and so can what somebody is just writing
        said = {"broken": f"{type(error).__name__}: {error}"}
    sys.stdout.write(f"{json.dumps(said)}\n")


async def _said(provider: type[RemoteProvider[Any]], settings: Mapping[str, Any], one: Input) -> dict[str, Any]:
    model = provider.load(provider.Settings.model_validate(settings))
    clock, outbound = SystemClock(), EgressSettings()
    policy = EgressPolicy.of(outbound, loopback=True)
    egress = Egress(policy, outbound, purpose=provider.name, metrics=Metrics(), clock=clock)
    link = Link(egress, Secrets(os.environ), clock, RemoteSettings().answer_bytes)
    version = model.describe().version
    try:
        answers = await model.ask([one], link.attempt(model.calling().attempt_seconds))
    except CallFailed as error:
        return {"version": version, "reason": error.reason, "detail": error.detail}
    found = matched([_TASK], answers.said)
    version = answers.version or version
    if (prediction := found.said.get(_TASK)) is None:
        return {"version": version, "reason": "answer", "detail": f"no answer about the task: {dict(found.odd)}"}
    regions = written(prediction)
    if isinstance(regions, Failed):
        return {"version": version, "reason": regions.reason, "detail": regions.detail}
    return {"version": version, "regions": json.loads(regions)}


if __name__ == "__main__":
    main()
