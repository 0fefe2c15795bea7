"""A feature state as bytes: its columns in one safetensors file, no pickle."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from recsys.errors import BundleError
from recsys.features.keys import Keys, append_all, empty_index
from recsys.features.tables import Items, Keyed, Tables, Users, columns_of, empty_tables, grown

FORMAT = 3
_KEYED = ("items", "users", "categories", "surfaces")


def dump(tables: Tables, value_keys: Keys, fingerprint: str) -> bytes:
    """Write what a state has learned."""
    arrays: dict[str, npt.NDArray[Any]] = {
        "format": np.array([FORMAT]),
        "fingerprint": np.frombuffer(fingerprint.encode(), np.uint8),
        "value_keys": value_keys,
        "values": tables.values,
        "places": tables.places,
        "overall": tables.overall,
    }
    for table_name in _KEYED:
        table: Items | Users | Keyed = getattr(tables, table_name)
        used = int(table.used[0])
        arrays |= {f"{table_name}.{name}": column[:used] for name, column in columns_of(table).items()}
    return bytes(save_tensors({name: np.ascontiguousarray(array) for name, array in arrays.items()}))


def load(data: bytes) -> tuple[Tables, Keys, str]:
    """Read the tables, the key of each attribute value, and the fingerprint of the features they were made for.

    Raises:
        BundleError: this is no snapshot, or one of another format.
    """
    try:
        arrays = load_tensors(data)
        if arrays["format"].tolist() != [FORMAT]:
            raise BundleError(
                f"the feature state has format {arrays['format'].tolist()}, this build reads {FORMAT}; train again"
            )
        sizes = {name: len(arrays[f"{name}.keys"]) for name in _KEYED}
        tables = empty_tables(values=len(arrays["values"]), items=max(sizes["items"], 1), users=max(sizes["users"], 1))
        tables.values[:], tables.places[:] = arrays["values"], arrays["places"]
        tables.overall[:] = arrays["overall"]
        filled = {}
        for name, used in sizes.items():
            table = grown(getattr(tables, name), used)
            _fill(table, arrays, name, used)
            table.used[0] = used
            filled[name] = _indexed(table)
        return tables._replace(**filled), arrays["value_keys"], arrays["fingerprint"].tobytes().decode()
    except (SafetensorError, KeyError, ValueError, TypeError, IndexError) as error:
        raise BundleError(f"the feature state is damaged ({error}); publish the bundle again") from error


def _fill(table: Items | Users | Keyed, arrays: dict[str, npt.NDArray[Any]], name: str, used: int) -> None:
    for column_name, column in columns_of(table).items():
        written = arrays[f"{name}.{column_name}"]
        if written.dtype != column.dtype or written.shape != (used, *column.shape[1:]):
            raise ValueError(f"{name}.{column_name} has the shape {written.shape} of {written.dtype}")
        column[:used] = written


def _indexed(table: Any) -> Any:
    """Rebuild the index, which is not written."""
    cells, slots = empty_index(table.keys.size)
    append_all(cells, slots, table.keys[: table.used[0]], 0)
    return table._replace(cells=cells, slots=slots)
