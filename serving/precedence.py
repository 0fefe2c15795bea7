"""Who goes first where cores are short: the threads that finish what was let in, before the one that lets more in.

On a busy core the event loop, which reads and refuses, would get as large a share as the ranking, however little of
what it reads can be answered.
"""

from __future__ import annotations

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

# Steps of niceness. With three, the loop has no time to tell people from batches before gRPC drops them unread; with
# less, it spends on refusals what rankings need (docs/experiments.md).
_STEPS = 2
_START_S = 10


def give_way(executor: ThreadPoolExecutor, threads: int) -> None:
    """Let the executor's threads go before the calling one, and before those that it starts from now on.

    Threads inherit niceness, and without rights nobody can take it back; so the executor's are started first.
    """
    if sys.platform != "linux":  # elsewhere niceness is the whole process's
        return
    started = threading.Barrier(threads + 1)
    for _ in range(threads):
        executor.submit(started.wait, _START_S)
    started.wait(_START_S)
    me = threading.get_native_id()
    os.setpriority(os.PRIO_PROCESS, me, min(19, os.getpriority(os.PRIO_PROCESS, me) + _STEPS))
