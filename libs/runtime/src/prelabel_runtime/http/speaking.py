"""In whose name a caller says something about a task: a labeler in its own alone, everybody else in anybody's.

Programs bring in what other tools' people said, reviewers correct it: they speak for others. A labeler is one person
(or one tool that a person works with), and its key's name is who they are: the same after the key was rotated.
"""

from prelabel_contract.errors import FieldError

from .access import Caller, Role
from .problems import Problem


def own_name(caller: Caller) -> str:
    """What a caller is called where people are named. A key of an old version may have no name: its id then."""
    return caller.name or caller.id


def speaks_for(caller: Caller, annotator: str) -> bool:
    """Whether what an annotator says, or holds, is the caller's to say or to give back."""
    return caller.role != Role.LABELER or annotator == own_name(caller)


def annotator_of(caller: Caller, said: str | None, pointer: str = "/annotator") -> str:
    """In whose name a caller speaks, who said so, or left it out and means itself.

    Raises a 403 that names the field, at `pointer` in the body, where a labeler names somebody else.
    """
    annotator = own_name(caller) if said is None else said
    if not speaks_for(caller, annotator):
        right = f"this key is the labeler {own_name(caller)!r}: leave the annotator out, or name {own_name(caller)!r}"
        raise Problem(403, "forbidden_annotator", right, [FieldError(pointer=pointer, detail=right)])
    return annotator


def not_its_own(caller: Caller, what: str) -> Problem:
    """A labeler wants to change something that is not its own."""
    detail = f"this key is the labeler {own_name(caller)!r}, and the {what} is not theirs: a reviewer may change it"
    return Problem(403, "forbidden_annotator", detail)
