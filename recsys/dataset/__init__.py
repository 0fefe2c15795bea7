"""A dataset: the tables of items, of lists shown and of events that everything here learns from."""

from recsys.dataset.reading import Dataset, build_dataset, read_dataset, validate
from recsys.dataset.summary import describe
from recsys.dataset.writing import refuse_existing, write_dataset

__all__ = ["Dataset", "build_dataset", "describe", "read_dataset", "refuse_existing", "validate", "write_dataset"]
