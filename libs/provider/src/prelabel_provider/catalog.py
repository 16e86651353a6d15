"""Which providers there are, and whose interpreter runs them. Nothing of a provider is imported here."""

import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from .base import ENTRY_POINTS, REMOTE_ENTRY_POINTS
from .trainer import ENTRY_POINTS as TRAINERS

_ASK = (
    "import sys; from importlib.metadata import entry_points; "
    f"sys.exit(0 if list(entry_points(group={TRAINERS!r}, name=sys.argv[1])) else 3)"
)
_ANSWERS = {0: True, 3: False}
"""By exit code; any other is none."""
_ASK_SECONDS = 60.0


class UnknownProvider(Exception):
    """There is no such provider; the message lists those there are."""

    def __init__(self, name: str, known: tuple[str, ...]) -> None:
        super().__init__(f"no provider {name!r}; providers are {', '.join(known) or '(none is installed)'}")
        self.name = name
        self.known = known


class Catalog:
    """The providers of this environment, and of those named in the settings, which come first."""

    def __init__(self, environments: Mapping[str, str], *, here: frozenset[str] | None = None) -> None:
        """`environments`: provider -> path of the interpreter that has it; `here`: this environment's
        providers, by default those that are installed.
        """
        self._environments = dict(environments)
        self._here = installed() if here is None else here

    @property
    def names(self) -> tuple[str, ...]:
        """Every provider, in alphabetical order."""
        return tuple(sorted(self._here | self._environments.keys()))

    def trains(self, provider: str) -> bool | None:
        """Whether a provider's interpreter has a trainer for it. Asks another interpreter by starting it; None: it does
        not say, since it does not run.
        """
        if (path := self._environments.get(provider)) is None:
            return provider in _points(TRAINERS)
        try:
            asked = subprocess.run([path, "-c", _ASK, provider], capture_output=True, timeout=_ASK_SECONDS, check=False)  # noqa: S603
        except (OSError, subprocess.TimeoutExpired):
            return None
        return _ANSWERS.get(asked.returncode)

    def remote(self, provider: str) -> EntryPoint | None:
        """Where the class of a provider is whose models are called from here; None for one with a worker."""
        if provider in self._environments:
            return None
        return _points(REMOTE_ENTRY_POINTS).get(provider)

    def python(self, provider: str) -> str:
        """The interpreter that runs a provider. Raises `UnknownProvider`."""
        if (path := self._environments.get(provider)) is not None:
            return path
        if provider in self._here:
            return sys.executable
        raise UnknownProvider(provider, self.names)


def installed() -> frozenset[str]:
    """The providers of this environment."""
    return frozenset({*_points(ENTRY_POINTS), *_points(REMOTE_ENTRY_POINTS)})


@cache
def _points(group: str) -> Mapping[str, EntryPoint]:
    """By provider. Looked for once: a look reads a file of every package; what comes later is for the next start."""
    return {point.name: point for point in entry_points(group=group)}
