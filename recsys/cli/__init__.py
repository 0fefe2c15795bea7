"""The command line, from what the system says to what the shell is told."""

from __future__ import annotations

import sys

# What serves has its memory and its threads settled before anything is imported that looks how they are to be.
_SERVING = ("serve", "worker")


def main() -> None:
    """Run a command; what the product refuses becomes one readable message and exit code 1."""
    if sys.argv[1:2] and sys.argv[1] in _SERVING:
        from serving.runtime import settle  # noqa: PLC0415

        settle()
    from recsys.cli.commands import app  # noqa: PLC0415
    from recsys.cli.console import fail  # noqa: PLC0415
    from recsys.errors import RecsysError  # noqa: PLC0415

    try:
        app()
    except RecsysError as error:
        fail(error)
    except BrokenPipeError:
        sys.exit(1)
