"""PipeWire's client library, bound with ctypes: the functions that are exported, and the structures they pass.

It comes with every PipeWire desktop under one name, and what is used of it has not changed since 0.3; no header is
wanted, and nothing is built. A call releases the interpreter's lock while it waits.
"""

from __future__ import annotations

import ctypes
from ctypes import (
    CFUNCTYPE,
    POINTER,
    c_bool,
    c_char_p,
    c_int,
    c_int32,
    c_int64,
    c_size_t,
    c_uint32,
    c_uint64,
    c_void_p,
)
from functools import cache
from typing import Any, Final

from punktfunk.errors import CapabilityError

_LIBRARY: Final = "libpipewire-0.3.so.0"
_LEAST: Final = (0, 3, 65)
"""The oldest that this was tried with: Debian 12's."""
_HINT: Final = "install PipeWire 0.3.65 or later (Debian, Ubuntu: apt-get install pipewire)"

STREAM_ERROR, STREAM_UNCONNECTED, STREAM_STREAMING = -1, 0, 3
DIRECTION_INPUT: Final = 0
FLAG_AUTOCONNECT, FLAG_RT_PROCESS, FLAG_NO_CONVERT, FLAG_DONT_RECONNECT = 1 << 0, 1 << 4, 1 << 5, 1 << 7
CHUNK_CORRUPTED, CHUNK_EMPTY = 1 << 0, 1 << 1
ID_ANY: Final = 0xFFFF_FFFF


class Meta(ctypes.Structure):
    """``struct spa_meta``: what comes along with a picture."""

    _fields_ = (("type", c_uint32), ("size", c_uint32), ("data", c_void_p))


class Chunk(ctypes.Structure):
    """``struct spa_chunk``: which part of the memory is valid; shared with the producer, who may change it any time."""

    _fields_ = (("offset", c_uint32), ("size", c_uint32), ("stride", c_int32), ("flags", c_int32))


class Data(ctypes.Structure):
    """``struct spa_data``: where the memory is."""

    _fields_ = (
        ("type", c_uint32),
        ("flags", c_uint32),
        ("fd", c_int64),
        ("mapoffset", c_uint32),
        ("maxsize", c_uint32),
        ("data", c_void_p),
        ("chunk", POINTER(Chunk)),
    )


class SpaBuffer(ctypes.Structure):
    """``struct spa_buffer``."""

    _fields_ = (
        ("n_metas", c_uint32),
        ("n_datas", c_uint32),
        ("metas", POINTER(Meta)),
        ("datas", POINTER(Data)),
    )


class StreamBuffer(ctypes.Structure):
    """``struct pw_buffer``; its members after the second came one by one with the versions."""

    _fields_ = (("buffer", POINTER(SpaBuffer)), ("user_data", c_void_p))


class Hook(ctypes.Structure):
    """``struct spa_hook``, which the library fills: list link, callbacks, a function and its data; and room."""

    _fields_ = (("reserved", c_uint64 * 16),)


OnState = CFUNCTYPE(None, c_void_p, c_int, c_int, c_char_p)
OnParam = CFUNCTYPE(None, c_void_p, c_uint32, c_void_p)
OnBuffer = CFUNCTYPE(None, c_void_p, c_void_p)
OnProcess = CFUNCTYPE(None, c_void_p)


class StreamEvents(ctypes.Structure):
    """``struct pw_stream_events``, version 2."""

    _fields_ = (
        ("version", c_uint32),
        ("destroy", c_void_p),
        ("state_changed", OnState),
        ("control_info", c_void_p),
        ("io_changed", c_void_p),
        ("param_changed", OnParam),
        ("add_buffer", OnBuffer),
        ("remove_buffer", OnBuffer),
        ("process", OnProcess),
        ("drained", c_void_p),
        ("command", c_void_p),
        ("trigger_done", c_void_p),
    )


OnGlobal = CFUNCTYPE(None, c_void_p, c_uint32, c_uint32, c_char_p, c_uint32, c_void_p)
"""The number of a new object, what one may do with it, its kind and the version of that, and its properties."""
OnGlobalRemove = CFUNCTYPE(None, c_void_p, c_uint32)


class RegistryEvents(ctypes.Structure):
    """``struct pw_registry_events``, version 0."""

    _fields_ = (("version", c_uint32), ("global_", OnGlobal), ("global_remove", OnGlobalRemove))


_GetRegistry = CFUNCTYPE(c_void_p, c_void_p, c_uint32, c_size_t)
_REGISTRY_VERSION: Final = 3


class _CoreMethods(ctypes.Structure):
    """``struct pw_core_methods``, as far as it is used."""

    _fields_ = (
        ("version", c_uint32),
        ("add_listener", c_void_p),
        ("hello", c_void_p),
        ("sync", c_void_p),
        ("pong", c_void_p),
        ("error", c_void_p),
        ("get_registry", _GetRegistry),
    )


class _Interface(ctypes.Structure):
    """``struct spa_interface``, which every proxy begins with."""

    _fields_ = (
        ("type", c_char_p),
        ("version", c_uint32),
        ("methods", POINTER(_CoreMethods)),
        ("object", c_void_p),
    )


def get_registry(core: int) -> int | None:
    """Return the registry of a connection: an inline function of the headers, which calls by the core's table."""
    interface = _Interface.from_address(core)
    registry: int | None = interface.methods.contents.get_registry(interface.object, _REGISTRY_VERSION, 0)
    return registry


_FUNCTIONS: Final[dict[str, tuple[Any, tuple[Any, ...]]]] = {
    "pw_init": (None, (c_void_p, c_void_p)),
    "pw_get_library_version": (c_char_p, ()),
    "pw_thread_loop_new": (c_void_p, (c_char_p, c_void_p)),
    "pw_thread_loop_get_loop": (c_void_p, (c_void_p,)),
    "pw_thread_loop_start": (c_int, (c_void_p,)),
    "pw_thread_loop_stop": (None, (c_void_p,)),
    "pw_thread_loop_lock": (None, (c_void_p,)),
    "pw_thread_loop_unlock": (None, (c_void_p,)),
    "pw_thread_loop_destroy": (None, (c_void_p,)),
    "pw_context_new": (c_void_p, (c_void_p, c_void_p, c_size_t)),
    "pw_context_connect": (c_void_p, (c_void_p, c_void_p, c_size_t)),
    "pw_context_connect_fd": (c_void_p, (c_void_p, c_int, c_void_p, c_size_t)),
    "pw_context_destroy": (None, (c_void_p,)),
    "pw_core_disconnect": (c_int, (c_void_p,)),
    "pw_proxy_add_object_listener": (None, (c_void_p, POINTER(Hook), POINTER(RegistryEvents), c_void_p)),
    "pw_properties_new_string": (c_void_p, (c_char_p,)),
    "pw_stream_new": (c_void_p, (c_void_p, c_char_p, c_void_p)),
    "pw_stream_add_listener": (None, (c_void_p, POINTER(Hook), POINTER(StreamEvents), c_void_p)),
    "pw_stream_connect": (c_int, (c_void_p, c_int, c_uint32, c_int, POINTER(c_void_p), c_uint32)),
    "pw_stream_set_active": (c_int, (c_void_p, c_bool)),
    "pw_stream_update_params": (c_int, (c_void_p, POINTER(c_void_p), c_uint32)),
    "pw_stream_dequeue_buffer": (c_void_p, (c_void_p,)),
    "pw_stream_queue_buffer": (c_int, (c_void_p, c_void_p)),
    "pw_stream_destroy": (None, (c_void_p,)),
}


_NEVER_WAIT: Final = frozenset({"pw_stream_dequeue_buffer", "pw_stream_queue_buffer"})
"""Called with the interpreter's lock held: to let go of it and take it again would take longer than they do."""


@cache
def load() -> Any:
    """Return the library, ready for use.

    Raises CapabilityError, which names what to install, where it is missing, too old, or lacks a function.
    """
    try:
        library = ctypes.CDLL(_LIBRARY, use_errno=True)
        holding = ctypes.PyDLL(_LIBRARY)
        for name, (result, arguments) in _FUNCTIONS.items():
            function = getattr(holding if name in _NEVER_WAIT else library, name)
            function.restype, function.argtypes = result, arguments
            setattr(library, name, function)
    except (OSError, AttributeError) as error:
        raise CapabilityError(f"{_LIBRARY} cannot be loaded: {error}", _HINT) from error
    text = library.pw_get_library_version().decode(errors="replace")
    if _numbers(text) < _LEAST:
        raise CapabilityError(f"PipeWire's library is of version {text}, which is too old", _HINT)
    library.pw_init(None, None)
    return library


@cache
def version() -> tuple[int, ...]:
    """Return the version of the library, such as (1, 4, 2); raise as :func:`load`."""
    return _numbers(load().pw_get_library_version().decode(errors="replace"))


def require_library() -> None:
    """Raise CapabilityError unless PipeWire's library can be used."""
    load()


def pointers(pods: list[bytes]) -> tuple[Any, int, list[Any]]:
    """Return an array of pointers to those pods, its length, and what has to be kept for as long as it is used."""
    kept = [ctypes.create_string_buffer(each, len(each)) for each in pods]
    return (c_void_p * len(kept))(*[ctypes.addressof(each) for each in kept]), len(kept), kept


def _numbers(version: str) -> tuple[int, ...]:
    parts = version.split(".")
    return tuple(int(part) if part.isdecimal() else 0 for part in parts[:3])
