"""What the log writes instead of an id that a caller chose: the same for the same id, and of no use without the key."""

from __future__ import annotations

import hmac
import secrets
from pathlib import Path
from typing import Self

from recsys.errors import ConfigError

_KEY_BYTES = 32
_DIGITS = 16


class Pseudonyms:
    """Names ids by HMAC-SHA256; a plain hash would not do, because ids can be guessed and hashed too."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    @classmethod
    def read(cls, path: Path | None) -> Self:
        """Take the key from a file; without one, make one that lasts as long as this process.

        Raises:
            ConfigError: the file cannot be read, or is too short to be a key.
        """
        if path is None:
            return cls(secrets.token_bytes(_KEY_BYTES))
        try:
            key = path.read_bytes().strip()
        except OSError as error:
            raise ConfigError(f"the log key {path} cannot be read: {error.strerror}; give a readable file") from None
        if len(key) < _KEY_BYTES:
            raise ConfigError(
                f"the log key {path} is shorter than {_KEY_BYTES} bytes; make one with `openssl rand -hex {_KEY_BYTES}`"
            )
        return cls(key)

    def of(self, name: str) -> str:
        """Return the pseudonym of an id: 16 hexadecimal digits."""
        return hmac.digest(self._key, name.encode(), "sha256").hex()[:_DIGITS]
