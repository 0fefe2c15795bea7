"""Where the server keeps files of its own."""

from __future__ import annotations

from pathlib import Path

from recsys.errors import ConfigError
from serving.config import ServerConfig


def data_directory(config: ServerConfig) -> Path | None:
    """Return the directory of the server's own files, which is there now; None where it is to keep none.

    Raises:
        ConfigError: it cannot be made.
    """
    if config.live is not None:
        try:
            config.live.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"cannot make the data directory {config.live} ({error.strerror}); "
                "make it, correct the permissions, or name another in RECSYS_DATA"
            ) from error
    return config.live
