"""What a recording keeps of the pictures of a stream: a row for each access unit that went into the decoder."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Any, Final

from punktfunk.process.artefacts import MAX_ROWS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from punktfunk.media import DecodedFrame, frame_marker

_NAMES: Final = (
    "index",
    "pts_ns",
    "decode_begin_ns",
    "decode_end_ns",
    "strip_frame",
    "strip_time_us",
    "strip_tag",
    "concealed",
)


class PictureLog:
    """Rows of at most ``MAX_ROWS`` access units, 64 bytes each; with ``compared`` 16 bytes more.

    Columns: ``index``, ``pts_ns``, ``decode_begin_ns``, ``decode_end_ns`` (-1: no picture), ``strip_frame``
    (-1: unreadable or not looked for), ``strip_time_us``, ``strip_tag``, ``concealed`` (0/1), and with ``compared``
    float ``psnr`` (dB) and ``ssim`` of luma (NaN where not compared). Where pictures were shown, ``presented_ns``
    (-1: not this one, because a newer one was ready).
    """

    def __init__(self, *, compared: bool, limit: int = MAX_ROWS) -> None:
        self.left_out = 0
        """Access units beyond the limit, which have no row."""
        self._compared = compared
        self._limit = limit
        self._rows = array("q")
        self._quality = array("d")
        self._presented = array("q")

    def add(
        self,
        index: int,
        pts_ns: int,
        decoded: DecodedFrame | None,
        reading: frame_marker.MarkerReading | None,
        quality: tuple[float, float],
    ) -> None:
        """Keep a row; ``quality`` is PSNR and SSIM."""
        if len(self._rows) >= self._limit * len(_NAMES):
            self.left_out += 1
            return
        self._rows.extend(
            (
                index,
                pts_ns,
                -1 if decoded is None else decoded.decode_begin_ns,
                -1 if decoded is None else decoded.decode_end_ns,
                -1 if reading is None else reading.frame,
                -1 if reading is None else reading.time_us,
                -1 if reading is None else reading.tag,
                0 if decoded is None else int(decoded.concealed),
            )
        )
        if self._compared:
            self._quality.extend(quality)

    def presented(self, index: int, presented_ns: int) -> None:
        """Take note of when the picture of access unit ``index`` was shown."""
        if len(self._presented) < self._limit * 2:
            self._presented.extend((index, presented_ns))

    def columns(self) -> dict[str, NDArray[Any]]:
        """Return all rows as columns of one length."""
        import numpy as np

        table = np.array(self._rows, dtype="<i8").reshape(-1, len(_NAMES))
        columns: dict[str, NDArray[Any]] = {name: table[:, at] for at, name in enumerate(_NAMES)}
        if self._presented:
            shown = dict(zip(self._presented[::2], self._presented[1::2], strict=True))
            columns["presented_ns"] = np.array([shown.get(int(at), -1) for at in table[:, 0]], dtype="<i8")
        if self._compared:
            figures = np.array(self._quality, dtype="<f8").reshape(-1, 2)
            columns["psnr"], columns["ssim"] = figures[:, 0], figures[:, 1]
        return columns
