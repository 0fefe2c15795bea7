"""A dataset: the tables of items, of lists shown and of events that everything here learns from."""

from recsys.dataset.reading import Dataset, build_dataset, read_dataset, read_items, validate
from recsys.dataset.summary import describe
from recsys.dataset.writing import GrowingTable, refuse_existing, write_dataset

__all__ = [
    "Dataset",
    "GrowingTable",
    "build_dataset",
    "describe",
    "read_dataset",
    "read_items",
    "refuse_existing",
    "validate",
    "write_dataset",
]
