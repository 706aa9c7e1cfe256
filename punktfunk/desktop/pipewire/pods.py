"""SPA pods: the values in which PipeWire's peers agree on formats, buffers and what comes along with them.

A pod is its size, its type and its body, padded to eight bytes (PipeWire's documentation, "SPA POD"); all words are the
machine's own. Built are the kinds that a consumer of video needs. Parsed is whatever a producer may answer with: every
length is checked against the bytes that there are, and what is of no kind known here comes out as its bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from punktfunk.errors import MediaError


class PodType(IntEnum):
    """The type word of a pod, ``enum spa_type``."""

    NONE = 1
    BOOL = 2
    ID = 3
    INT = 4
    LONG = 5
    RECTANGLE = 10
    FRACTION = 11
    OBJECT = 15
    CHOICE = 19


class ChoiceKind(IntEnum):
    """How a choice lists what is possible; the first value is the default in all of them."""

    NONE = 0
    """The first value and no other."""
    RANGE = 1
    """Default, least, greatest."""
    STEP = 2
    ENUM = 3
    FLAGS = 4


@dataclass(frozen=True, slots=True)
class Rectangle:
    """A size in pixels."""

    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Fraction:
    """A rate, such as frames a second; 0/1 is a variable one."""

    numerator: int
    denominator: int


@dataclass(frozen=True, slots=True)
class Choice:
    """What is possible, the default first."""

    kind: ChoiceKind
    values: tuple[Value, ...]


Value = bool | int | Rectangle | Fraction | Choice | bytes | None


@dataclass(frozen=True, slots=True)
class PodObject:
    """An object: what it is, what it is for, and its properties by their keys."""

    type: int
    id: int
    properties: Mapping[int, Value]

    def fixed(self, key: int) -> Value:
        """Return the value of a property, of a choice its default; None where there is none."""
        value = self.properties.get(key)
        if isinstance(value, Choice):
            return value.values[0] if value.values else None
        return value

    def is_set(self, key: int) -> bool:
        """Return whether there is such a property."""
        return key in self.properties


_HEAD: Final = struct.Struct("=II")
_CHOICE_HEAD: Final = struct.Struct("=IIII")
_MAX_BYTES: Final = 1 << 16
"""Of one pod; a format has a few hundred."""
_MAX_PROPERTIES: Final = 256
_MAX_VALUES: Final = 1024


def pod(kind: PodType, body: bytes) -> bytes:
    """Return a pod with its padding."""
    return _HEAD.pack(len(body), kind) + body + bytes(-len(body) % 8)


def identifier(value: int) -> bytes:
    """Return a pod with a value of an enumeration."""
    return pod(PodType.ID, struct.pack("=I", value))


def integer(value: int) -> bytes:
    """Return a pod with an integer of 32 bits."""
    return pod(PodType.INT, struct.pack("=i", value))


def long(value: int) -> bytes:
    """Return a pod with an integer of 64 bits, its sign as the machine reads it."""
    return pod(PodType.LONG, struct.pack("=Q", value % (1 << 64)))


def rectangle(width: int, height: int) -> bytes:
    """Return a pod with a size."""
    return pod(PodType.RECTANGLE, struct.pack("=II", width, height))


def fraction(numerator: int, denominator: int = 1) -> bytes:
    """Return a pod with a rate."""
    return pod(PodType.FRACTION, struct.pack("=II", numerator, denominator))


def choice(kind: ChoiceKind, *values: bytes) -> bytes:
    """Return a choice between pods of one type and size, the default first."""
    bodies = [value[_HEAD.size : _HEAD.size + _size_of(value)] for value in values]
    of = _HEAD.unpack_from(values[0])[1]
    return pod(PodType.CHOICE, _CHOICE_HEAD.pack(kind, 0, len(bodies[0]), of) + b"".join(bodies))


def pod_object(kind: int, identity: int, properties: Mapping[int, bytes | tuple[int, bytes]]) -> bytes:
    """Return an object; a property is a pod, or its flags and a pod."""
    body = _HEAD.pack(kind, identity)
    for key, value in properties.items():
        flags, value_pod = value if isinstance(value, tuple) else (0, value)
        body += _HEAD.pack(key, flags) + value_pod
    return pod(PodType.OBJECT, body)


def parse_object(data: bytes) -> PodObject:
    """Read an object with all its properties; bytes behind it are left alone.

    Raises MediaError where ``data`` is no object, or a length in it points outside.
    """
    size, kind = _unpack_head(data, 0, len(data))
    if kind != PodType.OBJECT or size < _HEAD.size:
        raise MediaError("PipeWire gave parameters that are no object")
    object_type, identity = _HEAD.unpack_from(data, _HEAD.size)
    properties: dict[int, Value] = {}
    at, end = 2 * _HEAD.size, _HEAD.size + size
    while at < end:
        if end - at < 2 * _HEAD.size or len(properties) >= _MAX_PROPERTIES:
            raise MediaError("PipeWire gave parameters that end in the middle")
        key = _HEAD.unpack_from(data, at)[0]
        at += _HEAD.size
        size, kind = _unpack_head(data, at, end)
        at += _HEAD.size
        properties[key] = _value(kind, data[at : at + size])
        at += size + -size % 8
    return PodObject(object_type, identity, properties)


def size_with_head(head: bytes) -> int:
    """Return how long the pod is whose first eight bytes these are; raise MediaError where that is too much."""
    size = _size_of(head)
    if size > _MAX_BYTES:
        raise MediaError("PipeWire gave parameters that are too long")
    return _HEAD.size + size


def _size_of(data: bytes) -> int:
    size: int = _HEAD.unpack_from(data)[0]
    return size


def _unpack_head(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Return size and type of the pod at ``at``, all of which lies before ``end``."""
    if end - at < _HEAD.size:
        raise MediaError("PipeWire gave parameters that end in the middle")
    size, kind = _HEAD.unpack_from(data, at)
    if size > min(end - at - _HEAD.size, _MAX_BYTES):
        raise MediaError("PipeWire gave parameters that end in the middle")
    return size, kind


def _value(kind: int, body: bytes) -> Value:
    if kind == PodType.NONE:
        return None
    if kind == PodType.CHOICE:
        return _choice(body)
    if kind in _SCALARS:
        layout, make = _SCALARS[kind]
        if len(body) < layout.size:
            raise MediaError("PipeWire gave a parameter that is too short")
        return make(*layout.unpack_from(body))
    return body


def _choice(body: bytes) -> Choice:
    if len(body) < _CHOICE_HEAD.size:
        raise MediaError("PipeWire gave a choice that is too short")
    kind, _, size, of = _CHOICE_HEAD.unpack_from(body)
    if kind not in _CHOICE_KINDS or size == 0 or of == PodType.CHOICE:
        raise MediaError("PipeWire gave a choice of nothing known")
    room = len(body) - _CHOICE_HEAD.size
    count = room // size
    if count > _MAX_VALUES:
        raise MediaError("PipeWire gave a choice of too much")
    starts = range(_CHOICE_HEAD.size, _CHOICE_HEAD.size + count * size, size)
    return Choice(ChoiceKind(kind), tuple(_value(of, body[start : start + size]) for start in starts))


_CHOICE_KINDS: Final = frozenset(ChoiceKind)
_SCALARS: Final[Mapping[int, tuple[struct.Struct, Callable[..., Value]]]] = {
    PodType.BOOL: (struct.Struct("=i"), bool),
    PodType.ID: (struct.Struct("=I"), int),
    PodType.INT: (struct.Struct("=i"), int),
    PodType.LONG: (struct.Struct("=q"), int),
    PodType.RECTANGLE: (struct.Struct("=II"), Rectangle),
    PodType.FRACTION: (struct.Struct("=II"), Fraction),
}
