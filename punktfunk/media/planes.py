"""Planes of pictures as NumPy arrays."""

from __future__ import annotations

from mmap import mmap

import av
import numpy as np
from numpy.typing import NDArray

Buffer = mmap | bytearray | bytes
"""What a picture is seen in."""

Plane = NDArray[np.uint8]
"""One plane of a picture, shape (rows, columns), 8 bit."""


Pixels = NDArray[np.uint8]
"""A picture of packed four-byte pixels, shape (height, width, 4)."""
PIXEL_BYTES = 4


def packed_bytes(width: int, height: int, stride: int) -> int:
    """Return how many bytes a picture of packed pixels takes whose rows begin ``stride`` bytes apart."""
    return stride * (height - 1) + width * PIXEL_BYTES


def packed_view(buffer: Buffer, start: int, width: int, height: int, stride: int) -> Pixels:
    """Return the picture of packed pixels that begins at ``start`` of a buffer: a view."""
    return np.ndarray((height, width, PIXEL_BYTES), np.uint8, buffer, start, (stride, PIXEL_BYTES, 1))


def plane_view(picture: av.VideoFrame, index: int) -> Plane:
    """Return plane ``index`` (0 Y, 1 U, 2 V) of an 8-bit planar picture: a view, padding left out."""
    plane = picture.planes[index]
    rows = np.frombuffer(plane, np.uint8)  # type: ignore[call-overload]  # it has the buffer protocol, without saying so
    view: Plane = rows.reshape(-1, plane.line_size)[: plane.height, : plane.width]
    return view
