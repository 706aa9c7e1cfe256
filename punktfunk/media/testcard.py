"""The test card: moving texture of controllable entropy under the frame marker.

Bands of texture drift past each other in different directions, so that motion search has work to do, and a
layer of noise that changes from frame to frame sets how much of the picture cannot be predicted at all.
Every pixel is a function of (seed, picture size, entropy, frame number, time, tag): a receiver that knows the
first three and reads the others from the marker can draw the very picture that was encoded, and compare.
"""

from __future__ import annotations

import av
import numpy as np
from numpy.typing import NDArray

from punktfunk.errors import UsageError
from punktfunk.media import frame_marker
from punktfunk.media.marker_layout import layout
from punktfunk.media.planes import Plane, plane_view
from punktfunk.media.types import PIXEL_FORMAT
from punktfunk.units import Resolution

_TILE = 256
"""Period of the textures, pixels. A power of two; views at any offset below it need no wrap-around."""
_BANDS = 6
_BASE = 32
"""Darkest texture level; leaves room above limited-range black."""
_DETAIL_RANGE = 110
_NOISE_RANGE = 80
"""Texture and noise together stay below 235 by construction, so that their sum needs no clipping."""
_STATIC_SHARE = 0.6
"""Share of the detail that is fine-grained at entropy 1; the rest is smooth."""


class TestCard:
    """Draws the card for one picture size.

    ``entropy`` from 0 (smooth shapes, fully predictable motion) to 1 (strong fine texture and strong noise in
    every frame). Drawing costs a few hundred microseconds at 720p; making the card, some milliseconds.
    """

    __test__ = False  # the name begins with Test, but pytest shall not collect it

    def __init__(self, resolution: Resolution, *, entropy: float = 0.3, seed: int = 0, tag: int = 0) -> None:
        if not 0.0 <= entropy <= 1.0:
            raise UsageError(f"test card entropy {entropy!r} is not from 0 to 1", "0 is smooth, 1 is noise")
        layout(resolution.width, resolution.height)
        self.resolution = resolution
        self.entropy = entropy
        self.seed = seed
        self.tag = tag
        rng = np.random.default_rng([seed, 0x7E57CA2D])
        height, width = resolution.height, resolution.width
        self._luma = _spread(_texture(rng, entropy), height, width)
        self._chroma = tuple(_spread(_chroma_texture(rng), height // 2, width // 2) for _ in range(2))
        noise_range = round(_NOISE_RANGE * entropy * entropy)
        self._noise: Plane | None = None
        if noise_range:
            tile = rng.integers(0, noise_range + 1, (_TILE, _TILE), dtype=np.uint8)
            self._noise = _spread(tile, height, width)
        self._edges = [round(i * height / _BANDS / 2) * 2 for i in range(_BANDS)] + [height]
        # Whole even pixels a frame: chroma moves by halves, and the bands differ in speed and direction.
        speeds = rng.permutation([-6, -4, -2, 2, 4, 6])
        self._velocities = [(int(speed), 2 * (band % 2)) for band, speed in enumerate(speeds[:_BANDS])]

    def new_picture(self) -> av.VideoFrame:
        """Return an empty picture that ``draw`` can fill."""
        picture = av.VideoFrame(self.resolution.width, self.resolution.height, PIXEL_FORMAT)
        picture.color_range = 1  # AVCOL_RANGE_MPEG, limited
        picture.colorspace = 1  # AVCOL_SPC_BT709
        return picture

    def draw(self, picture: av.VideoFrame, *, frame: int, time_us: int) -> None:
        """Draw frame number ``frame`` (0 or more) into ``picture`` (yuv420p of the card's size)."""
        luma = plane_view(picture, 0)
        self._draw_bands(luma, self._luma, frame, scale=1)
        if self._noise is not None:
            x, y = _noise_offset(self.seed, frame)
            luma += self._noise[y : y + luma.shape[0], x : x + luma.shape[1]]
        for index, texture in enumerate(self._chroma, start=1):
            self._draw_bands(plane_view(picture, index), texture, frame, scale=2)
        frame_marker.draw(luma, frame=frame, time_us=time_us, tag=self.tag)

    def _draw_bands(self, plane: Plane, texture: Plane, frame: int, *, scale: int) -> None:
        width = plane.shape[1]
        for band, (dx, dy) in enumerate(self._velocities):
            top, bottom = self._edges[band] // scale, self._edges[band + 1] // scale
            x = (frame * dx // scale) % _TILE
            y = (frame * dy // scale) % _TILE
            plane[top:bottom] = texture[top + y : bottom + y, x : x + width]


def _noise_offset(seed: int, frame: int) -> tuple[int, int]:
    """Place the noise layer for a frame: neighbouring frames share no alignment (SplitMix64 finaliser)."""
    z = (seed * 0x9E3779B97F4A7C15 + frame + 1) * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
    z = (z ^ z >> 27) * 0x94D049BB133111EB & 0xFFFFFFFFFFFFFFFF
    z ^= z >> 31
    return z % _TILE, (z >> 32) % _TILE


def _spread(tile: Plane, height: int, width: int) -> Plane:
    """Repeat a tile so that a (height, width) view fits at every offset below the tile's period."""
    rows, columns = (-(-(size + _TILE) // _TILE) for size in (height, width))
    return np.ascontiguousarray(np.tile(tile, (rows, columns)))


def _waves(rng: np.random.Generator, count: int, highest: int) -> NDArray[np.float64]:
    """Return a sum of plane waves with whole periods in a tile, scaled to 0..1: smooth and seamless."""
    axis = np.arange(_TILE) * (2 * np.pi / _TILE)
    total = np.zeros((_TILE, _TILE))
    for _ in range(count):
        fx, fy = rng.integers(1, highest + 1, 2)
        total += np.sin(fx * axis[None, :] + fy * axis[:, None] + rng.uniform(0, 2 * np.pi))
    low, high = total.min(), total.max()
    scaled: NDArray[np.float64] = (total - low) / (high - low)
    return scaled


def _texture(rng: np.random.Generator, entropy: float) -> Plane:
    smooth = _waves(rng, 6, 6)
    fine = rng.random((_TILE, _TILE))
    share = _STATIC_SHARE * entropy
    return (_BASE + _DETAIL_RANGE * ((1 - share) * smooth + share * fine)).astype(np.uint8)


def _chroma_texture(rng: np.random.Generator) -> Plane:
    return (96 + 64 * _waves(rng, 4, 3)).astype(np.uint8)
