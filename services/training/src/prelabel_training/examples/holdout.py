"""The blind hold-out: tasks that no model of a project ever learns from, so that every version can be judged on them.

Which tasks are in it follows from their names alone. Nothing is stored, nothing has to be told to anybody, and a task
is in or out for good, before it is annotated and after: whoever asks, whenever, gets the same answer.
"""

import hashlib
from typing import Final

SHARE: Final = 0.2
"""Of a project's tasks, unless it says otherwise."""
_SALT: Final = b"holdout\0"
_PLACES: Final = 2**64


def in_holdout(project: str, task: str, share: float) -> bool:
    """Whether a task (by its uid) is held out. `share`: 0 (none) to less than 1, of all tasks.

    With a greater share all that were in are in. Raises ValueError for a share out of range.
    """
    if not 0 <= share < 1:
        raise ValueError(f"the share of the hold-out is at least 0 and less than 1, not {share}")
    digest = hashlib.sha256(_SALT + project.encode() + b"\0" + task.encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * _PLACES


def settled(fixed: float | None, wanted: float) -> float:
    """The share that holds: the one fixed at the project's first training, if there was one, whatever is wanted now.

    With a smaller one models would learn what others were judged by, with a greater one be judged by what they learned.
    """
    return wanted if fixed is None else fixed
