"""The frame marker: frame number and time in the pixels, readable after encode, loss and decode.

112 cells stand in two rows of 56 in the top left corner of the luma plane, one bit a cell, most significant
bit first, left to right, upper row first::

    upper row   | frame number, 32 bits | time, bits 47..24 |
    lower row   | time, bits 23..0 | tag, 16 bits | CRC-16 |

A set bit is luma 235, a clear one 16 (white and black of limited range), and a quiet zone one cell wide, luma
16, surrounds the rows. A cell is 16 × 16 pixels, or 8 × 8 in pictures too narrow for that. A set cell keeps a
black margin of an eighth of its side: encoders that compare blocks by variance alone (SVT-AV1 at its fast
presets) take a flat white block for a flat black one and leave the old bit standing. The time is
CLOCK_MONOTONIC in microseconds modulo 2^48, the frame number is modulo 2^32.

The CRC is CRC-16/IBM-3740 (polynomial 0x1021, initial value 0xFFFF) over the twelve bytes before it. Over 112
bits it catches every error of up to three cells and every burst of up to 16; the reader also wants the quiet
zone dark, so that a picture without one is not taken for one.
"""

from __future__ import annotations

import binascii
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from punktfunk.errors import MediaError
from punktfunk.media.marker_layout import COLUMNS, ROWS, layout
from punktfunk.media.planes import Plane

BLACK: Final = 16
WHITE: Final = 235
THRESHOLD: Final = 126
"""Cells whose middle is brighter than this on average read as 1."""

_MARGIN_SHARE: Final = 8
_CRC_START: Final = 0xFFFF
_TIME_MASK: Final = (1 << 48) - 1
_PAYLOAD_BYTES: Final = 12


@dataclass(frozen=True, slots=True)
class MarkerReading:
    """What a frame marker says: frame number (32 bits), time (µs, 48 bits) and tag (16 bits)."""

    frame: int
    time_us: int
    tag: int


def draw(luma: Plane, *, frame: int, time_us: int, tag: int = 0) -> None:
    """Write the frame marker into ``luma`` (height, width; writable). Values are taken modulo their widths."""
    place = layout(luma.shape[1], luma.shape[0])
    cell = place.cell
    margin = cell // _MARGIN_SHARE
    levels = np.where(_encode(frame, time_us, tag), np.uint8(WHITE), np.uint8(BLACK)).reshape(ROWS, COLUMNS)
    box = luma[: place.height, : place.width]
    box[...] = BLACK
    cells = box[cell:-cell, cell:-cell].reshape(ROWS, cell, COLUMNS, cell)
    inner = slice(margin, cell - margin)
    cells[:, inner, :, inner] = levels[:, None, :, None]


def read(luma: Plane) -> MarkerReading | None:
    """Read the frame marker of ``luma`` (height, width; uint8); None where there is none or it is damaged."""
    height, width = luma.shape
    try:
        cell = layout(width, height).cell
    except MediaError:
        return None
    means = _cell_means(luma, cell)
    # The quiet zone above and below the rows; the cells at its ends are left out, they border the picture.
    if means[0].max() > THRESHOLD or means[-1].max() > THRESHOLD:
        return None
    packed = np.packbits((means[1:-1] > THRESHOLD).ravel()).tobytes()
    payload, check = packed[:_PAYLOAD_BYTES], packed[_PAYLOAD_BYTES:]
    if binascii.crc_hqx(payload, _CRC_START) != int.from_bytes(check, "big"):
        return None
    return MarkerReading(
        frame=int.from_bytes(payload[0:4], "big"),
        time_us=int.from_bytes(payload[4:10], "big"),
        tag=int.from_bytes(payload[10:12], "big"),
    )


def _encode(frame: int, time_us: int, tag: int) -> NDArray[np.bool_]:
    payload = (
        (frame & 0xFFFFFFFF).to_bytes(4, "big")
        + (time_us & _TIME_MASK).to_bytes(6, "big")
        + (tag & 0xFFFF).to_bytes(2, "big")
    )
    check = binascii.crc_hqx(payload, _CRC_START).to_bytes(2, "big")
    return np.unpackbits(np.frombuffer(payload + check, np.uint8)).view(np.bool_)


def _cell_means(luma: Plane, cell: int) -> NDArray[np.float64]:
    """Return the mean luma of each cell's middle, quiet rows included: shape (ROWS + 2, COLUMNS)."""
    rows = ROWS + 2
    box = luma[: rows * cell, cell : (COLUMNS + 1) * cell]
    cells = box.reshape(rows, cell, COLUMNS, cell)  # splitting axes of a view needs no copy
    inner = slice(cell // 4, cell - cell // 4)
    middle = cells[:, inner, :, inner]
    means: NDArray[np.float64] = middle.mean(axis=(1, 3))
    return means
