"""Groups of users and the bundles that answer them: every server and every restart divides users alike."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import accumulate

from recsys.errors import ConfigError, InvalidRequest
from recsys.schema import RankRequest

MOST_VARIANTS = 16
_NAME = re.compile(r"[A-Za-z0-9_-]{1,32}")
_MOST_SALT_BYTES = 64
# A sum of shares such as 0.1 + 0.2 + 0.7 is a little more than 1.
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A group of users; ``bundle_id`` is empty where whichever bundle serves answers it, ``share`` from 0 to 1."""

    name: str
    bundle_id: str
    share: float

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InvalidRequest("a variant's name is not of 1 to 32 letters, digits, - and _; name it otherwise")
        if not 0 <= self.share <= 1:
            raise InvalidRequest(f"a variant's share is {self.share:g}; give 0 to 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Variants:
    """Named groups that together hold at most all users, and the key by which users are divided."""

    variants: tuple[Variant, ...] = ()
    salt: str = ""
    _ends: tuple[float, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.variants) > MOST_VARIANTS:
            raise InvalidRequest(f"{len(self.variants)} variants are more than {MOST_VARIANTS}; send fewer")
        if len({variant.name for variant in self.variants}) < len(self.variants):
            raise InvalidRequest("two variants have the same name; name each otherwise")
        if len(self.salt.encode()) > _MOST_SALT_BYTES:
            raise InvalidRequest(f"the salt is longer than {_MOST_SALT_BYTES} bytes; send a shorter word")
        ends = tuple(accumulate(variant.share for variant in self.variants))
        if ends and ends[-1] > 1 + _ROUNDING:
            raise InvalidRequest(f"the shares of the variants are {ends[-1]:g} together; make that 1 at most")
        object.__setattr__(self, "_ends", ends)

    def named(self, name: str) -> Variant | None:
        """Return the variant of a name."""
        return next((variant for variant in self.variants if variant.name == name), None)

    def of(self, request: RankRequest) -> Variant | None:
        """Return the variant that a request's user is assigned to; one without a user goes by its request id.

        The user's place between 0 and 1 is a keyed BLAKE2b hash, which of different salts says nothing of each other.
        """
        if not self.variants:
            return None
        kind, name = (b"user", request.user_id) if request.user_id else (b"request", request.request_id)
        digest = blake2b(name.encode(), digest_size=8, key=self.salt.encode(), person=kind).digest()
        place = int.from_bytes(digest, "big") / 2**64
        return next((each for each, end in zip(self.variants, self._ends, strict=True) if place < end), None)


def variants_of_text(text: str, salt: str = "") -> Variants:
    """Read variants as a setting has them: ``NAME=BUNDLE_ID:SHARE,...``, without BUNDLE_ID for whichever serves.

    Raises:
        ConfigError: it is something else.
    """
    try:
        return Variants(variants=tuple(_variants(text.split(",") if text else ())), salt=salt)
    except InvalidRequest as error:
        raise ConfigError(str(error)) from None


def shadow_of_text(text: str) -> tuple[str, float]:
    """Read a shadow as a setting has it: ``BUNDLE_ID:SHARE``; empty is none.

    Raises:
        ConfigError: it is something else.
    """
    if not text:
        return "", 0.0
    bundle_id, _, said = text.partition(":")
    if not bundle_id or not 0 < (share := _share(said or "0")) <= 1:
        raise ConfigError(
            "a shadow is not of the form BUNDLE_ID:SHARE with a share above 0, 1 at most; say it so, such as ID:0.1"
        )
    return bundle_id, share


def _variants(parts: Iterable[str]) -> Iterable[Variant]:
    for part in parts:
        name, equals, rest = part.strip().partition("=")
        bundle_id, colon, share = rest.partition(":")
        if not equals or not colon:
            raise ConfigError("a variant is not of the form NAME=BUNDLE_ID:SHARE; say it so, such as new=ID:0.1")
        yield Variant(name=name, bundle_id=bundle_id, share=_share(share))


def _share(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"{text!r} is no share; give a number from 0 to 1") from None
