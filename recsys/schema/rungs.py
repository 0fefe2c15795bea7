"""The rungs of service: what a ranking is made of where there is not time for all of it, best first."""

from __future__ import annotations

from enum import StrEnum


class Rung(StrEnum):
    """How a list is scored; each one does without something that the ones before it have."""

    FULL = "full"
    """Text for every candidate, what came with the request included; the full ranker."""
    BEST_TEXT = "best_text"
    """Text for those whom behaviour alone puts first; the full ranker orders these, behaviour what stands below."""
    CACHED_TEXT = "cached_text"
    """Text where the item's vector is there; nothing that came with the request is read, nor its query."""
    BEHAVIOUR = "behaviour"
    """No text at all; a ranker of its own, trained without."""
    POPULARITY = "popularity"
    """The item's click rate, and nothing about the user."""


class RungReason(StrEnum):
    """Why a ranking stands on a lower rung than the first."""

    DEADLINE = "deadline"
    """There was not time for more before the caller's deadline."""
    LOAD = "load"
    """More is asked of the server than it could answer on a higher rung."""
    FAULT = "fault"
    """The text model failed at this request."""
