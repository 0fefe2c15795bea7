"""Behavioural features: declared once, learned event by event, the same whether a log is replayed or events come in."""

from recsys.features.context import Context
from recsys.features.feature_set import FeatureSet
from recsys.features.histories import Histories, histories
from recsys.features.replay import features_and_histories, replay
from recsys.features.state import FeatureState
from recsys.features.table import TEXT_COLUMNS, assemble, column_names

__all__ = [
    "TEXT_COLUMNS",
    "Context",
    "FeatureSet",
    "FeatureState",
    "Histories",
    "assemble",
    "column_names",
    "features_and_histories",
    "histories",
    "replay",
]
