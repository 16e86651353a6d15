"""How much of learning is measured."""

from dataclasses import dataclass, replace

from tests.benchmarks import case


@dataclass(frozen=True, slots=True)
class Amounts:
    """Sizes of the cases; `seeds` is the number of rounds, since every round has a seed of its own: its number."""

    seeds: int
    digits: int
    """Annotations, at most."""
    texts: int
    """Texts, those held out included."""
    names: int
    """Texts with names in them, those held out included."""
    name_labels: tuple[int, ...]
    """Numbers of annotated tasks at which a pipeline is trained."""
    epochs: int
    """Of a pipeline's training."""
    gate_seeds: int
    gate_examples: tuple[int, ...]
    """Numbers of examples, at which the gate is asked about flips and about twice as many."""
    storms: int
    """Annotations in ten seconds."""
    sides: tuple[str, ...]
    """On which the loop over services is run."""
    batches: int
    """Of annotations, in that: each leads to a training at least."""
    kills: int
    """Of who promotes, in a round."""
    busy: int
    """Texts that a pipeline is trained on while people ask for predictions."""
    busy_epochs: int
    """Of that training: how long it takes."""
    idle_s: float
    """For which they ask before it."""
    timed: int
    """Rounds of what is timed."""

    @property
    def sizes(self) -> case.Sizes:
        """As the benchmarks' own parts ask for it."""
        return replace(case.FULL, rounds=self.seeds, long_rounds=self.seeds)


FULL = Amounts(
    seeds=5,
    digits=400,
    texts=2500,
    names=2000,
    name_labels=(50, 100, 200, 300),
    epochs=8,
    gate_seeds=20,
    gate_examples=(150, 300),
    storms=1000,
    sides=("sqlite", "kafka"),
    batches=4,
    kills=100,
    busy=300,
    busy_epochs=20,
    idle_s=8.0,
    timed=5,
)
QUICK = replace(
    FULL,
    seeds=1,
    digits=200,
    texts=800,
    names=1000,
    name_labels=(50, 200),
    gate_examples=(150,),
    sides=("sqlite",),
    batches=1,
    kills=50,
    busy=200,
    busy_epochs=7,
    idle_s=3.0,
    timed=1,
)
TINY = replace(
    FULL,
    seeds=1,
    digits=60,
    texts=600,
    names=300,
    name_labels=(30, 60),
    epochs=2,
    gate_seeds=2,
    gate_examples=(100,),
    sides=("sqlite",),
    batches=1,
    storms=200,
    kills=10,
    busy=150,
    busy_epochs=8,
    idle_s=1.0,
    timed=1,
)
"""To see that the cases work at all: their figures say nothing."""
