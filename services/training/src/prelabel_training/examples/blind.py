"""Which tasks annotators are shown without suggestions: what is said of these is nobody's echo.

All of the hold-out, by which versions are judged: an answer that was only accepted says what the serving model said,
and would judge every other version by it. And of the other tasks the share that the project says, so that some of what
is learned from is people's own word. Both follow from the task's name alone, as the hold-out does.
"""

import hashlib
from typing import Final

from prelabel_contract.projects import Project

from .holdout import in_holdout

_SALT: Final = b"blind\0"
_PLACES: Final = 2**64


def is_blind(project: Project, task: str, holdout: float) -> bool:
    """Whether a task (by its uid) is shown without suggestions. `holdout`: the share that holds, 0 to less than 1."""
    if in_holdout(project.id, task, holdout):
        return True
    digest = hashlib.sha256(_SALT + project.id.encode() + b"\0" + task.encode()).digest()
    return int.from_bytes(digest[:8], "big") < project.learning.blind * _PLACES
