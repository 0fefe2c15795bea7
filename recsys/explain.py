"""What moved an item: the ranker's contributions, against the average of the list, strongest first."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from recsys.schema import Reason


def reasons(
    names: Sequence[str], table: npt.NDArray[np.float32], contributions: npt.NDArray[np.float64]
) -> list[tuple[Reason, ...]]:
    """Return each item's reasons; a feature's in-list rank and z-score count as the feature itself.

    Args:
        names: the ranker's columns [C].
        table: their values for one list [N, C].
        contributions: TreeSHAP values and the expected score [N, C + 1] (Lundberg et al., Nature MI 2020).
    """
    groups = [name.partition("@")[0] for name in names]
    features = list(dict.fromkeys(groups))
    column = {feature: groups.index(feature) for feature in features}
    place = np.array([features.index(group) for group in groups])
    # What all items of the list share moves none of them past another.
    relative = contributions[:, :-1] - contributions[:, :-1].mean(axis=0)
    effects = np.zeros((len(table), len(features)))
    np.add.at(effects.T, place, relative.T)
    told = []
    for row, effect in zip(table, effects, strict=True):
        order = np.argsort(-np.abs(effect), kind="stable")
        told.append(
            tuple(
                Reason(feature=features[at], value=float(row[column[features[at]]]), effect=float(effect[at]))
                for at in order
                if abs(effect[at]) > 1e-12
            )
        )
    return told
