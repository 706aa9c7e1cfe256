"""A scapy layer over bytes from outside, and what it says in a line."""

from __future__ import annotations

import struct
from typing import Any, Final

from scapy.packet import NoPayload, Padding, Raw

from punktfunk.printable import printable

_HIDDEN: Final = frozenset({"key", "salt", "mac", "magic", "tag", "length"})
"""Fields that are secret, or say nothing to a reader."""
_SHOWN_BYTES: Final = 8
_MAX_CHARACTERS: Final = 300


def layer_of(layer: Any, data: bytes) -> Any:
    """Return the packet that ``data`` is by a layer; None where it is too short for it, or there is no layer."""
    if layer is None:
        return None
    try:
        return layer(data)
    except (struct.error, ValueError, IndexError, TypeError):
        return None


def described(packet: Any) -> str:
    """Return a packet's layers and fields in a line, without its secrets; "" for none."""
    words = []
    while packet is not None and not isinstance(packet, (NoPayload, Padding, Raw)):
        if packet.fields_desc and not (packet.name == "punktfunk/1 message" and packet.payload):
            words.append(packet.name)
        words += [
            f"{field.name}={_value(field, packet)}"
            for field in packet.fields_desc
            if field.name not in _HIDDEN and not (field.name == "type" and packet.payload)
        ]
        packet = packet.payload
    return printable(" ".join(words), _MAX_CHARACTERS)


def _value(field: Any, packet: Any) -> str:
    value = packet.getfieldval(field.name)
    if isinstance(value, bytes):
        return f"{len(value)} bytes" if len(value) > _SHOWN_BYTES else value.hex()
    return str(field.i2repr(packet, value))
