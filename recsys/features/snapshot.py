"""A feature state as bytes: arrays and ids in one safetensors file, no pickle."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from recsys.errors import BundleError
from recsys.features.build import Logs
from recsys.features.log import ActionLog, CountLog, PairLog

FORMAT = 1
_KINDS: dict[str, type[CountLog | ActionLog]] = {
    "overall": CountLog,
    "items": CountLog,
    "users": CountLog,
    "values": CountLog,
    "pairs.counts": CountLog,
    "liked": ActionLog,
    "disliked": ActionLog,
}


def dump(logs: Logs, item_ids: list[str], user_ids: list[str], fingerprint: str) -> bytes:
    """Write logs and ids."""
    arrays: dict[str, npt.NDArray[Any]] = {
        "axis": logs.axis,
        "pairs.pairs": logs.pairs.pairs,
        "fingerprint": np.frombuffer(fingerprint.encode(), np.uint8),
        "format": np.array([FORMAT]),
    }
    for name, kind in _KINDS.items():
        log = logs.pairs.counts if name == "pairs.counts" else getattr(logs, name)
        arrays |= {f"{name}.{each.name}": np.asarray(getattr(log, each.name)) for each in fields(kind)}
    for name, ids in (("item_ids", item_ids), ("user_ids", user_ids)):
        encoded = [each.encode() for each in ids]
        arrays[name] = np.frombuffer(b"".join(encoded), np.uint8)
        arrays[f"{name}.ends"] = np.cumsum([len(each) for each in encoded], dtype=np.int64)
    return bytes(save_tensors({name: np.ascontiguousarray(array) for name, array in arrays.items()}))


def load(data: bytes) -> tuple[Logs, list[str], list[str], str]:
    """Read logs, item ids, user ids and the fingerprint of the features that they were built for.

    Raises:
        BundleError: this is no snapshot, or one of another format.
    """
    try:
        arrays = load_tensors(data)
        if arrays["format"].tolist() != [FORMAT]:
            raise BundleError(
                f"the feature state has format {arrays['format']}, this build reads {FORMAT}; train again"
            )
        logs = {name: _read(arrays, name, kind) for name, kind in _KINDS.items()}
        item_ids, user_ids = _ids(arrays, "item_ids"), _ids(arrays, "user_ids")
        pairs = PairLog(pairs=arrays["pairs.pairs"], counts=logs.pop("pairs.counts"), items=len(item_ids))
        return (
            Logs(axis=arrays["axis"], pairs=pairs, **logs),
            item_ids,
            user_ids,
            arrays["fingerprint"].tobytes().decode(),
        )
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise BundleError(f"the feature state is damaged ({error}); publish the bundle again") from error


def _read(arrays: dict[str, npt.NDArray[Any]], name: str, kind: Any) -> Any:
    found: dict[str, Any] = {each.name: arrays[f"{name}.{each.name}"] for each in fields(kind)}
    return kind(**{field: array if array.ndim else int(array) for field, array in found.items()})


def _ids(arrays: dict[str, npt.NDArray[Any]], name: str) -> list[str]:
    text, ends = arrays[name].tobytes(), arrays[f"{name}.ends"].tolist()
    return [text[start:end].decode() for start, end in zip([0, *ends[:-1]], ends, strict=True)]
