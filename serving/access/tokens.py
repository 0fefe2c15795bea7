"""Bearer tokens: signed JSON Web Tokens (RFC 7519) of one issuer for one audience."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Any

import jwt

from recsys.errors import InvalidRequest, Unauthenticated
from serving.access.caller import PRIORITIES, ROLES, Caller
from serving.access.renewed import Renewed
from serving.access.token_keys import ALGORITHMS

# Verified tokens that are remembered, so that a call pays for a hash and not for a signature.
_REMEMBERED = 4_096

_NOT_ACCEPTED = "the token is not accepted; get a new one from the issuer of this service's tokens"

# Said only of tokens whose signature is right, but for the last one.
_TEXT: dict[type[jwt.PyJWTError], str] = {
    jwt.ExpiredSignatureError: "the token has expired; get a new one",
    jwt.ImmatureSignatureError: "the token is not valid yet; wait, or set the clocks right",
    jwt.InvalidAudienceError: "the token is for another audience; get one for this service",
    jwt.PyJWTError: _NOT_ACCEPTED,
}


class Tokens:
    """Verifies tokens; ``leeway_s`` is how far clocks may differ. For one event loop."""

    def __init__(
        self,
        keys: Renewed[Mapping[str, jwt.PyJWK]],
        *,
        issuer: str,
        audience: str,
        leeway_s: int,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._renewed = keys
        self._issuer = issuer
        self._audience = audience
        self._leeway_s = leeway_s
        self._now = now
        self._keys = keys.get()
        # By the token's hash: the caller, and when it stops being one.
        self._verified: OrderedDict[bytes, tuple[Caller, int]] = OrderedDict()

    def caller_of(self, token: str) -> Caller:
        """Return who may use the token.

        Raises:
            Unauthenticated: nobody may, or not now.
        """
        keys = self._renewed.get()
        if keys is not self._keys:
            self._keys = keys
            self._verified.clear()  # a key that is gone takes its tokens along
        digest = sha256(token.encode()).digest()
        known = self._verified.get(digest)
        if known is None:
            known = self._verify(token)
            self._verified[digest] = known
            if len(self._verified) > _REMEMBERED:
                self._verified.popitem(last=False)
        else:
            self._verified.move_to_end(digest)
        caller, until = known
        if self._now() >= until:
            del self._verified[digest]
            raise Unauthenticated(_TEXT[jwt.ExpiredSignatureError])
        return caller

    def _verify(self, token: str) -> tuple[Caller, int]:
        try:
            claims = jwt.decode(
                token,
                self._keys[jwt.get_unverified_header(token)["kid"]],
                algorithms=ALGORITHMS,
                issuer=self._issuer,
                audience=self._audience,
                leeway=self._leeway_s,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except KeyError:
            raise Unauthenticated(_NOT_ACCEPTED) from None
        except jwt.PyJWTError as error:
            text = next(_TEXT[cls] for cls in type(error).__mro__ if cls in _TEXT)
            raise Unauthenticated(text) from None
        return _caller_from(claims), int(claims["exp"]) + self._leeway_s


def _caller_from(claims: Mapping[str, Any]) -> Caller:
    roles, priority = claims.get("roles", ()), claims.get("priority", PRIORITIES[0])
    if isinstance(roles, str):
        roles = roles.split()
    if not isinstance(roles, Sequence) or not all(isinstance(role, str) for role in roles):
        raise Unauthenticated('the token\'s claim "roles" is neither a list of texts nor a text; have it corrected')
    if priority not in PRIORITIES:
        raise Unauthenticated(f'the token\'s claim "priority" is none of {", ".join(PRIORITIES)}; have it corrected')
    try:
        # Roles that are not ours belong to other services of the issuer.
        return Caller(name=claims["sub"], roles=frozenset(roles) & frozenset(ROLES), priority=priority)
    except InvalidRequest as error:
        raise Unauthenticated(f'the token\'s claim "sub" cannot be used: {error}') from None
