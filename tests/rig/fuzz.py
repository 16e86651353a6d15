"""What the fuzzer is told about our API: names that exist, so that it gets past the first 404, and how errors look.

Loaded by schemathesis itself, in its own process.
"""

import json
import os
from typing import Any

import schemathesis

KNOWN: dict[str, list[str]] = json.loads(os.environ.get("PRELABEL_FUZZ_KNOWN", "{}"))
"""Names that exist, by path parameter."""


@schemathesis.hook
def map_path_parameters(context: Any, path_parameters: dict[str, Any] | None) -> dict[str, Any] | None:
    """Half of the names are made to be known ones; which half is the fuzzer's own choice, so that it can repeat it."""
    for name, value in (path_parameters or {}).items():
        if known := KNOWN.get(name):
            number = len(str(value))
            if number % 2:
                path_parameters[name] = known[number % len(known)]  # type: ignore[index]
    return path_parameters


@schemathesis.check
def every_error_is_a_problem(context: Any, response: Any, case: Any) -> None:
    """RFC 9457, with a status that is the answer's own and a detail that says something."""
    if response.status_code < 400 or case.method.upper() == "HEAD":
        return
    kind = response.headers.get("content-type", [""])[0]
    assert kind.startswith("application/problem+json"), f"{response.status_code} came as {kind!r}"
    problem = json.loads(response.content)
    assert problem["status"] == response.status_code
    assert problem["type"].startswith("urn:prelabel:problem:")
    assert problem["title"]
    assert problem["detail"]
