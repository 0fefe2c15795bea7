"""How Python, gRPC and memory run in a server process; to be settled before gRPC is imported, which reads it then."""

from __future__ import annotations

import ctypes
import os
import sys

# gRPC's event engine hands each message of a listener to a pool of threads of its own. Without it the thread that waits
# for events reads the message, too: a call costs a tenth less, a dropped one a third (docs/decisions/0019).
ENVIRONMENT = {"GRPC_EXPERIMENTS": "-event_engine_listener"}
# How long a thread that computes may keep Python's lock while the event loop waits for it: Python's own 5 ms are longer
# than a ranking (docs/experiments.md has figures).
_SWITCH_S = 0.0005
# glibc gives each thread an arena of its own, up to eight for each core, and each keeps what was once needed at a time.
# Of two, a server that is used for long grows less, and no slower (docs/experiments.md). The number is M_ARENA_MAX.
_ARENA_MAX, _ARENAS = -8, 2


def settle() -> None:
    """Settle it for this process and those that it starts; what the environment says already stays as it is."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    sys.setswitchinterval(_SWITCH_S)
    if "MALLOC_ARENA_MAX" not in os.environ and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)) is not None:
        mallopt(_ARENA_MAX, _ARENAS)
