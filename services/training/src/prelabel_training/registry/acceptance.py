"""How often people take suggestions as they are: by version, counted from the stored verdicts each time."""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from ..quality.verdicts import Became, Verdict


@dataclass(frozen=True, slots=True)
class Taken:
    """What people made of one version's suggestions."""

    model: str | None
    provider: str | None
    version: str | None
    accepted: int
    corrected: int
    rejected: int

    @property
    def shown(self) -> int:
        """Suggestions that somebody decided about."""
        return self.accepted + self.corrected + self.rejected

    def share(self, count: int) -> float | None:
        """Of those, so many; None: nobody decided about any."""
        return count / self.shown if self.shown else None


async def taken(verdicts: AsyncIterator[Verdict]) -> Sequence[Taken]:
    """By model, provider and version."""
    counts: dict[tuple[str, str, str], Counter[Became]] = {}
    names: dict[tuple[str, str, str], Verdict] = {}
    async for one in verdicts:
        key = (one.model or "", one.provider or "", one.version or "")
        counts.setdefault(key, Counter())[one.became] += 1
        names[key] = one
    return [
        Taken(
            names[key].model,
            names[key].provider,
            names[key].version,
            counts[key][Became.ACCEPTED],
            counts[key][Became.CORRECTED],
            counts[key][Became.REJECTED],
        )
        for key in sorted(counts)
    ]
