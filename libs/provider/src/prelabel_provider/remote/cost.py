"""What calls cost, added up. Its names come from targets: they are checked, and there are few of them."""

import math
import re
from collections.abc import Mapping

from prelabel_runtime.metrics import Metrics
from prometheus_client import Counter

from .base import Cost

NAMES = 20
"""Different units, and currencies, of one provider; whatever else is named is added up as "other"."""
_UNIT = re.compile(r"[a-z][a-z0-9_]{0,39}")
_CURRENCY = re.compile(r"[A-Z]{3}")


class Costs:
    """One provider's."""

    def __init__(self, provider: str, metrics: Metrics) -> None:
        self._provider = provider
        self._metrics = metrics
        self._units: set[str] = set()
        self._currencies: set[str] = set()

    def add(self, cost: Cost) -> None:
        """A call was answered, and says that it cost this."""
        self._add(cost.units, _UNIT, self._units, self._metrics.remote_units)
        self._add(cost.money, _CURRENCY, self._currencies, self._metrics.remote_money)

    def _add(self, amounts: Mapping[str, float], form: re.Pattern[str], known: set[str], counter: Counter) -> None:
        for said, amount in amounts.items():
            if not math.isfinite(amount) or amount < 0:
                continue
            fits = said in known or (form.fullmatch(said) is not None and len(known) < NAMES)
            name = said if fits else "other"
            known.add(name)
            counter.labels(self._provider, name).inc(amount)
