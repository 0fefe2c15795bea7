"""Behavioural features: declared once, looked up in logs strictly before the moment of each list."""

from recsys.features.histories import Histories
from recsys.features.state import FeatureState
from recsys.features.table import TEXT_COLUMNS, assemble, column_names

__all__ = ["TEXT_COLUMNS", "FeatureState", "Histories", "assemble", "column_names"]
