"""A few questions to a running Prelabel from the command line, with nothing but the standard library.

The address and the key are those of the data folder that the process was started with.
"""

import json
import os
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from prelabel_runtime.errors import Refused

ADDRESS_FILE = "address"
KEY_FILE = "api-key"


@dataclass(frozen=True, slots=True)
class Here:
    """A running Prelabel."""

    address: str
    key: str

    @classmethod
    def of(cls, folder: Path) -> Self:
        """The one that keeps its data in a folder. Raises `Refused`."""
        try:
            key = os.environ.get("PRELABEL_API_KEY") or (folder / KEY_FILE).read_text().strip()
            return cls((folder / ADDRESS_FILE).read_text().strip(), key)
        except OSError:
            raise Refused(f"nothing has been started with the folder {folder}: start it with `make run`") from None

    def call(self, method: str, path: str, body: bytes | None = None, content_type: str = "application/json") -> Any:
        """A call of the API. Raises `Refused` with what the API says."""
        request = urllib.request.Request(  # noqa: S310 - the address is our own
            self.address + path,
            data=body,
            method=method,
            headers={"Authorization": f"Bearer {self.key}", "Content-Type": content_type},
        )
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:  # noqa: S310
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            problem = json.loads(error.read() or b"{}")
            raise Refused(str(problem.get("detail", error))) from None
        except OSError as error:
            raise Refused(f"{self.address} does not answer ({error}): is it running?") from None


def predict(here: Here, project: str, text: str) -> str:
    """What every model says about a text, for people to read."""
    body = json.dumps({"data": {"text": text}}).encode()
    answer = here.call("POST", f"/v1/projects/{project}/predictions", body)
    lines = [text]
    for prediction in answer["predictions"] or ():
        lines.append(f"\n{prediction['model']} ({prediction.get('version', prediction['provider'])})")
        if prediction["outcome"] != "created":
            lines.append(f"  {prediction['outcome']}: {prediction['reason']} {prediction['detail']}")
        for region in prediction.get("regions", ()):
            score = f"  {region['score']:.2f}" if region.get("score") is not None else ""
            lines.append(f"  {', '.join(region['labels']):<12} {region.get('text', '')!s}{score}")
        if prediction["outcome"] == "created" and not prediction["regions"]:
            lines.append("  (nothing)")
    return "\n".join(lines)


def submit(here: Here, project: str, lines: bytes) -> str:
    """Hand in NDJSON, or plain lines of text, and say what became of it."""
    if not lines.lstrip().startswith(b"{"):
        texts = [line for line in lines.decode(errors="replace").splitlines() if line.strip()]
        lines = "\n".join(json.dumps({"data": {"text": text}}) for text in texts).encode()
    receipt = here.call("POST", f"/v1/projects/{project}/tasks", lines, "application/x-ndjson")
    wrong = "".join(f"\n  line {e['line']}: {e['errors'][0]['detail']}" for e in receipt["errors"][:10])
    return f"{receipt['accepted']} accepted, {receipt['rejected']} rejected, run {receipt['run']}{wrong}"


def results(here: Here, project: str, limit: int) -> str:
    """The first tasks with their predictions, as JSON."""
    page = here.call("GET", f"/v1/projects/{project}/tasks?predictions=true&limit={limit}")
    return json.dumps(page["tasks"], indent=2, ensure_ascii=False)
