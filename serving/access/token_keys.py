"""The public keys that tokens may be signed with, from a JWKS file (RFC 7517)."""

from __future__ import annotations

import json
from collections.abc import Mapping

from jwt import PyJWK, PyJWTError

# Fixed, and each key is bound to one: a token cannot choose how it is verified. No symmetric one, because whoever can
# verify could then sign.
ALGORITHMS = ("RS256", "ES256", "EdDSA")


def read_keys(data: bytes) -> Mapping[str, PyJWK]:
    """Read the keys by their ``kid``; keys of other uses or algorithms are passed over, as issuers publish such too.

    Raises:
        ValueError: the file holds no usable key, or one that is private, too short, or called as another one.
    """
    try:
        listed = json.loads(data)["keys"]
        named = [(entry["kid"], entry) for entry in listed if entry.get("use", "sig") == "sig"]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise ValueError('it is no JWKS: a JSON object with "keys", each with its "kid"') from None
    keys: dict[str, PyJWK] = {}
    for place, (kid, entry) in enumerate(named, start=1):
        if "d" in entry:
            raise ValueError(f"key {place} is private, and belongs to the issuer alone; list its public part")
        try:
            key = PyJWK(entry)
        except PyJWTError:
            continue
        if key.algorithm_name not in ALGORITHMS:
            continue
        if key.Algorithm.check_key_length(key.key):
            raise ValueError(f"key {place} is too short to be safe; use RSA from 2048 bits, ES256 or EdDSA")
        if not isinstance(kid, str) or kid in keys:
            raise ValueError(f'key {place} has no "kid" of its own')
        keys[kid] = key
    if not keys:
        raise ValueError(f"it holds no public key for {', '.join(ALGORITHMS)}")
    return keys
