"""What a feature is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from recsys.features.attributes import Floats
from recsys.features.context import Context


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """One figure per candidate, declared once and computed by the same function in training and in serving.

    ``relative`` adds the figure's z-score within the list as a feature, ``<name>@z``; ``counter`` says that the figure
    rests on the log of what people did, so that it is missing where the log is.
    """

    name: str
    description: str
    compute: Callable[[Context], Floats]
    relative: bool = False
    counter: bool = True

    def values(self, context: Context) -> Floats:
        """Return the figure of each row; shape [R], NaN where unknown."""
        return self.compute(context)
