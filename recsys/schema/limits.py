"""How long ids, texts and lists may be."""

from __future__ import annotations

from recsys.errors import InvalidRequest

MAX_CANDIDATES = 1_000
MAX_HISTORY = 1_000
MAX_ID_BYTES = 128
MAX_TEXT_BYTES = 8_192


def check_id(kind: str, value: str, *, empty: bool = False) -> None:
    """Refuse an id that is too long, or empty where it must not be; raises InvalidRequest."""
    if 0 < len(value) <= MAX_ID_BYTES // 4:  # no letter takes more than four bytes
        return
    if not value and not empty:
        raise InvalidRequest(f"{kind} is empty; send a non-empty id")
    if len(value.encode()) > MAX_ID_BYTES:
        raise InvalidRequest(f"{kind} is longer than {MAX_ID_BYTES} bytes; send a shorter id")


def check_text(kind: str, value: str) -> None:
    """Refuse a text that is too long; raises InvalidRequest."""
    if len(value.encode()) > MAX_TEXT_BYTES:
        raise InvalidRequest(f"{kind} is longer than {MAX_TEXT_BYTES} bytes; shorten the text")
