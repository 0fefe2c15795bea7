"""A feature state as bytes: its columns in one safetensors file, no pickle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save as save_tensors

from recsys.errors import BundleError
from recsys.features.keys import Keys, append_all, empty_index
from recsys.features.tables import Items, Keyed, Tables, Users, columns_of, empty_tables, grown
from recsys.gentle import rest
from recsys.tensors import read_tensors

FORMAT = 4
# Bytes that are copied at a stretch, into memory that nobody has written to before.
_PIECE = 1 << 17
_KEYED = ("items", "users", "categories", "surfaces")


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The tables, the key of each attribute value, the features they were made for, and up to where logs are known."""

    tables: Tables
    value_keys: Keys
    fingerprint: str
    versions: Mapping[str, int]


def columns(tables: Tables) -> dict[str, npt.NDArray[Any]]:
    """Copy everything that a state has learned, by name."""
    arrays: dict[str, npt.NDArray[Any]] = {
        "values": tables.values.copy(),
        "places": tables.places.copy(),
        "overall": tables.overall.copy(),
    }
    for table_name in _KEYED:
        table: Items | Users | Keyed = getattr(tables, table_name)
        used = int(table.used[0])
        arrays |= {f"{table_name}.{name}": column[:used].copy() for name, column in columns_of(table).items()}
    return arrays


def dump(
    copied: Mapping[str, npt.NDArray[Any]], value_keys: Keys, fingerprint: str, versions: Mapping[str, int]
) -> bytes:
    """Write what ``columns`` has copied."""
    arrays: dict[str, npt.NDArray[Any]] = {
        "format": np.array([FORMAT]),
        "fingerprint": _text(fingerprint),
        "value_keys": value_keys,
        "logs": _text("\n".join(versions)),
        "sequences": np.array(list(versions.values()), np.int64),
    }
    return bytes(save_tensors({**copied, **arrays}))


def load(data: bytes) -> Snapshot:
    """Read what ``dump`` wrote.

    Raises:
        BundleError: this is no snapshot, or one of another format.
    """
    try:
        arrays = read_tensors(data)
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
        logs = arrays["logs"].tobytes().decode().split("\n")
        return Snapshot(
            tables=tables._replace(**filled),
            value_keys=arrays["value_keys"],
            fingerprint=arrays["fingerprint"].tobytes().decode(),
            versions=dict(zip(logs, arrays["sequences"].tolist(), strict=False)),
        )
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise BundleError(f"the feature state is damaged ({error}); publish the bundle again") from error


def _text(text: str) -> npt.NDArray[np.uint8]:
    return np.frombuffer(text.encode(), np.uint8)


def _fill(table: Items | Users | Keyed, arrays: dict[str, npt.NDArray[Any]], name: str, used: int) -> None:
    for column_name, column in columns_of(table).items():
        written = arrays[f"{name}.{column_name}"]
        if written.dtype != column.dtype or written.shape != (used, *column.shape[1:]):
            raise ValueError(f"{name}.{column_name} has the shape {written.shape} of {written.dtype}")
        rows = max(1, _PIECE // column[:1].nbytes)
        for begin in range(0, used, rows):
            column[begin : min(begin + rows, used)] = written[begin : begin + rows]
            rest()


def _indexed(table: Any) -> Any:
    """Rebuild the index, which is not written."""
    cells, slots = empty_index(table.keys.size)
    append_all(cells, slots, table.keys[: table.used[0]], 0)
    return table._replace(cells=cells, slots=slots)
