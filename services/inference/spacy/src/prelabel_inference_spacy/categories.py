"""What a component for categories says about a text, and how unsure it is of that."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from prelabel_contract.regions import Choice
from prelabel_provider.shares import of_labels, of_rows, told
from prelabel_provider.uncertainty import Measure

from .pipeline import MAKES
from .scores import score


@dataclass(frozen=True, slots=True)
class Categories:
    """Those of one component."""

    labels: tuple[str, ...]
    exclusive: bool
    """One of them is true; else any number may be."""
    least: float
    """From which score on one of any number is said: the component's own, for the project's threshold only marks."""

    def said(self, cats: Mapping[str, float]) -> Iterator[Choice]:
        """The best one, or each that reaches `least`, out of a doc's categories. Raises `NotFinite`."""
        scores = {label: score(cats[label]) for label in self.labels}
        if self.exclusive:
            best = max(self.labels, key=lambda label: cats[label])
            yield Choice(labels=(best,), score=scores[best])
            return
        for label in self.labels:
            if cats[label] >= self.least:
                yield Choice(labels=(label,), score=scores[label])

    def doubt(self, cats: Mapping[str, float], measure: Measure) -> float | None:
        """By the shares of all labels, said or not, 0 to 1; beside each other, the most doubtful one's counts."""
        shares = np.array([[cats[label] for label in self.labels]])
        return told((of_rows if self.exclusive else of_labels)(shares, measure))[0]


def categories(nlp: Any) -> tuple[Categories, ...]:
    """Of a pipeline's components that are on, and have any."""
    found = []
    for name, pipe in nlp.pipeline:
        factory = nlp.get_pipe_meta(name).factory
        if factory in MAKES["textcat"] and pipe.labels:
            found.append(Categories(tuple(pipe.labels), factory == "textcat", pipe.cfg.get("threshold") or 0.0))
    return tuple(found)
