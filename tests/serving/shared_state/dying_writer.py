"""Tells a shared state a log, in a process that may be killed at any moment; started anew for every line on stdin.

Everything slow is done before the first fork. Each child catches up with the whole log and says "done".
"""

from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path

import structlog

from recsys.features import FeatureState
from serving.shared_state import RedisSettings, RedisState
from serving.shared_state import batch as batches


def main() -> None:
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    url, prefix, log = sys.argv[1:]
    catalog, told = pickle.loads(Path(log).read_bytes())  # noqa: S301 - written by the test
    bundled = FeatureState(catalog)
    # Compiles all that is needed, and leaves no thread behind.
    state = RedisState(url, bundled, "bundle-1", RedisSettings(prefix=f"{prefix}-before", connections=1))
    state.catch_up("log-a", lambda _: told[:20])
    state.close()
    batches.MOST_EVENTS = 4  # many commits, so that many moments are between two of them
    for _ in sys.stdin:
        child = os.fork()
        if child == 0:
            print(os.getpid(), flush=True)
            state = RedisState(url, bundled, "bundle-1", RedisSettings(prefix=prefix, connections=1))
            print("begins", flush=True)
            told_all = state.catch_up("log-a", lambda heard: [each for each in told if each.sequence > heard])
            print("done" if told_all else "behind", flush=True)
            os._exit(0)
        os.waitpid(child, 0)
        print("ended", flush=True)


if __name__ == "__main__":
    main()
