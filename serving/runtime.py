"""How Python, gRPC, Polars and LightGBM run in a server; settled before those are imported, which read it then."""

from __future__ import annotations

import os
import sys

from recsys.crew import usable_cores

# gRPC's event engine hands each message of a listener to a pool of threads of its own. Without it the thread that waits
# for events reads the message, too: a call costs a tenth less, a dropped one a quarter (docs/decisions/0019).
# Polars has an allocator of its own, jemalloc, which keeps what was freed, apart for every few threads, in case it is
# needed again: megabytes for each item that changes, in a server that asks Polars for little and seldom.
# Polars and LightGBM work here while a bundle is loaded, beside one that answers, to which they would leave no core.
# What OpenMP is told, numpy's BLAS hears too; nothing here asks it.
ENVIRONMENT = {
    "GRPC_EXPERIMENTS": "-event_engine_listener",
    "_RJEM_MALLOC_CONF": "narenas:1,dirty_decay_ms:0,muzzy_decay_ms:0",
    "POLARS_MAX_THREADS": str(max(1, usable_cores() // 2)),
    "OMP_NUM_THREADS": "1",
}
# How long a thread that computes may keep Python's lock while the event loop waits for it: Python's own 5 ms are longer
# than a ranking (docs/experiments.md has figures).
_SWITCH_S = 0.0005


def settle() -> None:
    """Settle it for this process; what the environment says already stays as it is."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    sys.setswitchinterval(_SWITCH_S)
