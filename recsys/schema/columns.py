"""Sequences that keep their members in columns, and make one only when somebody asks for it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

T = TypeVar("T")


class Columns(Sequence[T]):
    """Looks like a tuple of its members, and is equal to one."""

    __slots__ = ()

    def __iter__(self) -> Iterator[T]:
        """Make one member after the other."""
        return map(self.member, range(len(self)))

    @abstractmethod
    def member(self, place: int) -> T:
        """Make the member at a place from 0."""

    def __getitem__(self, place: Any) -> Any:
        """Return the member at a place, or those of a slice as a tuple."""
        places = range(len(self))[place]
        return self.member(places) if isinstance(places, int) else tuple(map(self.member, places))

    def __eq__(self, other: object) -> bool:
        """Tell whether the members are equal, in columns or not."""
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        """Hash as the tuple would."""
        return hash(tuple(self))

    def __repr__(self) -> str:
        """Show the members one by one."""
        return repr(tuple(self))
