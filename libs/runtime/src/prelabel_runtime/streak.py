"""Dead letters in a row: a consumer that gives up on everything is itself what is wrong."""

from dataclasses import dataclass

from .errors import TooManyDeadLetters

CULPRITS = 5
"""Records in a row that are blamed for ending a loop before the loop itself is: each cost three restarts."""


@dataclass(slots=True)
class Streak:
    """How many records in a row a group has dead-lettered, over all loops of this process."""

    dead: int = 0
    culprits: int = 0

    def longer(self, *, culprit: bool) -> None:
        """One more."""
        self.dead += 1
        self.culprits += culprit

    def broken(self) -> None:
        """A record was handled."""
        self.dead = self.culprits = 0

    def check(self, group: str, limit: int | None) -> None:
        """Raises `TooManyDeadLetters`. Without a limit invalid records do not count: others write the topic."""
        if limit is not None and self.dead > limit:
            raise TooManyDeadLetters(f"{self.dead} records in a row were invalid for group {group}")
        if self.culprits >= CULPRITS:
            raise TooManyDeadLetters(f"group {group} failed on each of {self.culprits} records in a row")
