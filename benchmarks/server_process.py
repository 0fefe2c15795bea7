"""A server in a process of its own, for as long as a benchmark needs it."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import uvloop

from serving.runtime import ENVIRONMENT, settle


@contextmanager
def process(serve: Callable[..., Any], *given: Any, settled: bool = True) -> Iterator[Any]:
    """Run a server in a process of its own; yields what it sends first, its address or several.

    ``settled`` says whether gRPC and other libraries run in it as in ours, or as they come.

    Raises:
        RuntimeError: it did not come up; with the end of its log.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    with tempfile.NamedTemporaryFile(suffix=".log") as log:
        child = context.Process(target=_run, args=(serve, given, theirs, log.name), daemon=True)
        # It imports gRPC before it is asked to do anything.
        with patch.dict(os.environ, {**ENVIRONMENT, **os.environ} if settled else {}):
            child.start()
        theirs.close()
        try:
            yield ours.recv()
        except EOFError:
            raise RuntimeError(f"the server did not start: {Path(log.name).read_text()[-2_000:]}") from None
        finally:
            ours.close()  # tells it to stop
            child.join(15)


def _run(serve: Callable[..., Any], given: tuple[Any, ...], pipe: Any, log: str) -> None:
    with Path(log).open("a", encoding="utf-8") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.environ.setdefault("RECSYS_LADDER", "false")  # figures are of full rankings, also where more is asked than fits
    settle()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # as ``recsys serve``
        runner.run(serve(pipe, *given))
