"""Which annotation of a task is its example.

The policy, in this order:

1. Deleted and skipped annotations never count. A version that is older than the newest one never counts, and what is
   deleted stays deleted, whatever comes late: as the store keeps it.
2. Reviewed (ground truth) annotations outrank all others; of several, the latest.
3. Otherwise, by the project's choice: the latest annotation, or the answer that most people gave. A person has one
   vote, the latest of theirs; between answers with equally many votes the latest annotation decides.

"Latest" is by place in the log, which has one order per project, never by a clock. The example is always an annotation
that somebody submitted, whole: nothing is blended. So the order and the number of times in which annotations are
given change nothing, and neither do their old versions.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import orjson
from prelabel_contract.answers import answer
from prelabel_contract.base import Json
from prelabel_runtime.store.base import StoredAnnotation


class Policy(StrEnum):
    """What decides between annotations of which none is reviewed."""

    LATEST = "latest"
    MAJORITY = "majority"


class Because(StrEnum):
    """What decided."""

    REVIEWED = "reviewed"
    LATEST = "latest"
    MAJORITY = "majority"
    """More people gave this answer than any other."""
    TIE = "tie"
    """No answer had the most votes: the latest of those that had equally many."""


@dataclass(frozen=True, slots=True)
class Derived:
    """The example of a task, and how it came about."""

    annotation: StoredAnnotation
    because: Because
    votes: int
    """People whose (latest) answer it is, 1 or more."""
    voters: int
    """People who answered: votes / voters is how far they agree."""


def derive(annotations: Iterable[StoredAnnotation], policy: Policy) -> Derived | None:
    """The one example of a task from all that is known of its annotations; None if there is none.

    Raises ValueError for annotations of several tasks.
    """
    usable = _usable(annotations)
    if not usable:
        return None
    votes: dict[str, StoredAnnotation] = {}
    for one in usable:  # oldest first: the latest of a person stays
        votes[one.annotator] = one
    answers = {annotator: answer(_regions(one)) for annotator, one in votes.items()}
    counts: dict[bytes, int] = {}
    for given in answers.values():
        counts[given] = counts.get(given, 0) + 1
    chosen, because = _chosen(usable, policy, [(one, counts[answers[who]]) for who, one in votes.items()])
    return Derived(chosen, because, sum(given == answer(_regions(chosen)) for given in answers.values()), len(votes))


def _usable(annotations: Iterable[StoredAnnotation]) -> Sequence[StoredAnnotation]:
    """The newest version of each annotation that answers, in the order of the log."""
    newest: dict[str, StoredAnnotation] = {}
    for one in annotations:
        known = newest.get(one.key)
        if known is None or _rank(one) > _rank(known):
            newest[one.key] = one
    if len({one.task for one in newest.values()}) > 1:
        raise ValueError("annotations of several tasks: an example is of one")
    return sorted((one for one in newest.values() if not (one.deleted or one.skipped)), key=_place)


def _rank(one: StoredAnnotation) -> tuple[bool, int, int, bool, bool, str, str]:
    """Which of two versions of an annotation stays: what the store compares, and then whose it is."""
    return one.deleted, one.offset, one.at_ms, one.skipped, one.ground_truth, one.body, one.annotator


def _place(one: StoredAnnotation) -> tuple[int, str]:
    return one.offset, one.key


def _chosen(
    usable: Sequence[StoredAnnotation], policy: Policy, votes: Collection[tuple[StoredAnnotation, int]]
) -> tuple[StoredAnnotation, Because]:
    reviewed = [one for one in usable if one.ground_truth]
    if reviewed:
        return reviewed[-1], Because.REVIEWED
    if policy is Policy.LATEST:
        return usable[-1], Because.LATEST
    most = max(count for _, count in votes)
    leading = sorted((one for one, count in votes if count == most), key=_place)
    return leading[-1], Because.MAJORITY if len(leading) == most else Because.TIE


def _regions(one: StoredAnnotation) -> Sequence[Mapping[str, Json]]:
    regions: Sequence[Mapping[str, Json]] = orjson.loads(one.body).get("regions", ())
    return regions
