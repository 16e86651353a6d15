"""A long upload, one line of it bad: taken in bounded memory, and the bad line found. `make bench` takes a million."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx

from tests.rig.processes import ALL_IN_ONE, Prelabel

LINES = 150_000
BAD = 112_345
GROWTH_MIB = 64
"""What the whole process, all services in it, may grow by after the first 50,000 lines."""


def test_one_bad_line_of_a_long_upload_is_told_and_memory_stays_bounded(tmp_path: Path) -> None:
    label_set = {"questions": [{"name": "topic", "kind": "choice", "field": "text", "labels": ["a"]}]}
    with Prelabel.all_in_one(tmp_path, providers=["echo"]) as prelabel:
        headers = {"Authorization": f"Bearer {prelabel.key}", "Content-Type": "application/x-ndjson"}
        pid = prelabel.process(ALL_IN_ONE).pid
        resident: list[float] = []
        with httpx.Client(base_url=prelabel.address, headers=headers, timeout=600, trust_env=False) as client:
            made = client.put(
                "/v1/projects/big", json={"label_set": label_set}, headers={"Content-Type": "application/json"}
            )
            assert made.status_code == 201, made.text
            answer = client.post("/v1/projects/big/tasks", content=_lines(pid, resident))
        assert answer.status_code == 202, answer.text
        receipt = answer.json()
    assert (receipt["accepted"], receipt["rejected"]) == (LINES - 1, 1)
    assert [e["line"] for e in receipt["errors"]] == [BAD]
    growth = max(resident) - resident[0]
    print(f"resident after 50,000 lines {resident[0]:.0f} MiB, at most {growth:.0f} MiB more")
    assert growth < GROWTH_MIB


def _lines(pid: int, resident: list[float]) -> Iterator[bytes]:
    batch = 1000
    for start in range(0, LINES, batch):
        lines = [json.dumps({"data": {"text": f"line {n}"}}).encode() for n in range(start + 1, start + batch + 1)]
        if start < BAD <= start + batch:
            lines[BAD - start - 1] = b'{"data": {"text": "never ends}'
        yield b"\n".join(lines) + b"\n"
        if start >= 50_000 and start % 10_000 == 0:
            resident.append(_resident_mib(pid))


def _resident_mib(pid: int) -> float:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found.group(1)) / 1024
