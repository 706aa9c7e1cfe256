"""Planes of pictures as NumPy arrays."""

from __future__ import annotations

import av
import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.uint8]
"""One plane of a picture, shape (rows, columns), 8 bit."""


def plane_view(picture: av.VideoFrame, index: int) -> Plane:
    """Return plane ``index`` (0 Y, 1 U, 2 V) of an 8-bit planar picture: a view, padding left out."""
    plane = picture.planes[index]
    rows = np.frombuffer(plane, np.uint8)  # type: ignore[call-overload]  # it has the buffer protocol, without saying so
    view: Plane = rows.reshape(-1, plane.line_size)[: plane.height, : plane.width]
    return view
