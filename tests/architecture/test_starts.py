"""What a process imports before it works: a start of what it never uses is paid by everybody who starts one."""

import json
import subprocess
import sys
from collections.abc import Iterable

import pytest

ANSWERING = {"fastapi", "jsonschema"}
"""What routes need."""
CALLING = {"httpx", "httpcore"}
SERVING = {"starlette", "uvicorn", "prometheus_client", "structlog", "fsspec"}
DRIVERS = {"faststream", "aiokafka", "pymongo", "motor"}
LEARNING = {"numpy", "scipy", "sklearn", "spacy", "onnxruntime", "torch", "transformers"}

_LOADED = """
import json, linecache, sys
for name in sys.argv[1:]:
    __import__(name)
print(json.dumps([sorted(sys.modules), [path for path in linecache.cache if "/src/prelabel_" in path]]))
"""


def after(modules: Iterable[str]) -> tuple[set[str], list[str]]:
    """The packages that are loaded once these modules are, and files of ours whose source was read for that."""
    command = [sys.executable, "-c", _LOADED, *modules]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    loaded, sources = json.loads(done.stdout)
    return {name.partition(".")[0] for name in loaded}, sources


@pytest.mark.parametrize(
    ("modules", "without"),
    [
        (["prelabel_provider.run"], ANSWERING | CALLING | DRIVERS | LEARNING),
        (["prelabel_gateway.service"], ANSWERING | DRIVERS | LEARNING),
        (["prelabel_ingestion.service", "prelabel_projection.service"], CALLING | DRIVERS | LEARNING),
        (["prelabel_training.service"], CALLING | DRIVERS | LEARNING),
        (["prelabel_webhooks.service"], DRIVERS | LEARNING),
        (["prelabel_provider.worker.main"], ANSWERING | CALLING | SERVING | DRIVERS | LEARNING),
        (["prelabel_client.command.main"], ANSWERING | CALLING | SERVING | DRIVERS | LEARNING | {"pydantic"}),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_process_starts_without_what_it_does_not_use(modules: list[str], without: set[str]) -> None:
    loaded, _ = after(modules)
    assert not loaded & without


def test_no_class_reads_its_own_source_as_it_is_made() -> None:
    everything = ["prelabel_all_in_one.service", "prelabel_provider.run", "prelabel_provider.worker.main"]
    _, sources = after(everything)
    assert not sources
