"""A receipt of a ranking: all that it was made of, so that it can be made again, looked into, and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from recsys.schema import RankRequest, Rung, RungReason


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What a ranking was asked, what the ranker saw of N candidates, and what was answered.

    ``table`` [N, C] are the very rows that were scored, ``scores`` [N] what came of them, both in the request's order;
    ``order`` are the answered ids, best first. ``time_us`` is the server's clock when the request came, in UTC
    microseconds.

    ``state_versions`` says up to where each event log was known, ``item_sequence`` the same of the item log, None where
    items changed meanwhile. ``items_without_text`` are candidates, ``attended_without_text`` items of the history whose
    text was not read yet. ``variant`` is the group by which the bundle was chosen, "" where it simply served. What
    ``rung`` does without is NaN in the table.
    """

    request: RankRequest
    time_us: int
    bundle_id: str
    table: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float64]
    order: tuple[str, ...]
    text_coverage: float
    state_versions: Mapping[str, int]
    item_sequence: int | None
    items_without_text: tuple[str, ...] = ()
    attended_without_text: tuple[str, ...] = ()
    degraded: tuple[str, ...] = ()
    variant: str = ""
    rung: Rung = Rung.FULL
    rung_reason: RungReason | None = None


def chosen(request_id: str, share: float) -> bool:
    """Tell whether a request is among the ``share`` (0 to 1) that gets receipts; an id is always told the same."""
    return int.from_bytes(blake2b(request_id.encode(), digest_size=8).digest(), "big") < share * 2**64
