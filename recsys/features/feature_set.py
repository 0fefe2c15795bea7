"""The features of one catalog: their names, and their figures as the table that the ranker reads."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from recsys.catalog import Catalog
from recsys.features.compiled import compiled
from recsys.features.context import Context
from recsys.features.declare import declare, fingerprint
from recsys.features.relative import Floats, z_scores_by_column

# Figures are rounded before they become float32, so that the last bits of a sum cannot move a candidate.
DIGITS = 6
_GRID = 10.0**DIGITS


class FeatureSet:
    """All features in order: the declared ones, then the z-scores of those that are relative.

    ``counters`` marks the features that rest on what people did, so that a trainer can practise their absence; [F].
    """

    def __init__(self, catalog: Catalog) -> None:
        self._features = declare(catalog)
        relative = [each for each in self._features if each.relative]
        self._relative = np.array([place for place, each in enumerate(self._features) if each.relative])
        self.names: tuple[str, ...] = (
            *(each.name for each in self._features),
            *(f"{each.name}@z" for each in relative),
        )
        self.descriptions: dict[str, str] = {each.name: each.description for each in self._features}
        self.counters: npt.NDArray[np.bool_] = np.array([each.counter for each in (*self._features, *relative)])
        self.fingerprint: str = fingerprint(self.names)

    def table(self, context: Context) -> npt.NDArray[np.float32]:
        """Compute the features of each row; shape [R, F]."""
        figures = np.empty((len(self._features), context.rows.size))
        for place, feature in enumerate(self._features):
            figures[place] = feature.values(context)
        round_all(figures)
        scores = z_scores_by_column(figures[self._relative], context.lists.offsets)
        round_all(scores)
        table = side_by_side(figures, scores)
        if context.missing:
            # As the ranker has practised it.
            table[:, self.counters] = np.nan
        return table


@compiled
def round_all(figures: Floats) -> None:
    """Put figures on the grid on which the models see them."""
    for row in range(figures.shape[0]):
        for column in range(figures.shape[1]):
            figures[row, column] = np.rint(figures[row, column] * _GRID) / _GRID


@compiled
def side_by_side(first: Floats, second: Floats) -> npt.NDArray[np.float32]:
    """Turn columns [C, R] and [D, R] into rows [R, C + D]."""
    table = np.empty((first.shape[1], first.shape[0] + second.shape[0]), np.float32)
    _transpose(first, table, 0)
    _transpose(second, table, first.shape[0])
    return table


@compiled
def _transpose(columns: Floats, table: npt.NDArray[np.float32], first: int) -> None:
    for begin in range(0, columns.shape[1], 64):  # a tile at a time stays in the cache
        for left in range(0, columns.shape[0], 16):
            for row in range(begin, min(begin + 64, columns.shape[1])):
                for column in range(left, min(left + 16, columns.shape[0])):
                    table[row, first + column] = columns[column, row]
