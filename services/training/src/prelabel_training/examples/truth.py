"""The example of a task by its project's policy."""

from collections.abc import Sequence

from prelabel_contract.projects import Learning
from prelabel_runtime.store.base import StoredAnnotation

from .policy import Because, Derived, Policy, derive


def current(annotations: Sequence[StoredAnnotation], learning: Learning) -> StoredAnnotation | None:
    """The annotation that is the example of a task, if one is; where only reviewed ones count, none but those."""
    policy = Policy.MAJORITY if learning.policy == "majority" else Policy.LATEST
    derived: Derived | None = derive(annotations, policy)
    if derived is None or (learning.policy == "reviewed" and derived.because is not Because.REVIEWED):
        return None
    return derived.annotation
