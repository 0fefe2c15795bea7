"""Public datasets, read in their published file forms and written as our own tables."""

from training.importers.mind import import_mind
from training.importers.movielens import import_movielens
from training.importers.ranklens import import_ranklens

__all__ = ["import_mind", "import_movielens", "import_ranklens"]
