"""What a GPU's driver encodes, asked of libva: which codecs, by which entry points.

libva is loaded here alone, by ctypes, and lets go of the driver when it has answered: a host without a GPU needs none
of it. Names and values are those of ``va/va.h`` (libva 2).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any, Final

from punktfunk.errors import DeviceMissingError, DriverMissingError
from punktfunk.media.types import Codec

LIBRARIES: Final = ("libva.so.2", "libva-drm.so.2")
"""Those that talk to drivers, and that by which a render node is given to them."""
NODES: Final = Path("/dev/dri")
INSTALL_HINT: Final = (
    "install the GPU's VA-API driver: mesa-va-drivers (AMD), intel-media-va-driver (Intel); vainfo says more"
)
_KERNEL_HINT: Final = (
    "load the GPU's kernel driver (amdgpu, i915, xe); in a container pass /dev/dri on (--device /dev/dri)"
)
_GROUP_HINT: Final = (
    "as root: usermod -aG render USER, then log in again; where it belongs to another group, that one"
)
_PROFILES: Final = {
    # High, Main and Constrained Baseline: FFmpeg takes the first that there is.
    Codec.H264: (7, 6, 13),
    Codec.HEVC: (17,),
    Codec.AV1: (32,),
}
_SUCCESS: Final = 0
_MOST: Final = 256
"""Profiles, or entry points of one, that are read at most: libva 2.24 has 43 and 15."""
_MESSAGE = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_char_p)


class EntryPoint(IntEnum):
    """The part of a GPU that encodes."""

    SLICE = 6
    """VAEntrypointEncSlice: the usual one, partly in shaders on Intel's older ones."""
    SLICE_LOW_POWER = 8
    """VAEntrypointEncSliceLP: fixed functions alone; the only one of Intel's newer GPUs."""


@dataclass(frozen=True, slots=True)
class Driver:
    """What a driver says of itself."""

    vendor: str
    encodes: Mapping[Codec, EntryPoint]
    """The codecs that it makes, 8 bit 4:2:0."""


def render_nodes(folder: Path = NODES) -> list[Path]:
    """Return the render nodes that this user may open, in the order of their numbers.

    Raise DeviceMissingError where there is none, or where none of them opens.
    """
    try:
        nodes = [node for node in folder.iterdir() if node.name.startswith("renderD")]
    except FileNotFoundError:
        nodes = []
    except OSError as error:
        raise DeviceMissingError(
            f"no GPU may be looked for: {folder}: {error.strerror}", _GROUP_HINT
        ) from error
    found = sorted(nodes, key=lambda node: (len(node.name), node.name))
    if not found:
        raise DeviceMissingError(f"no GPU: {folder} has no render node", _KERNEL_HINT)
    refusals, usable, denied = [], [], False
    for node in found:
        try:
            os.close(os.open(node, os.O_RDWR | os.O_CLOEXEC))
        except OSError as error:
            refusals.append(f"{node}: {error.strerror}")
            denied = denied or isinstance(error, PermissionError)
        else:
            usable.append(node)
    if not usable:
        raise DeviceMissingError(
            f"no GPU may be opened: {'; '.join(refusals)}", _GROUP_HINT if denied else _KERNEL_HINT
        )
    return usable


def ask(node: Path, libraries: tuple[str, str] = LIBRARIES) -> Driver:
    """Have the driver of a render node tell what it encodes; raise DriverMissingError where there is none.

    The driver runs in this process meanwhile: one that crashes takes it along.
    """
    va, va_drm = _load(libraries)
    with _display(va, va_drm, node) as display:
        vendor = va.vaQueryVendorString(display) or b""
        profiles = set(_listed(va, "Profiles", display))
        encodes = {}
        for codec, wanted in _PROFILES.items():
            profile = next((profile for profile in wanted if profile in profiles), None)
            points = () if profile is None else _listed(va, "Entrypoints", display, profile)
            point = next((point for point in EntryPoint if point in points), None)
            if point is not None:
                encodes[codec] = point
        return Driver(vendor.decode("utf-8", "replace").strip(), encodes)


def require_libraries(libraries: tuple[str, str] = LIBRARIES) -> None:
    """Raise DriverMissingError unless libva is installed."""
    _load(libraries)


def _load(libraries: tuple[str, str]) -> tuple[ctypes.CDLL, ctypes.CDLL]:
    loaded = []
    for name in libraries:
        try:
            loaded.append(ctypes.CDLL(name))
        except OSError:
            raise DriverMissingError(
                f"no VA-API: {name} cannot be loaded", "apt-get install libva2 libva-drm2, or va-driver-all"
            ) from None
    va, va_drm = loaded
    va_drm.vaGetDisplayDRM.restype = ctypes.c_void_p
    va_drm.vaGetDisplayDRM.argtypes = [ctypes.c_int]
    for name in ("vaErrorStr", "vaQueryVendorString"):
        getattr(va, name).restype = ctypes.c_char_p
    va.vaQueryVendorString.argtypes = [ctypes.c_void_p]
    for name in ("vaSetErrorCallback", "vaSetInfoCallback"):
        getattr(va, name).restype = ctypes.c_void_p
        getattr(va, name).argtypes = [ctypes.c_void_p, _MESSAGE, ctypes.c_void_p]
    numbers = ctypes.POINTER(ctypes.c_int)
    va.vaInitialize.argtypes = [ctypes.c_void_p, numbers, numbers]
    for name in ("vaTerminate", "vaMaxNumProfiles", "vaMaxNumEntrypoints"):
        getattr(va, name).argtypes = [ctypes.c_void_p]
    va.vaQueryConfigProfiles.argtypes = [ctypes.c_void_p, numbers, numbers]
    va.vaQueryConfigEntrypoints.argtypes = [ctypes.c_void_p, ctypes.c_int, numbers, numbers]
    return va, va_drm


@contextlib.contextmanager
def _display(va: Any, va_drm: Any, node: Path) -> Iterator[int]:
    """Give libva's handle of a render node whose driver is loaded, until the context ends."""
    try:
        descriptor = os.open(node, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise DeviceMissingError(f"{node} cannot be opened: {error.strerror}", INSTALL_HINT) from error
    said: list[str] = []

    def keep_first(_context: int | None, text: bytes | None) -> None:
        if not said:
            said.append((text or b"").decode("utf-8", "replace").strip())

    # ctypes keeps no reference: the callbacks live until the display is gone.
    listen = _MESSAGE(keep_first)
    silence = _MESSAGE()
    try:
        display = va_drm.vaGetDisplayDRM(descriptor)
        if not display:
            raise DriverMissingError(f"libva does not take {node} for a GPU", INSTALL_HINT)
        va.vaSetErrorCallback(display, listen, None)
        va.vaSetInfoCallback(display, silence, None)
        major, minor = ctypes.c_int(), ctypes.c_int()
        status = va.vaInitialize(display, ctypes.byref(major), ctypes.byref(minor))
        try:
            if status != _SUCCESS:
                words = said[0] if said else (va.vaErrorStr(status) or b"").decode("utf-8", "replace")
                raise DriverMissingError(f"no VA-API driver for {node}: {words}", INSTALL_HINT)
            yield display
        finally:
            va.vaTerminate(display)
    finally:
        os.close(descriptor)


def _listed(va: Any, what: str, display: int, *arguments: int) -> tuple[int, ...]:
    """Return what ``vaQueryConfig{what}`` gives, in its order; () where the driver refuses to say."""
    room = getattr(va, f"vaMaxNum{what}")(display)
    if not 0 < room <= _MOST:
        return ()
    values, count = (ctypes.c_int * room)(), ctypes.c_int()
    status = getattr(va, f"vaQueryConfig{what}")(display, *arguments, values, ctypes.byref(count))
    return tuple(values[: min(count.value, room)]) if status == _SUCCESS else ()
