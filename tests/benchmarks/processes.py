"""What the machine is and does (Linux)."""

import os
import platform
import time
from collections.abc import Mapping
from pathlib import Path

import psutil

_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """CPU time that a process has used, in all its threads. Raises OSError when it is gone."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def worker_of(pid: int) -> str:
    """The provider whose models a worker process runs."""
    words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return words[words.index(b"--provider") + 1].decode()


class OthersUse:
    """How many cores are busy, on average since this was made, with what is not this process or came of it."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._busy = _busy_seconds()
        self._ours = _seconds_of_family()

    def cores(self) -> float:
        """Never below zero."""
        passed = time.monotonic() - self._began
        others = _busy_seconds() - self._busy - (_seconds_of_family() - self._ours)
        return max(0.0, others / passed) if passed else 0.0


def rss_mib(pid: int) -> float:
    """Memory of a process that is in RAM, in MiB. Raises psutil.NoSuchProcess."""
    return float(psutil.Process(pid).memory_info().rss) / (1 << 20)


def rss_of(pids: Mapping[str, int]) -> dict[str, float]:
    """Of each that lives, in MiB."""
    found = {}
    for name, pid in pids.items():
        try:
            found[name] = round(rss_mib(pid), 1)
        except psutil.NoSuchProcess:
            continue
    return found


def machine() -> str:
    """The machine in one line."""
    model = "CPU"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    system = f"Linux {platform.release()}, Python {platform.python_version()}"
    return f"{os.cpu_count()} cores of {model}, {memory:.0f} GiB, {system}"


def _busy_seconds() -> float:
    ticks = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    idle = ticks[3] + ticks[4]
    return (sum(ticks) - idle) / _TICKS


def _seconds_of_family() -> float:
    """CPU time of this process and all that came of it: who has ended counts among his parent's children."""
    me = psutil.Process()
    total = 0.0
    for process in (me, *me.children(recursive=True)):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total
