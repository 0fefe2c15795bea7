"""Who gives way to whom: while callers of a higher priority are refused, and a while after, others are not let in.

Then more and more of them are. Where somebody is refused again as soon as some were let in, they yield for longer, as a
sender does who meets congestion (Jacobson, "Congestion Avoidance and Control", SIGCOMM 1988). Otherwise they would get
what people do without.
"""

from __future__ import annotations

import math

# How much of the queue each priority may fill, of ``serving.access.caller.PRIORITIES``; the highest first.
SHARES = {"interactive": 1.0, "prefetch": 0.5, "batch": 0.25}
PEOPLE = next(iter(SHARES))
_HIGHER = {priority: tuple(SHARES)[:place] for place, priority in enumerate(SHARES)}

# For so long after a refusal callers count as being refused.
_RECENT_S = 0.5
# For how long others yield, and after that in how many times as long the door opens to them; how much longer they yield
# where somebody is refused in the first half of that, and how much shorter in the second.
LEAST_S = 0.5
_MOST_S, _OPENS, _TOO_EARLY, _IN_TIME = 10.0, 2, 4, 0.5


class Yielding:
    """What is known of the refusals of each priority; for one thread at a time, which says what time it is."""

    def __init__(self) -> None:
        self._refused_at = dict.fromkeys(SHARES, -math.inf)
        self._refused_since = dict.fromkeys(SHARES, -math.inf)  # and never for half a second not
        self._length_s = dict.fromkeys(SHARES, LEAST_S)
        self._until = dict.fromkeys(SHARES, -math.inf)
        self._let_in = dict.fromkeys(SHARES, False)  # others, since then
        self._turns = dict.fromkeys(SHARES, 0.0)

    def let_in(self, priority: str) -> None:
        """Note that somebody was let in."""
        for each in _HIGHER[priority]:
            self._let_in[each] = True

    def note(self, priority: str, now: float) -> None:
        """Note that somebody was refused."""
        if not self.lately(priority, now):
            self._refused_since[priority] = now
        self._refused_at[priority] = now
        open_s, length_s = now - self._until[priority], self._length_s[priority]
        if open_s > _OPENS * length_s:
            length_s = LEAST_S
        elif open_s > _OPENS * length_s / 2:
            length_s = max(_IN_TIME * length_s, LEAST_S)
        elif open_s > 0 and self._let_in[priority]:
            length_s = min(_TOO_EARLY * length_s, _MOST_S)
        if open_s > 0:
            self._let_in[priority] = False
        self._length_s[priority], self._until[priority] = length_s, now + length_s

    def lately(self, priority: str, now: float) -> bool:
        """Tell whether somebody of a priority was refused within the last half second."""
        return now <= self._refused_at[priority] + _RECENT_S

    def people_refused_s(self, now: float) -> float | None:
        """Return for how long people have been refused, never half a second apart; None where they are not."""
        return now - self._refused_since[PEOPLE] if self.lately(PEOPLE, now) else None

    def left_s(self, priority: str, now: float) -> float:
        """Return for how many seconds more a priority yields; 0 or less where it does not."""
        higher = _HIGHER[priority]
        return max([self._until[each] for each in higher]) - now if higher else 0.0

    def has_turn(self, priority: str, now: float) -> bool:
        """Let in the next one of a priority, or only some, while the door is opening to it."""
        higher = _HIGHER[priority]
        if not higher:
            return True
        share = min([(now - self._until[each]) / (_OPENS * self._length_s[each]) for each in higher])
        if share >= 1:
            return True
        self._turns[priority] += share
        if self._turns[priority] < 1:
            return False
        self._turns[priority] -= 1
        return True
