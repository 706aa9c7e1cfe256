"""Buffers as PipeWire's library hands them over."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Any

from punktfunk.desktop.pipewire import library


def spa_buffer(*datas: Mapping[str, Any], metas: Mapping[int, bytes] | None = None) -> library.SpaBuffer:
    """Return a buffer with those datas (fields of ``Data``, and a ``chunk``); what it points to lives as long."""
    listed = (library.Meta * len(metas or {}))()
    kept: list[object] = [listed]
    for meta, (kind, value) in zip(listed, (metas or {}).items(), strict=True):
        copy = ctypes.create_string_buffer(value, len(value))
        kept.append(copy)
        meta.type, meta.size, meta.data = kind, len(value), ctypes.addressof(copy)
    described = []
    for data in datas:
        fields = dict(data)
        chunk = library.Chunk(**fields.pop("chunk", {}))
        kept.append(chunk)
        described.append(library.Data(chunk=ctypes.pointer(chunk), **fields))
    array = (library.Data * max(1, len(described)))(*described)
    buffer = library.SpaBuffer(len(listed), len(described), listed, array)
    buffer.kept = (*kept, array)
    return buffer
