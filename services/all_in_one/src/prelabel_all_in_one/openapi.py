"""`python -m prelabel_all_in_one.openapi [--check]`: the API of every service as committed documents.

Run it at the root of the repository: it writes docs/openapi/<service>.json and the gateway's copies, by which it finds
the service that answers, or says which of them differ.
"""

import argparse
import os
import random
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import orjson
import prelabel_ingestion.service
import prelabel_ingestion.settings
import prelabel_projection.service
import prelabel_projection.settings
import prelabel_training.service
import prelabel_training.settings
import prelabel_webhooks.service
import prelabel_webhooks.settings
from prelabel_provider.models.settings import ModelsSettings
from prelabel_runtime.clock import SystemClock
from prelabel_runtime.http.app import application
from prelabel_runtime.metrics import Metrics
from prelabel_runtime.run import Runtime, open_bus, open_store
from prelabel_runtime.service import Service
from prelabel_runtime.settings import RuntimeSettings
from pydantic import SecretStr

FOLDER = Path("docs/openapi")
CARRIED = Path("services/gateway/src/prelabel_gateway/openapi")
ALL = "all_in_one"
_NO_KEY = SecretStr("A" * 43 + "=")
"""Encrypts nothing: no service that is described here runs."""


def main() -> int:
    """Write or compare. Exit code 1 if a file differs."""
    parser = argparse.ArgumentParser(prog="python -m prelabel_all_in_one.openapi", description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    check = parser.parse_args().check
    differing = [path for path, text in documents() if not path.is_file() or path.read_bytes() != text]
    if not check:
        for path, text in documents():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text)
        return 0
    for path in differing:
        sys.stderr.write(f"{path} is not what the code says: run `make golden` and look at the difference\n")
    return 1 if differing else 0


def documents() -> Iterator[tuple[Path, bytes]]:
    """Each service's document, and that of all in one. Nothing is opened for it."""
    services = _services()
    for name, some in (*((service.name, [service]) for service in services), (ALL, services)):
        routers = [router for service in some for router in service.routers]
        document = application(routers, title=f"Prelabel {name.replace('_', ' ')}").openapi()
        text = orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS) + b"\n"
        for folder in (FOLDER,) if name == ALL else (FOLDER, CARRIED):
            yield folder / f"{name}.json", text


def _services() -> Sequence[Service]:
    settings = RuntimeSettings(bus="sqlite:///none/log.db", store="sqlite:///none/results.db")
    clock = SystemClock()
    runtime = Runtime(
        settings=settings,
        bus=open_bus(settings, clock),
        store=open_store(settings, clock),
        metrics=Metrics(),
        clock=clock,
        rng=random.Random(0),
        random_bytes=os.urandom,
    )
    return [
        prelabel_ingestion.service.build(runtime, prelabel_ingestion.settings.IngestionSettings()),
        prelabel_projection.service.build(runtime, prelabel_projection.settings.ProjectionSettings()),
        prelabel_training.service.build(runtime, prelabel_training.settings.TrainingSettings(), ModelsSettings()),
        prelabel_webhooks.service.build(runtime, prelabel_webhooks.settings.WebhooksSettings(keys=(_NO_KEY,))),
    ]


if __name__ == "__main__":
    sys.exit(main())
