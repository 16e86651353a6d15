"""The whole API, fuzzed from its own document: nothing is a defect of ours, and every error says what is wrong."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.rig.in_process import spec
from tests.rig.processes import Prelabel

SECONDS = os.environ.get("PRELABEL_FUZZ_SECONDS", "40")
"""The budget of a run; a nightly one may be given more."""
CHECKS = (
    *("not_a_server_error", "every_error_is_a_problem"),
    *("status_code_conformance", "content_type_conformance", "response_headers_conformance"),
    "response_schema_conformance",
)


@pytest.fixture(scope="module")
def prelabel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prelabel]:
    """All in one, with a project and a task."""
    with Prelabel.all_in_one(tmp_path_factory.mktemp("fuzzed"), providers=("rules", "echo")) as running:
        yield running


def test_no_request_that_the_document_allows_or_forbids_meets_a_defect(prelabel: Prelabel, tmp_path: Path) -> None:
    with httpx.Client(
        base_url=prelabel.address, headers={"Authorization": f"Bearer {prelabel.key}"}, timeout=60
    ) as client:
        assert client.put("/v1/projects/mails", json=spec()).status_code == 201
        task = {"id": "mail-1", "data": {"text": "urgent"}}
        assert client.post("/v1/projects/mails/predictions", json=task).status_code == 200
    known = {"project": ["mails"], "task": ["mail-1"]}
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{prelabel.address}/openapi.json"),
            *("--header", f"Authorization: Bearer {prelabel.key}"),
            *("--phases", "examples,coverage,fuzzing", "--max-time", SECONDS),
            *("--checks", ",".join(CHECKS)),
            *("--exclude-path-regex", "/events$", "--seed", "1", "--workers", "1", "--no-shrink"),
            *("--request-timeout", "75", "--suppress-health-check", "all", "--warnings", "off"),
        ],
        cwd=tmp_path,
        env={
            **os.environ,
            "SCHEMATHESIS_HOOKS": "tests.rig.fuzz",
            "PYTHONPATH": os.getcwd(),
            "PRELABEL_FUZZ_KNOWN": json.dumps(known),
            "NO_COLOR": "1",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:]
    print(done.stdout[-2500:])
    [cases] = re.findall(r"([\d,]+) generated", done.stdout)[:1] or ["0"]
    assert int(cases.replace(",", "")) > 100
