"""What a portal has granted, read from its answer to ``Start``: nothing in it is believed unseen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeGuard

from punktfunk.desktop.portal.choice import ALL_DEVICES, Devices, Sources
from punktfunk.errors import DesktopError
from punktfunk.printable import is_printable

MAX_TOKEN_CHARACTERS: Final = 1024
"""Of a restore token, which is a UUID of 36 today."""
_MAX_MAPPING_CHARACTERS: Final = 256
_NODE_LIMIT: Final = (1 << 32) - 1
"""PipeWire's ids are 32 bits, of which the last stands for any."""
_SIZE_LIMIT: Final = 1 << 15
_PLACE_LIMIT: Final = 1 << 24
"""Farther from the origin no layout of outputs goes."""


@dataclass(frozen=True, slots=True)
class PortalStream:
    """One picture that may be read, a node of the PipeWire connection that the portal opens."""

    node: int
    source: Sources | None
    """What it is of, where the portal says."""
    size: tuple[int, int] | None
    """Width and height in the desktop's own pixels; None for what is made for its reader, or was not said."""
    position: tuple[int, int] | None
    """Where it lies among the desktop's outputs."""
    mapping_id: str | None
    """By which EIS names the region that lies where this picture is from."""


@dataclass(frozen=True, slots=True)
class Started:
    """What was granted."""

    stream: PortalStream
    devices: Devices
    token: str | None
    """What the same can be had by, once, without a question."""


def read_started(results: Mapping[str, object]) -> Started:
    """Return what an answer says; raise DesktopError where it grants no picture, or is none."""
    streams = results.get("streams")
    if not isinstance(streams, Sequence) or isinstance(streams, str | bytes) or not streams:
        raise DesktopError("the desktop's portal has granted no screen", "choose a screen when it asks")
    devices = results.get("devices")
    token = results.get("restore_token")
    return Started(
        _stream(streams[0]),
        Devices(devices & ALL_DEVICES if isinstance(devices, int) else 0),
        token if is_token(token) else None,
    )


def is_token(value: object) -> TypeGuard[str]:
    """Whether something can be a restore token: a text of one line and of bounded length."""
    return isinstance(value, str) and 0 < len(value) <= MAX_TOKEN_CHARACTERS and is_printable(value)


def _stream(entry: object) -> PortalStream:
    if not isinstance(entry, Sequence) or isinstance(entry, str | bytes) or len(entry) != 2:
        raise DesktopError(
            "the desktop's portal describes its stream in a way that this version does not know"
        )
    node, about = entry
    if not _is_number(node) or not 0 <= node < _NODE_LIMIT or not isinstance(about, Mapping):
        raise DesktopError("the desktop's portal names no node of PipeWire")
    source, mapping = about.get("source_type"), about.get("mapping_id")
    known = {each.value for each in Sources}
    return PortalStream(
        node,
        Sources(source) if _is_number(source) and source in known else None,
        _pair(about.get("size"), 1, _SIZE_LIMIT),
        _pair(about.get("position"), -_PLACE_LIMIT, _PLACE_LIMIT),
        mapping
        if isinstance(mapping, str) and 0 < len(mapping) <= _MAX_MAPPING_CHARACTERS and is_printable(mapping)
        else None,
    )


def _pair(value: object, least: int, most: int) -> tuple[int, int] | None:
    if not isinstance(value, Sequence) or isinstance(value, str | bytes) or len(value) != 2:
        return None
    first, second = value
    if not (_is_number(first) and _is_number(second)):
        return None
    return (first, second) if least <= first <= most and least <= second <= most else None


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
