"""Random messages of any type, as bytes: the descriptors are walked, so a field that is new is filled all the same.

A message follows from its seed and number. Some are as callers send them, so that they get far; in others a share of
the fields is filled with what should not be there, and of some the bytes themselves are damaged.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

# Stands in every text and id that is made here, so that it is known again wherever it should not be.
CANARY = "ca9ary"

_MASK = 2**64 - 1
_MICROSECONDS_OF_A_DAY = 86_400_000_000
_DEEPEST = 6
_COUNTS = (999, 1_000, 1_001, 10_000, 10_001)

WRONG_TEXTS = tuple(
    text if isinstance(text, bytes) else text.encode()
    for text in (
        "",
        CANARY[:1],
        (CANARY * 22)[:128],
        (CANARY * 22)[:129],
        (CANARY * 1_400)[:8_192],
        (CANARY * 1_400)[:8_193],
        CANARY * 4_000,
        f"{CANARY}\0{CANARY}",
        f"{CANARY}\n%s %(x)d {{0}} {{x}} ${{x}}\r\x1b[31m",
        f"../../{CANARY}/../etc/passwd",
        f"\"}}{CANARY}'; DROP TABLE events; --",
        f"{CANARY} \u202e\u0000\ufeff\uffff\U0001f9e6\u0301",
        "\u00e9" * 64 + CANARY,
        CANARY.encode() + b"\xff\xfe",
        b"\xed\xa0\x80" + CANARY.encode(),
        b"\xc0\x80" + CANARY.encode(),
        CANARY.encode() + b"\xe2\x82",
    )
)
WRONG_INTEGERS = (
    *(0, 1, -1, 7, 20, 21, 127, 128, 999, 1_000, 1_001, 2**31 - 1, 2**31, -(2**31), 2**32),
    *(2**63 - 1, -(2**63), 2**64 - 1),
    *(1_780_000_000, 1_780_000_000_000, 31_536_000_000_000, 7_258_118_400_000_000, 7_258_118_399_999_999),
    *(-62_135_596_800_000_000, 253_402_300_800_000_000),
)  # fmt: skip
WRONG_NUMBERS = (float("nan"), float("inf"), float("-inf"), -0.0, 5e-324, 1.8e308, 1e39, -1.0)
WRONG_FIELDS = (
    b"\x9a\xbe\x03\x06" + CANARY.encode(),  # a field that nobody knows
    b"\xf8\xff\xff\xff\x0f\x01",  # the highest field number
    b"\x02\x06" + CANARY.encode(),  # field number 0
    b"\x0b",  # a group that does not end
    b"\x0c",  # one that was never begun
    b"\x0b" * 200,
    b"".join(b"\x9a\xbe\x03\x64" for _ in range(200)),
    b"\x08" + b"\xff" * 10 + b"\x01",  # a number of eleven bytes
    b"\x08" + b"\x80" * 9 + b"\x01",
    b"\x0a\xff\xff\xff\xff\x07",  # longer than anything
    b"\x0e",  # a wire type that is none
)

_VARINT = frozenset({
    FieldDescriptor.TYPE_INT32, FieldDescriptor.TYPE_INT64, FieldDescriptor.TYPE_UINT32, FieldDescriptor.TYPE_UINT64,
    FieldDescriptor.TYPE_SINT32, FieldDescriptor.TYPE_SINT64, FieldDescriptor.TYPE_BOOL, FieldDescriptor.TYPE_ENUM,
})  # fmt: skip
_FIXED = {
    FieldDescriptor.TYPE_DOUBLE: (1, "<d"), FieldDescriptor.TYPE_FLOAT: (5, "<f"),
    FieldDescriptor.TYPE_FIXED64: (1, "<Q"), FieldDescriptor.TYPE_SFIXED64: (1, "<q"),
    FieldDescriptor.TYPE_FIXED32: (5, "<I"), FieldDescriptor.TYPE_SFIXED32: (5, "<i"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Field:
    """What of a field's descriptor is needed again and again."""

    name: str
    tag: int
    wire: int
    type: int
    repeated: bool
    packed: bool
    inner: Descriptor | None
    enum: tuple[int, ...]
    choice: str


@cache
def _fields(full_name: str, type_: Any) -> tuple[_Field, ...]:  # noqa: ARG001 - the name is what is remembered by
    found = []
    for field in type_.fields:
        wire = 0 if field.type in _VARINT else _FIXED.get(field.type, (2, ""))[0]
        choice = field.containing_oneof.name if field.containing_oneof is not None else ""
        enum = tuple(value.number for value in field.enum_type.values) if field.enum_type is not None else ()
        found.append(
            _Field(
                field.name, field.number << 3, wire, field.type, field.is_repeated, field.is_packed,
                field.message_type, enum, choice,
            )
        )  # fmt: skip
    return tuple(found)


class Message:
    """The bytes of one message in the making; ``faulty`` is the share of what is filled wrongly.

    ``known`` has ids that mean something to whoever is asked, by the name of their field. The first list that comes
    gets ``count`` elements, if that is not 0, and they say the least that is possible. Times lie before ``now_us``.
    """

    def __init__(
        self, rng: random.Random, known: Mapping[str, Sequence[str]], now_us: int, faulty: float, count: int
    ) -> None:
        self._rng = rng
        self._now_us = now_us
        self._known = known
        self._faulty = faulty
        self._count = count
        self._least = False

    def of(self, type_: Any, depth: int = 0) -> bytes:
        """Write one message of a type."""
        rng = self._rng
        fields = _fields(type_.full_name, type_)
        chosen: dict[str, str] = {}
        for field in fields:
            if field.choice and (field.choice not in chosen or rng.random() < 0.5):
                chosen[field.choice] = field.name
        parts = []
        for field in fields:
            if field.choice and chosen[field.choice] != field.name and not self._wrong():
                continue
            if field.repeated:
                parts += self._list(field, depth)
            elif self._present(field):
                parts.append(self._one(field, depth, 0))
                if self._wrong():
                    parts.append(self._one(field, depth, 1))
        if self._wrong():
            rng.shuffle(parts)
            parts.insert(rng.randint(0, len(parts)), rng.choice(WRONG_FIELDS))
        return b"".join(parts)

    def _present(self, field: _Field) -> bool:
        """An id and a title are nearly always there, as little can be done without them."""
        if field.name.endswith(("_id", "title")) or field.name in ("key", "value"):
            return not self._wrong()
        return not self._least and self._rng.random() < 0.6

    def _list(self, field: _Field, depth: int) -> list[bytes]:
        if self._least or depth > _DEEPEST:
            return []
        if not self._count:
            start = self._rng.randrange(1_000)
            count = self._rng.choice((0, 0, 0, 1, 1, 2, 3, 4, 6))
            return self._elements(field, depth, range(start, start + count))
        count, self._count, self._least = self._count, 0, True
        elements = self._elements(field, depth, range(count))
        self._least = False
        return elements

    def _elements(self, field: _Field, depth: int, places: range) -> list[bytes]:
        if field.packed and not self._wrong():
            body = b"".join(self._scalar(field) for _ in places)
            return [varint(field.tag | 2) + varint(len(body)) + body] if body else []
        return [self._one(field, depth, 0 if self._wrong() else place) for place in places]

    def _one(self, field: _Field, depth: int, place: int) -> bytes:
        if self._wrong():
            return varint(field.tag | self._rng.choice((0, 1, 2, 5))) + self._rng.choice(
                (b"\x01", b"\0" * 8, b"\x06" + CANARY.encode(), b"\xff" * 10 + b"\x01")
            )
        if field.wire != 2:
            return varint(field.tag | field.wire) + self._scalar(field)
        if field.inner is not None:
            body = b"" if depth > _DEEPEST else self.of(field.inner, depth + 1)
        else:
            body = self._text(field.name, place)
        return varint(field.tag | 2) + varint(len(body)) + body

    def _text(self, name: str, place: int) -> bytes:
        rng = self._rng
        if self._wrong():
            return rng.choice(WRONG_TEXTS)
        name = name.removesuffix("s") if name.endswith("_ids") else name
        known = self._known.get(name)
        if known and (name == "key" or rng.random() < 0.5):
            return known[place % len(known)].encode()
        if name == "event_id":
            return f"{CANARY}-{rng.getrandbits(48):x}".encode()
        if name.endswith("_id"):
            # Of a list's ids each is another one; lists of some hundred ids share some.
            return f"{CANARY}-{name}-{place if self._least else place % 60}".encode()
        return f"{CANARY} {name} {rng.randrange(40)}".encode()

    def _scalar(self, field: _Field) -> bytes:
        rng = self._rng
        if field.type in _FIXED:
            form = _FIXED[field.type][1]
            if form in ("<d", "<f"):
                value = rng.choice(WRONG_NUMBERS) if self._wrong() else round(rng.gauss(10, 10), 2)
                return struct.pack(form, value if form == "<d" or abs(value) < 3e38 else float("inf"))
            return struct.pack(
                form.upper(), rng.choice(WRONG_INTEGERS) & (_MASK if form in ("<Q", "<q") else 2**32 - 1)
            )
        if self._wrong():
            return varint(rng.choice(WRONG_INTEGERS))
        if field.enum:
            return varint(rng.choice(field.enum))
        if field.name.endswith("_us"):
            ago = rng.randrange(3 * _MICROSECONDS_OF_A_DAY) if rng.random() < 0.7 else 0
            return varint(ago and self._now_us - ago)
        return varint(rng.choice((0, 0, 1, 2, 3, 10)))

    def _wrong(self) -> bool:
        return self._faulty > 0 and self._rng.random() < self._faulty


def varint(value: int) -> bytes:
    """Write a number of up to 64 bits in base 128."""
    value &= _MASK
    if value < 128:
        return bytes((value,))
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    found.append(value)
    return bytes(found)


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Flip, cut, double, insert or replace some bytes."""
    edited = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        at = rng.randrange(len(edited) + 1)
        length = rng.choice((1, 1, 2, 8, 64))
        match rng.randrange(5):
            case 0 if at < len(edited):
                edited[at] ^= 1 << rng.randrange(8)
            case 1:
                del edited[at : at + length]
            case 2:
                edited[at:at] = edited[at : at + length]
            case 3:
                edited[at:at] = rng.randbytes(length)
            case _:
                edited[at : at + length] = rng.choice(WRONG_FIELDS)
    return bytes(edited[: rng.randrange(len(edited) + 1)] if rng.random() < 0.2 else edited)


def message(type_: Any, seed: int, number: int, known: Mapping[str, Sequence[str]], now_us: int) -> bytes:
    """Return message ``number`` of a run: the bytes of one of a type, or what damage has left of them."""
    rng = random.Random(seed << 32 | number)
    faulty = rng.choice((0.0, 0.0, 0.0, 0.01, 0.05, 0.3))
    count = rng.choice(_COUNTS) if rng.random() < 0.001 else 0
    data = Message(rng, known, now_us, faulty, count).of(type_)
    return damaged(data, rng) if rng.random() < 0.15 else data
