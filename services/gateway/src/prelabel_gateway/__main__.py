"""`python -m prelabel_gateway`: one address in front of the services."""

import os
import sys

from prelabel_runtime import log
from prelabel_runtime.clock import SystemClock
from prelabel_runtime.process import run
from prelabel_runtime.redaction import secrets_given
from prelabel_runtime.settings import ProcessSettings

from .service import serve
from .settings import GatewaySettings


async def _work() -> None:
    process = ProcessSettings()
    log.configure(process.log_level, pretty=sys.stderr.isatty(), hidden=secrets_given(os.environ))
    await serve(process, GatewaySettings(), SystemClock())


if __name__ == "__main__":
    sys.exit(run("gateway", _work))
