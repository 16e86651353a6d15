"""Results of versions whose quality is known, because it was made up."""

from collections.abc import Mapping, Sequence
from random import Random

from prelabel_training.gate.scoring import Counts, LabelCounts, LabelKey, Result

AGREEMENT = 0.7
"""So often a task is as hard for one version as for the other."""


def answered(task: str, *, right: bool, true: str = "a", said: str = "b") -> Result:
    """A task with one choice: `true`, or wrongly `said`."""
    if right:
        labels = [LabelCounts(LabelKey("topic", true), Counts(1, 0, 0))]
    else:
        labels = [
            LabelCounts(LabelKey("topic", true), Counts(0, 0, 1)),
            LabelCounts(LabelKey("topic", said), Counts(0, 1, 0)),
        ]
    labels.sort(key=lambda one: one.key)
    return Result(task, tuple(labels), ("topic",), ("topic",) if right else ())


def marked(task: str, counts: Mapping[str, tuple[int, int, int]]) -> Result:
    """A task with spans: tp, fp and fn of each label."""
    labels = tuple(LabelCounts(LabelKey("names", label), Counts(*counts[label])) for label in sorted(counts))
    wrong = any(fp or fn for _, fp, fn in counts.values())
    return Result(task, labels, ("names",), () if wrong else ("names",))


def classifiers(accuracies: Sequence[float], tasks: int, rng: Random) -> list[list[Result]]:
    """The results of one classifier per accuracy on the same tasks."""
    made: list[list[Result]] = [[] for _ in accuracies]
    for number in range(tasks):
        hardness = rng.random()
        for results, accuracy in zip(made, accuracies, strict=True):
            own = hardness if rng.random() < AGREEMENT else rng.random()
            results.append(answered(f"task-{number:05}", right=own < accuracy))
    return made


def taggers(qualities: Sequence[float], tasks: int, rng: Random) -> list[list[Result]]:
    """The results of one span tagger per quality (its recall; its precision is about as high) on the same tasks."""
    made: list[list[Result]] = [[] for _ in qualities]
    for number in range(tasks):
        hardness = [rng.random() for _ in range(rng.randrange(6))]
        for results, quality in zip(made, qualities, strict=True):
            tp = sum((one if rng.random() < AGREEMENT else rng.random()) < quality for one in hardness)
            fp = sum(rng.random() > quality for _ in hardness)
            results.append(marked(f"task-{number:05}", {"PER": (tp, fp, len(hardness) - tp)}))
    return made
