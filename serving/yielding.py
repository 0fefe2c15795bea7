"""Who gives way to whom: while callers of a higher priority are refused, and a while after, others are not let in.

Then more and more of them are. Where that has somebody refused again, they yield for longer the next time, as a sender
does who meets congestion (Jacobson, "Congestion Avoidance and Control", SIGCOMM 1988). Otherwise they would get what
people do without.
"""

from __future__ import annotations

import math

# How much of the queue each priority may fill, of ``serving.access.caller.PRIORITIES``; the highest first.
SHARES = {"interactive": 1.0, "prefetch": 0.5, "batch": 0.25}
PEOPLE = next(iter(SHARES))
_HIGHER = {priority: tuple(SHARES)[:place] for place, priority in enumerate(SHARES)}

# For so long after a refusal callers count as being refused.
RECENT_S = 0.5
# For how long others yield, and after that in how many times as long the door opens to them; how much longer they yield
# where somebody is refused meanwhile.
LEAST_S = 0.5
_MOST_S, _OPENS, _TOO_EARLY = 10.0, 2, 4


class Yielding:
    """What is known of the refusals of each priority; for one thread at a time, which says what time it is."""

    def __init__(self) -> None:
        self._refused_at = dict.fromkeys(SHARES, -math.inf)
        self._refused_since = dict.fromkeys(SHARES, -math.inf)  # and never for half a second not
        self._length_s = dict.fromkeys(SHARES, LEAST_S)
        self._until = dict.fromkeys(SHARES, -math.inf)
        self._turns = dict.fromkeys(SHARES, 0.0)

    def note(self, priority: str, now: float) -> None:
        """Note that somebody was refused."""
        if not self.lately(priority, now):
            self._refused_since[priority] = now
        self._refused_at[priority] = now
        open_s = now - self._until[priority]
        if open_s > _OPENS * self._length_s[priority]:
            self._length_s[priority] = LEAST_S
        elif open_s > 0:
            self._length_s[priority] = min(_TOO_EARLY * self._length_s[priority], _MOST_S)
        self._until[priority] = now + self._length_s[priority]

    def lately(self, priority: str, now: float) -> bool:
        """Tell whether somebody of a priority was refused within the last half second."""
        return now <= self._refused_at[priority] + RECENT_S

    def people_refused_s(self, now: float) -> float | None:
        """Return for how long people have been refused, never half a second apart; None where they are not."""
        return now - self._refused_since[PEOPLE] if self.lately(PEOPLE, now) else None

    def left_s(self, priority: str, now: float) -> float:
        """Return for how many seconds more a priority yields; 0 or less where it does not."""
        return max((self._until[each] - now for each in _HIGHER[priority]), default=0.0)

    def has_turn(self, priority: str, now: float) -> bool:
        """Let in the next one of a priority, or only some, while the door is opening to it."""
        opened = ((now - self._until[each]) / (_OPENS * self._length_s[each]) for each in _HIGHER[priority])
        if (share := min(opened, default=1.0)) >= 1:
            return True
        self._turns[priority] += share
        if self._turns[priority] < 1:
            return False
        self._turns[priority] -= 1
        return True
