"""How much may be sent beyond the calls themselves."""

from __future__ import annotations

from threading import Lock

_MOST = 10.0


class Allowance:
    """Tokens: each answered call earns ``share`` of one, each further try costs a whole one; ten at first and at most.

    So further tries are at most ``share`` of the answered calls, and ten: where nothing is answered any more, they end.
    """

    def __init__(self, share: float) -> None:
        self._share = share
        self._tokens = _MOST
        self._lock = Lock()

    def earn(self) -> None:
        """Count an answered call."""
        with self._lock:
            self._tokens = min(_MOST, self._tokens + self._share)

    def spend(self) -> bool:
        """Take a token for a further try; False if there is none."""
        with self._lock:
            # Ten times a tenth is to be one.
            if self._tokens < 1 - 1e-9:
                return False
            self._tokens -= 1
            return True
