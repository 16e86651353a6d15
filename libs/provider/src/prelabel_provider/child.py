"""What a child process does first: models and trainings run in processes of their own, which end as ours do."""

import contextlib
import ctypes
import os
import resource
import signal
import sys
from pathlib import Path

OUT_OF_MEMORY = 77
"""Exit code: the memory limit is reached. What a failed allocation leaves behind is not worth trusting."""

_PR_SET_PDEATHSIG = 1
_MIB = 1 << 20
_SOONER, _SOONEST = 500, 1000
"""Thousandths of the machine's memory that count as if this process had them too, for whom Linux ends; and at most."""


def die_with(parent: int) -> None:
    """End when the parent ends, and only then: signals to a whole group or container are for the parent.

    A thread of the child sees its socket close; where native code keeps the interpreter's lock no thread of ours could,
    and on Linux the kernel ends it.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(0)  # it died before we asked to be told
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, signal.SIG_IGN)


def limit_memory(mib: int) -> None:
    """Let this process have no more than so many MiB of its own; 0: no limit."""
    if mib:
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (mib * _MIB, hard))


def end_before_others() -> None:
    """Where the machine's memory is used up, let Linux end this process rather than those that serve."""
    said = Path("/proc/self/oom_score_adj")
    with contextlib.suppress(OSError, ValueError):  # no Linux, or a machine that does not let us
        said.write_text(str(min(_SOONEST, int(said.read_text()) + _SOONER)))
