"""What a recording keeps of pictures and records: rows of one shape, and no more of them than its limit."""

from __future__ import annotations

import math

import av
import numpy as np

from punktfunk.client.picture_log import PictureLog
from punktfunk.media import DecodedFrame
from punktfunk.media.frame_marker import MarkerReading
from punktfunk.process.artefacts import RecordStore

PICTURE = av.VideoFrame(16, 16, "yuv420p")


def test_rows_say_what_was_decoded_read_shown_and_compared() -> None:
    log = PictureLog(compared=True)
    log.add(7, 1000, DecodedFrame(PICTURE, 11, 12, True), MarkerReading(3, 4, 5), (40.5, 0.75))
    log.add(8, 2000, None, None, (math.nan, math.nan))
    log.add(9, 3000, DecodedFrame(PICTURE, 31, 32, False), None, (math.nan, math.nan))
    log.presented(9, 33)
    columns = log.columns()
    assert {name: column.tolist() for name, column in columns.items() if column.dtype == np.int64} == {
        "index": [7, 8, 9],
        "pts_ns": [1000, 2000, 3000],
        "decode_begin_ns": [11, -1, 31],
        "decode_end_ns": [12, -1, 32],
        "strip_frame": [3, -1, -1],
        "strip_time_us": [4, -1, -1],
        "strip_tag": [5, -1, -1],
        "concealed": [1, 0, 0],
        "presented_ns": [-1, -1, 33],
    }
    assert columns["psnr"][0] == 40.5
    assert columns["ssim"][0] == 0.75
    assert np.isnan(columns["psnr"][1:]).all()


def test_what_was_not_compared_or_shown_has_no_column() -> None:
    log = PictureLog(compared=False)
    log.add(0, 0, None, None, (math.nan, math.nan))
    assert not {"psnr", "ssim", "presented_ns"} & set(log.columns())
    assert PictureLog(compared=False).columns()["index"].shape == (0,)


def test_rows_beyond_the_limit_are_counted_and_not_kept() -> None:
    log = PictureLog(compared=True, limit=2)
    for index in range(5):
        log.add(index, 0, None, None, (1.0, 1.0))
        log.presented(index, index)
    columns = log.columns()
    assert columns["index"].tolist() == [0, 1]
    assert columns["presented_ns"].tolist() == [0, 1]
    assert len(columns["psnr"]) == 2
    assert log.left_out == 3


def test_records_beyond_the_limit_are_counted_and_not_kept() -> None:
    store = RecordStore(limit=5)
    for first in (0, 3, 6):
        piece = np.arange(first, first + 3, dtype="<i8")
        store.add({"index": piece.tobytes(), "bytes": (piece * 10).tobytes()})
    columns = store.columns()
    assert columns["index"].tolist() == [0, 1, 2, 3, 4]
    assert columns["bytes"].tolist() == [0, 10, 20, 30, 40]
    assert store.left_out == 4
    assert RecordStore(limit=5).columns() == {}
