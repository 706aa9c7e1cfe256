"""Decode access units, read the frame marker, compare with the test card: what a client learns from its pictures."""

from __future__ import annotations

import math

import av

from punktfunk.client.picture_log import PictureLog
from punktfunk.core._core import ReceivedFrame
from punktfunk.media import Codec, DecodedFrame, TestCardSpec, frame_marker, quality
from punktfunk.media.decoders import open_decoder
from punktfunk.media.testcard import TestCard
from punktfunk.units import Resolution

_TIME_STEP = 1 << 48


class PictureReader:
    """Decode one stream; count its pictures, their frame markers and its damage, and keep nothing of any of them.

    With ``log``, each access unit leaves a row there, and what the marker names is drawn again from ``reference`` and
    compared, every ``reference_every``-th picture.
    """

    def __init__(
        self,
        codec: str,
        *,
        read_marker: bool,
        log: PictureLog | None = None,
        reference: TestCardSpec | None = None,
        reference_every: int = 1,
    ) -> None:
        self.strips_read = 0
        self.strips_unreadable = 0
        self._decoder = open_decoder(Codec(codec))
        self._read_marker = read_marker or reference is not None
        self._log = log
        self._reference = reference
        self._reference_every = reference_every
        self._card: tuple[TestCard, av.VideoFrame] | None = None

    def take(self, frame: ReceivedFrame) -> DecodedFrame | None:
        """Decode one access unit; damage is counted, never raised."""
        decoded = self._decoder.decode(frame)
        reading = frame_marker.read(decoded.luma) if decoded is not None and self._read_marker else None
        if decoded is not None and self._read_marker:
            self.strips_read += reading is not None
            self.strips_unreadable += reading is None
        if self._log is not None:
            self._log.add(frame.index, frame.pts_ns, decoded, reading, self._compare(decoded, reading))
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

    def close(self) -> None:
        """Free the decoder."""
        self._decoder.close()

    def _compare(
        self, decoded: DecodedFrame | None, reading: frame_marker.MarkerReading | None
    ) -> tuple[float, float]:
        """Draw the card that the frame marker names again and compare luma with it."""
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
