"""Who clicked the user's recent clicks also clicked this."""

from __future__ import annotations

import numpy as np

from recsys.compiled import compiled
from recsys.features.feature import Feature, Question, Table, put
from recsys.features.seen import Seen

FEATURES = (
    Feature(name="co_clicks", description="Closeness to the user's recent clicks, by shared clicks", relative=True),
    Feature(
        name="co_clicks_closest", description="Closeness to the nearest of the user's recent clicks", relative=True
    ),
    Feature(name="co_click_chance", description="Chance of a click given the user's recent clicks", relative=True),
)


@compiled
def fill(seen: Seen, question: Question, table: Table, first: int) -> None:
    """Write ``FEATURES`` of every candidate, in their order, from column ``first`` on; NaN where it is unknown."""
    shared, rows = seen.shared, question.row
    for row in range(rows.size):
        blank = 0.0 if rows[row] >= 0 else np.nan
        for figure in range(3):
            put(table, row, first + figure, shared[row, figure] + blank)
