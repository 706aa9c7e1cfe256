"""Read some fields of many packets, by the description that scapy has of them.

scapy takes a packet apart into objects, which costs a tenth of a millisecond: right for one that is looked at, too
long for a capture of a million. :func:`picker` makes of the same ``fields_desc`` a function that reads named fields
alone, so that a header is described once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Pick = Callable[[bytes], tuple[int, ...]]
"""Reads the fields of a packet that has all bytes of its header."""


def header_bytes(layer: Any) -> int:
    """Return how long the fixed fields of a scapy layer are."""
    return max(at + size for at, size, *_rest in _places(layer).values())


def picker(layer: Any, *names: str) -> Pick:
    """Return a function that reads these fields of a layer, all of them integers at fixed places, from the layer's
    bytes.

    Raises ``KeyError`` for a field that the layer does not have.
    """
    places = _places(layer)
    chosen = [places[name] for name in names]

    def pick(packet: bytes) -> tuple[int, ...]:
        return tuple(
            int.from_bytes(packet[at : at + size], order) >> shift & mask
            for at, size, order, shift, mask in chosen
        )

    return pick


def _places(layer: Any) -> dict[str, tuple[int, int, Any, int, int]]:
    """Return of each field: its byte, the bytes that it lies in, their order, and where its bits are in these."""
    found: dict[str, tuple[int, int, Any, int, int]] = {}
    at, bits = 0, 0
    group: list[tuple[str, int]] = []
    little = False
    for field in layer.fields_desc:
        if hasattr(field, "rev"):  # a field of bits
            little = little or field.rev
            group.append((field.name, field.size))
            bits += field.size
            if bits % 8:
                continue
            order, left = "little" if little else "big", bits
            for name, width in group:
                left -= width
                found[name] = (at, bits // 8, order, left, (1 << width) - 1)
            at, bits, group, little = at + bits // 8, 0, [], False
            continue
        if not field.sz:
            break  # of variable length: nothing behind it has a fixed place
        order = "little" if str(field.fmt).startswith("<") else "big"
        found[field.name] = (at, field.sz, order, 0, (1 << 8 * field.sz) - 1)
        at += field.sz
    return found
