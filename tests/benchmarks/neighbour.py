"""A process that keeps one core busy as services do, with JSON: nothing is shared with it but the machine.

Cores of virtual machines are often the two threads of one real core, or share its clock: what a model loses beside this
neighbour, it loses beside any program, and no program can give it back.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_WORK = """
import json
row = {"fields": [{"name": str(n), "value": n / 7} for n in range(200)]}
while True:
    row = json.loads(json.dumps(row))
"""


@contextmanager
def neighbour() -> Iterator[None]:
    """Busy until the end of the block."""
    child = subprocess.Popen([sys.executable, "-c", _WORK])
    try:
        yield
    finally:
        child.kill()
        child.wait()
