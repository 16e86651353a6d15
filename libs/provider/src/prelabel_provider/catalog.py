"""Which providers there are, and whose interpreter runs them. Nothing of a provider is imported here."""

import sys
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points

from .base import ENTRY_POINTS, REMOTE_ENTRY_POINTS


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

    def remote(self, provider: str) -> EntryPoint | None:
        """Where the class of a provider is whose models are called from here; None for one with a worker."""
        if provider in self._environments:
            return None
        return next(iter(entry_points(group=REMOTE_ENTRY_POINTS, name=provider)), None)

    def python(self, provider: str) -> str:
        """The interpreter that runs a provider. Raises `UnknownProvider`."""
        if (path := self._environments.get(provider)) is not None:
            return path
        if provider in self._here:
            return sys.executable
        raise UnknownProvider(provider, self.names)


def installed() -> frozenset[str]:
    """The providers of this environment."""
    return frozenset(point.name for group in (ENTRY_POINTS, REMOTE_ENTRY_POINTS) for point in entry_points(group=group))
