"""How a shared state is used; every server that shares one should say the same."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisSettings:
    """``prefix`` keeps products apart that use one database.

    A ranking waits for ``limit_s``; it has up to ``connections`` of its own, as many as there are rankings at a time.
    A writer gives up after ``patience_s`` and is behind from then on. Rows of users, of surfaces and of items that the
    catalog does not know go when nothing was learned of them for ``keep_s``; the marks of events go after ``late_s``:
    give it the server's window for late events. ``seed_wait_s`` is how long a server waits for another one to write the
    bundle's state into the store.
    """

    prefix: str = "recsys"
    limit_s: float = 0.020
    connections: int = 4
    patience_s: float = 5.0
    keep_s: int = 90 * 86_400
    late_s: int = 7 * 86_400
    seed_wait_s: float = 600.0
