"""Who calls: a verified name, the roles it has, and the highest priority it may ask for."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass

from structlog.contextvars import bind_contextvars

from recsys.schema import check_id

ROLES = ("rank", "write", "admin")
# Highest first.
PRIORITIES = ("interactive", "prefetch", "batch")


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """A caller that was verified; ``priority`` is the highest of ``PRIORITIES`` that it may use.

    ``name`` is written into the log: it is that of a program, given by whoever runs the service.
    """

    name: str
    roles: frozenset[str]
    priority: str = PRIORITIES[0]

    def __post_init__(self) -> None:
        check_id("a caller's name", self.name)
        assert self.priority in PRIORITIES, self.priority  # noqa: S101 - who makes callers checks what it read


# Everybody, where the server asks for no credentials.
ANYBODY = Caller(name="anybody", roles=frozenset(ROLES))

_current: ContextVar[Caller] = ContextVar("caller")


def current() -> Caller:
    """Return who makes the call that is being answered; known in its task, not in the threads that compute for it.

    Raises:
        LookupError: no call is being answered here.
    """
    return _current.get()


def now_calls(caller: Caller) -> None:
    """Let ``current`` return the caller for the rest of this task, and the log name it unless it is anybody."""
    _current.set(caller)
    if caller is not ANYBODY:
        bind_contextvars(caller=caller.name)
