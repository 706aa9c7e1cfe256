"""Decode access units, read the strip, compare with the test card: what a client learns from its pictures."""

from __future__ import annotations

import math
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from punktfunk.core._core import ReceivedFrame
from punktfunk.media import Codec, DecodedFrame, TestCard, TestCardSpec, open_decoder, quality, strip
from punktfunk.units import Resolution

_TIME_STEP = 1 << 48


class PictureLog:
    """Decode one stream and keep a row for each access unit that went into the decoder.

    Columns: ``index``, ``pts_ns``, ``decode_begin_ns``, ``decode_end_ns`` (-1: no picture), ``strip_frame``
    (-1: unreadable or not looked for), ``strip_time_us``, ``strip_tag``, ``concealed`` (0/1), and float ``psnr``
    (dB) and ``ssim`` of luma (NaN where not compared). Where pictures were shown, ``presented_ns`` (-1: not this
    one, because a newer one was ready).
    """

    def __init__(
        self, codec: str, *, read_strip: bool, reference: TestCardSpec | None = None, reference_every: int = 1
    ) -> None:
        self.strips_read = 0
        self.strips_unreadable = 0
        self._decoder = open_decoder(Codec(codec))
        self._read_strip = read_strip or reference is not None
        self._reference = reference
        self._reference_every = reference_every
        self._card: tuple[TestCard, av.VideoFrame] | None = None
        self._rows: list[tuple[int, ...]] = []
        self._quality: list[tuple[float, float]] = []
        self._presented: dict[int, int] = {}

    def take(self, frame: ReceivedFrame) -> DecodedFrame | None:
        """Decode one access unit; damage is counted, never raised."""
        decoded = self._decoder.decode(frame)
        reading = strip.read(decoded.luma) if decoded is not None and self._read_strip else None
        if decoded is not None and self._read_strip:
            self.strips_read += reading is not None
            self.strips_unreadable += reading is None
        self._rows.append(
            (
                frame.index,
                frame.pts_ns,
                -1 if decoded is None else decoded.decode_begin_ns,
                -1 if decoded is None else decoded.decode_end_ns,
                -1 if reading is None else reading.frame,
                -1 if reading is None else reading.time_us,
                -1 if reading is None else reading.tag,
                0 if decoded is None else int(decoded.concealed),
            )
        )
        self._quality.append(self._compare(decoded, reading))
        return decoded

    @property
    def pictures(self) -> int:
        """Pictures that the decoder gave."""
        return self._decoder.stats.frames

    @property
    def concealed(self) -> int:
        """Pictures that the decoder marked as damaged."""
        return self._decoder.stats.concealed

    @property
    def errors(self) -> int:
        """Access units that gave no picture."""
        return self._decoder.stats.errors

    def presented(self, index: int, presented_ns: int) -> None:
        """Take note of when the picture of access unit ``index`` was shown."""
        self._presented[index] = presented_ns

    def columns(self) -> dict[str, NDArray[Any]]:
        """Return all rows as columns of one length."""
        names = (
            "index",
            "pts_ns",
            "decode_begin_ns",
            "decode_end_ns",
            "strip_frame",
            "strip_time_us",
            "strip_tag",
            "concealed",
        )
        table = np.array(self._rows, dtype="<i8").reshape(-1, len(names))
        columns: dict[str, NDArray[Any]] = {name: table[:, at] for at, name in enumerate(names)}
        if self._presented:
            shown = [self._presented.get(int(index), -1) for index in columns["index"]]
            columns["presented_ns"] = np.array(shown, dtype="<i8")
        if self._reference is not None:
            figures = np.array(self._quality, dtype="<f8").reshape(-1, 2)
            columns["psnr"], columns["ssim"] = figures[:, 0], figures[:, 1]
        return columns

    def close(self) -> None:
        """Free the decoder."""
        self._decoder.close()

    def _compare(
        self, decoded: DecodedFrame | None, reading: strip.StripReading | None
    ) -> tuple[float, float]:
        """Draw the card that the strip names again and compare luma with it."""
        spec = self._reference
        if spec is None or decoded is None or reading is None or reading.frame % self._reference_every:
            return math.nan, math.nan
        if (
            self._card is None
            or self._card[1].width != decoded.width
            or self._card[1].height != decoded.height
        ):
            card = TestCard(
                Resolution(decoded.width, decoded.height), entropy=spec.entropy, seed=spec.seed, tag=spec.tag
            )
            self._card = card, card.new_picture()
        card, picture = self._card
        card.draw(picture, frame=reading.frame, time_us=reading.time_us % _TIME_STEP)
        drawn = DecodedFrame(picture, -1, -1, False).luma
        return quality.psnr(drawn, decoded.luma), quality.ssim(drawn, decoded.luma)
