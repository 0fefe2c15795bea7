"""Counts the repeated fields of a message in its bytes, before anything is built from them.

A message of a megabyte can declare half a million items, whose objects hold the whole process while they are built.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from recsys.errors import InvalidRequest
from recsys.schema import MAX_CANDIDATES, MAX_HISTORY
from serving.convert_events import MAX_EVENTS
from serving.convert_items import MAX_ITEMS

# Fields beside the counted one: ranking.proto has far fewer, and a newer client may know more. Without such a bound the
# walk itself would take long.
_OTHERS = 1_000
# A field takes a tag and a length at the least.
_LEAST_BYTES = 2
# Wire types: with a length, and those of fixed sizes in bytes.
_DELIMITED = 2
_FIXED = {1: 8, 5: 4}
# A number has ten bytes at most, so the last one's bits stand no further left.
_LONGEST = 63


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """How often the fields of the numbers ``counted``, all below 16, may occur together.

    ``inner`` limits messages within, by their field number; ``refusal`` says what a caller is told, with ``{count}``
    for the number, or for where counting ended.
    """

    counted: tuple[int, ...]
    most: int
    refusal: str
    inner: Mapping[int, Limit] = field(default_factory=dict)


_EVENTS = Limit(
    counted=(1,),
    most=MAX_EVENTS,
    refusal=f"{{count}} events are more than {MAX_EVENTS}; send fewer at a time, or stream them",
)
_SEVERAL = f"are more than {MAX_ITEMS}; send them in several calls"
LIMITS: Mapping[str, Limit] = {
    "Rank": Limit(
        counted=(3, 10),
        most=MAX_CANDIDATES,
        refusal=f"{{count}} candidates are more than {MAX_CANDIDATES}; send fewer, or use batch scoring",
        inner={
            4: Limit(
                counted=(1,),
                most=MAX_HISTORY,
                refusal=f"the history is longer than {MAX_HISTORY}; send the newest entries",
            )
        },
    ),
    "RecordEvents": _EVENTS,
    "StreamEvents": _EVENTS,
    "UpsertItems": Limit(counted=(1,), most=MAX_ITEMS, refusal=f"{{count}} items {_SEVERAL}"),
    "DeleteItems": Limit(counted=(1,), most=MAX_ITEMS, refusal=f"{{count}} item_ids {_SEVERAL}"),
}


def check_counts(data: bytes, limit: Limit) -> None:
    """Refuse a message that has too many of something; bytes that are no message are left to the parser.

    Raises:
        InvalidRequest: says what there is too much of.
    """
    least = min(limit.most, *(inner.most for inner in limit.inner.values())) if limit.inner else limit.most
    if len(data) <= least * _LEAST_BYTES:
        return
    try:
        _check(data, limit)
    except IndexError:  # the bytes end within a field
        return


def _check(data: bytes, limit: Limit) -> None:
    wanted = frozenset(number << 3 | _DELIMITED for number in limit.counted)
    budget, end = limit.most + _OTHERS, len(data)
    at = fields = others = 0
    parts: dict[int, list[bytes]] = {number: [] for number in limit.inner}
    while at < end and fields <= budget:
        fields += 1
        # As it is nearly always, written out: the tag in one byte, the length in one or two.
        if data[at] in wanted:
            size = data[at + 1]
            if size < 128:
                at += 2 + size
                continue
            if (high := data[at + 2]) < 128:
                at += 3 + size - 128 + (high << 7)
                continue
        tag, begin, at = _field(data, at)
        others += tag not in wanted
        if tag & 7 == _DELIMITED and tag >> 3 in parts:
            parts[tag >> 3].append(data[begin:at])
    if fields - others > limit.most:
        raise InvalidRequest(limit.refusal.format(count=fields - others))
    if fields > budget:
        raise InvalidRequest(f"the message has more than {budget} fields; send what ranking.proto describes")
    for number, inner in limit.inner.items():
        _check(b"".join(parts[number]), inner)  # a message in several parts is all of them together


def _field(data: bytes, at: int) -> tuple[int, int, int]:
    """Return the tag of a field, and where its value begins and ends."""
    tag, begin = _varint(data, at)
    kind = tag & 7
    if kind == 0:
        return tag, begin, _varint(data, begin)[1]
    if kind == _DELIMITED:
        size, begin = _varint(data, begin)
        return tag, begin, begin + size
    # A group's bounds have no value of their own: what stands between them is counted with the other fields.
    return tag, begin, begin + _FIXED.get(kind, 0)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the number at a place, and where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128 or shift > _LONGEST:
            return value, at
        shift += 7
