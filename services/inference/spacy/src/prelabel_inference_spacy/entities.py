"""How unsure entities are, by the share that each has: token by token, as they are decided."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from prelabel_provider.shares import Shares, of_rows, told
from prelabel_provider.uncertainty import Measure

Entity = tuple[int, int, str]
"""Its first token, the one behind its last, its label."""
_FIRST, _INNER, _LAST, _ONLY = range(4)
"""Which of an entity's tokens one is: with the label, what is decided of a token, if it is any entity's at all."""


class Tags:
    """All that can be said of a token of a text where entities have these labels."""

    def __init__(self, labels: Sequence[str]) -> None:
        self._columns = {label: 1 + 4 * place for place, label in enumerate(labels)}
        self._count = 1 + 4 * len(labels)

    def doubt(
        self, tokens: int, shares: Mapping[Entity, float], said: Collection[Entity], measure: Measure
    ) -> float | None:
        """Of a text of so many tokens, one at least: that of its most doubtful token, 0 to 1; None: shares are none.

        What the shares of a token's entities lack of 1 is the share of there being none. A token of which is `said`
        what has not the largest share is as unsure as can be, however large that one is. Entities with other labels
        are passed over: somebody else has set them.
        """
        table = self._table(tokens, shares)
        spoken = self._table(tokens, dict.fromkeys(said, 1.0))
        overruled = (table * spoken).sum(axis=1) < table.max(axis=1)
        figures = np.where(overruled, 1.0, of_rows(table, measure))
        return told(np.atleast_1d(figures.max() + 0.0))[0]  # entropy has a zero with a minus

    def _table(self, tokens: int, shares: Mapping[Entity, float]) -> Shares:
        """[tokens, what can be said of one]; first, that it is no entity's."""
        table = np.zeros((tokens, self._count))
        for (start, end, label), share in shares.items():
            column = self._columns.get(label)
            if column is None:
                continue
            if end - start == 1:
                table[start, column + _ONLY] += share
                continue
            table[start, column + _FIRST] += share
            table[start + 1 : end - 1, column + _INNER] += share
            table[end - 1, column + _LAST] += share
        table[:, 0] = np.maximum(0.0, 1.0 - table.sum(axis=1))
        return table
