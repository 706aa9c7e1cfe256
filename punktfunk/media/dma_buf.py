"""Pictures that lie in DMA-BUFs: what an importer has to know of one, and whose descriptors it has.

A DMA-BUF is memory of a device under a descriptor (kernel documentation, "Buffer Sharing and Synchronization"). Its
format is a DRM FourCC, its layout a DRM modifier (``drm_fourcc.h``). Not here: how one is mapped
(``media/shared_memory.py``), and who decides what becomes of it (``media/handover.py``).
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from punktfunk.errors import DmaBufError
from punktfunk.printable import printable

LINEAR: Final = 0
"""``DRM_FORMAT_MOD_LINEAR``: row after row, which is all that a processor can read."""
IMPLICIT: Final = (1 << 56) - 1
"""``DRM_FORMAT_MOD_INVALID``: laid out in a way that only the driver knows which made it."""
MAX_PLANES: Final = 4
"""Of one picture, as DRM has them: some modifiers add planes to those of the format."""
_LEAST_DESCRIPTOR: Final = 3


def fourcc(code: str) -> int:
    """Return the number of a DRM format, such as ``XR24``."""
    return int.from_bytes(code.encode("ascii"), "little")


XRGB8888, ARGB8888, XBGR8888, ABGR8888 = (fourcc(code) for code in ("XR24", "AR24", "XB24", "AB24"))
NV12: Final = fourcc("NV12")
PACKED: Final[Mapping[int, str]] = {
    XRGB8888: "bgra",
    XBGR8888: "rgba",
    ARGB8888: "bgra",
    ABGR8888: "rgba",
}
"""FFmpeg's names of the formats that a processor converts here, which leaves the fourth byte out, whatever it is.

DRM names a little-endian word, FFmpeg bytes.
"""


def format_words(code: int, modifier: int) -> str:
    """Return format and layout in words: ``XR24 linear``, ``NV12 modifier 0x100000000000002``."""
    layouts = {LINEAR: "linear", IMPLICIT: "implicit"}
    name = printable(code.to_bytes(4, "little").decode("latin-1"), 4)
    return f"{name} {layouts.get(modifier, f'modifier {modifier:#x}')}"


@dataclass(frozen=True, slots=True)
class DmaBufImports:
    """The DMA-BUFs that an encoder imports, of the size that it is open for: modifiers by DRM format, best first."""

    modifiers: Mapping[int, tuple[int, ...]]

    def takes(self, code: int, modifier: int) -> bool:
        """Return whether pictures of that format and layout are imported."""
        return modifier in self.modifiers.get(code, ())


class Descriptors:
    """Duplicates of the descriptors of one buffer, closed once: when the last of their holders has let go.

    Whoever makes them is the first holder. Descriptors are numbers that the kernel gives out again, so what is known of
    a buffer (an import that is kept, for instance) goes by this object and never by its numbers.
    """

    def __init__(self, given: Iterable[int]) -> None:
        """Duplicate them, which stay their owner's; raise DmaBufError where that fails, with none left open."""
        self._lock = threading.Lock()
        self._holders = 1
        kept: list[int] = []
        try:
            # By extend, so that those before one that fails are known, too.
            kept.extend(fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, _LEAST_DESCRIPTOR) for each in given)
        except (OSError, ValueError, OverflowError) as error:
            _close(kept)
            raise DmaBufError(f"the memory of a picture cannot be kept open: {error}") from error
        self.numbers: Sequence[int] = tuple(kept)

    def hold(self) -> None:
        """Keep them open until :meth:`let_go`; raise DmaBufError where they are closed already."""
        with self._lock:
            if not self._holders:
                raise DmaBufError("the memory of a picture has gone", "take a newer picture")
            self._holders += 1

    def let_go(self) -> None:
        """Close them unless somebody else holds them; each holder calls it once."""
        with self._lock:
            if not self._holders:
                raise RuntimeError("descriptors were let go of more often than they were held")
            self._holders -= 1
            last = not self._holders
        if last:
            _close(self.numbers)

    @property
    def is_open(self) -> bool:
        """Whether somebody holds them."""
        with self._lock:
            return bool(self._holders)


def _close(descriptors: Iterable[int]) -> None:
    for each in descriptors:
        os.close(each)


@dataclass(frozen=True, slots=True)
class DmaBufPlane:
    """One plane of a picture."""

    descriptor: int
    offset: int
    """Bytes from the beginning of that memory."""
    stride: int
    """Bytes from one row to the next."""
    size: int
    """Bytes behind the descriptor, from the kernel and not from who gave it."""


@dataclass(frozen=True, slots=True, eq=False)
class DmaBuf:
    """A picture in a DMA-BUF. Its descriptors belong to its source: they are open until the source's next picture.

    Who needs them for longer holds :attr:`memory`, by which imports can be kept as well: a source gives the same few
    buffers in turn. What is read of one that its source has given back may be of a later picture.
    """

    width: int
    height: int
    fourcc: int
    modifier: int
    planes: tuple[DmaBufPlane, ...]
    memory: Descriptors = field(repr=False)

    def __str__(self) -> str:
        return f"{self.width}x{self.height} {format_words(self.fourcc, self.modifier)}"
