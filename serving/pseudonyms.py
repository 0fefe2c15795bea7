"""What the log writes instead of an id that a caller chose: the same for the same id, and of no use without the key."""

from __future__ import annotations

import hashlib
import secrets
from pathlib import Path
from typing import Self

from recsys.errors import ConfigError

_KEY_BYTES = 32
_DIGITS = 16


class Pseudonyms:
    """Names ids by keyed BLAKE2b (RFC 7693); without a key it would not do, because ids can be guessed and hashed too.

    Not HMAC: OpenSSL's lets go of Python's lock, and waiting for it again costs a busy server more than the hash.
    """

    def __init__(self, key: bytes) -> None:
        self._key = hashlib.blake2b(key).digest()  # of whatever length it is, as a key of 64 bytes

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
        return hashlib.blake2b(name.encode(), key=self._key, digest_size=_DIGITS // 2).hexdigest()
