"""How much of the server one caller may have: candidates a second, and rankings at a time, from a TOML file.

A token bucket for each caller holds a second's worth. A request is let in while the bucket holds anything, and its
candidates are taken out once they are counted, so nothing has to be read of a request that is refused; what a large one
took too much is waited for by the next ones.
"""

from __future__ import annotations

import threading
import time
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from recsys.errors import Overloaded
from serving.access.renewed import Renewed
from serving.refusals import Reason, Refusals

# Stands for each caller that has no entry of its own.
OTHERS = "*"
_FIELDS = {"name", "candidates_per_s", "in_flight"}
# When a ranking that is being made may be over.
_SOON_S = 0.05
# Callers whose buckets are remembered: a full one says nothing.
_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """What one caller may have; None is as much as there is."""

    candidates_per_s: float | None = None
    in_flight: int | None = None


class Quotas:
    """Holds callers to their quotas; for any thread."""

    def __init__(
        self,
        quotas: Renewed[Mapping[str, Quota]],
        refusals: Refusals,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._quotas = quotas
        self._refusals = refusals
        self._now = now
        self._lock = threading.Lock()
        self._in_flight: Counter[str] = Counter()
        self._buckets: dict[str, tuple[float, float]] = {}  # what is in it, and when that was so

    def check(self, caller: str) -> None:
        """Say whether a caller may ask for a ranking now.

        Raises:
            Overloaded: it has had, or has, as much as its quota allows; says when to try again.
        """
        quota = self._of(caller)
        with self._lock:
            if quota.in_flight is not None and self._in_flight[caller] >= quota.in_flight:
                self._refuse(f"{quota.in_flight} rankings at a time are this caller's quota", _SOON_S)
            if quota.candidates_per_s is not None:
                held = self._held(caller, quota.candidates_per_s)
                if held <= 0:
                    says = f"{quota.candidates_per_s:g} candidates a second are this caller's quota"
                    self._refuse(says, max(_SOON_S, -held / quota.candidates_per_s))

    @contextmanager
    def taken(self, caller: str, candidates: int) -> Iterator[None]:
        """Count a ranking of so many candidates against its caller's quota, for as long as the block runs.

        Raises:
            Overloaded: as ``check``: others may have come in while this one was read.
        """
        self.check(caller)
        quota = self._of(caller)
        with self._lock:
            self._in_flight[caller] += 1
            if quota.candidates_per_s is not None:
                held = self._held(caller, quota.candidates_per_s)
                if len(self._buckets) >= _REMEMBERED:
                    self._buckets.clear()
                self._buckets[caller] = held - candidates, self._now()
        try:
            yield
        finally:
            with self._lock:
                self._in_flight[caller] -= 1
                if not self._in_flight[caller]:
                    del self._in_flight[caller]

    def _of(self, caller: str) -> Quota:
        quotas = self._quotas.get()
        return quotas.get(caller) or quotas.get(OTHERS) or Quota()

    def _held(self, caller: str, rate: float) -> float:
        now = self._now()
        held, since = self._buckets.get(caller, (rate, now))
        return min(rate, held + (now - since) * rate)

    def _refuse(self, says: str, after_s: float) -> None:
        self._refusals.add(Reason.QUOTA)
        raise Overloaded(f"{says}; send fewer, or have it raised", after_s=after_s)


def read_quotas(data: bytes) -> Mapping[str, Quota]:
    """Read quotas by callers' names.

    Raises:
        ValueError: it is no such file; says where.
    """
    try:
        listed = tomllib.loads(data.decode())["quota"]
    except (ValueError, KeyError, RecursionError):
        listed = None
    if not isinstance(listed, list):
        raise ValueError("it is no TOML in UTF-8 with [[quota]] tables")  # noqa: TRY004 - it is the file that is wrong
    quotas: dict[str, Quota] = {}
    for place, entry in enumerate(listed, start=1):
        name, quota = _quota(entry, f"quota {place}")
        if quotas.setdefault(name, quota) is not quota:
            raise ValueError(f"quota {place} is for a caller that an earlier one is for too")
    return quotas


def _quota(entry: Any, place: str) -> tuple[str, Quota]:
    if not isinstance(entry, dict) or not {"name"} < entry.keys() <= _FIELDS:
        raise ValueError(f"{place} needs name, and candidates_per_s, in_flight or both, and nothing else")
    name, rate, in_flight = entry["name"], entry.get("candidates_per_s"), entry.get("in_flight")
    if not isinstance(name, str) or not name:
        raise ValueError(f"name of {place} is no caller's name, nor {OTHERS} for all others")
    if rate is not None and (
        isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate < float("inf")
    ):
        raise ValueError(f"candidates_per_s of {place} is no number above 0")
    if in_flight is not None and (isinstance(in_flight, bool) or not isinstance(in_flight, int) or in_flight < 1):
        raise ValueError(f"in_flight of {place} is no whole number from 1 on")
    return name, Quota(candidates_per_s=rate, in_flight=in_flight)
