"""The features of one catalog: their names, and their figures as the table that the ranker reads."""

from __future__ import annotations

import threading

import numpy as np
import numpy.typing as npt

from recsys.catalog import Catalog
from recsys.compiled import compiled, prefetch
from recsys.features import affinity, co_clicks, encounters, popularity, sizes, surprise
from recsys.features.context import Context
from recsys.features.declare import declare, fingerprint
from recsys.features.feature import Floats, Question, Sayings, Table
from recsys.features.relative import Columns, write_z_scores
from recsys.features.seen import Seen


class FeatureSet:
    """All features in order: the declared ones, then the z-scores of those that are relative.

    ``counters`` marks the features that rest on what people did, so that a trainer can practise their absence; [F].
    """

    def __init__(self, catalog: Catalog) -> None:
        families = declare(catalog)
        features = [each for family in families for each in family]
        relative = [each for each in features if each.relative]
        self._firsts = np.cumsum([0, *map(len, families)])
        self._relative = np.array([place for place, each in enumerate(features) if each.relative])
        self._room = threading.local()
        self.names: tuple[str, ...] = (*(each.name for each in features), *(f"{each.name}@z" for each in relative))
        self.descriptions: dict[str, str] = {each.name: each.description for each in features}
        self.counters: npt.NDArray[np.bool_] = np.array([each.counter for each in (*features, *relative)])
        self.fingerprint: str = fingerprint(self.names)

    def table(self, context: Context, room: Table | None = None) -> Table:
        """Compute the features of each row; shape [R, F]; in the first rows of ``room``, where that is large enough."""
        rows = context.rows.size
        fits = room is not None and len(room) >= rows
        table = room[:rows] if room is not None and fits else np.empty((rows, len(self.names)), np.float32)
        values = context.facts.values.size + 1
        profile = getattr(self._room, "profile", None)
        if profile is None or len(profile) != values:
            profile = self._room.profile = np.zeros((values, 4))
        _fill(context.seen, context.question, context.says, profile, self._firsts, self._relative, table)
        if context.missing:
            # As the ranker has practised it.
            table[:, self.counters] = np.nan
        return table


@compiled
def _fill(
    seen: Seen, question: Question, says: Sayings, profile: Floats, firsts: Columns, relative: Columns, table: Table
) -> None:
    """Write family after family, each from its first column on, in the order of ``declare``."""
    for known in question.row:  # memory is asked for all of it at once, instead of by one feature after the other
        if known >= 0:
            prefetch(says.codes, known, 0)
            prefetch(says.raw, known, 0)
            prefetch(says.share, known, 0)
            prefetch(says.categories, known, 0)
    past = surprise.choices(seen)
    popularity.fill(seen, question, says, table, firsts[0])
    encounters.fill(seen, question, says, table, firsts[1])
    surprise.fill(past, question, table, firsts[2])
    co_clicks.fill(seen, question, table, firsts[3])
    affinity.fill(seen, past, question, says, profile, table, firsts[4])
    sizes.fill(past, question, says, table, firsts[5])
    write_z_scores(table, question.offsets, relative, firsts[6])
