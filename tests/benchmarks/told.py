"""What a process of ours tells about its model at /metrics."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import httpx
from prometheus_client.parser import text_string_to_metric_families

from deploy.local.ports import LOOPBACK
from tests.benchmarks.case import Lost
from tests.rig.processes import Prelabel

_BUSY = ("prelabel_worker_seconds_total", "state", "busy")
_CREATED = ("prelabel_predictions_total", "outcome", "created")


@dataclass(frozen=True, slots=True)
class Worked:
    """What all models have done since their processes were started."""

    predictions: float = 0.0
    seconds: float = 0.0
    """For which models were at them."""

    @classmethod
    def until_now(cls, prelabel: Prelabel) -> Self:
        """Asked of every process. Raises httpx.HTTPError."""
        ports = (prelabel.process(name).health_port for name in prelabel.names)
        pages = (httpx.get(f"http://{LOOPBACK}:{port}/metrics", timeout=10, trust_env=False) for port in ports)
        return cls.read(page.raise_for_status().text for page in pages)

    @classmethod
    def read(cls, pages: Iterable[str]) -> Self:
        """From what processes tell."""
        sums = {_CREATED: 0.0, _BUSY: 0.0}
        for sample in (s for page in pages for family in text_string_to_metric_families(page) for s in family.samples):
            for name, label, value in sums:
                if sample.name == name and sample.labels.get(label) == value:
                    sums[name, label, value] += sample.value
        return cls(sums[_CREATED], sums[_BUSY])

    def each_since(self, before: Self) -> float:
        """Seconds of the model's time that a prediction took. Raises Lost where there was none."""
        if self.predictions <= before.predictions:
            raise Lost("no prediction was made")
        return (self.seconds - before.seconds) / (self.predictions - before.predictions)
