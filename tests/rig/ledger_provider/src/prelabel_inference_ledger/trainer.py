"""For tests: a trainer that learns the most frequent label of the first word, and writes it down."""

import json
from collections import Counter
from collections.abc import Callable

from prelabel_contract.regions import Span
from prelabel_provider.trainer import CannotTrain, Job, Progress, Trained, Trainer, TrainerSettings


class LedgerTrainer(Trainer[TrainerSettings]):
    """One file of settings: what the model says from then on."""

    name = "ledger"
    kinds = frozenset({"span", "choice"})
    Settings = TrainerSettings
    writes = frozenset({".json"})

    def train(self, job: Job, report: Callable[[Progress], None]) -> Trained:
        """Count the labels."""
        self.settings(job)
        spans = (region for one in job.examples for region in one.regions if isinstance(region, Span))
        counts = Counter(label for span in spans for label in span.labels)
        if not counts:
            raise CannotTrain("too_few", "no example has a span")
        report(Progress(1, 1))
        [(label, _)] = counts.most_common(1)
        (job.folder / "ledger.json").write_text(json.dumps({"label": label}), encoding="utf-8")
        return Trained(files=("ledger.json",), metrics={"examples": float(len(job.examples))})
