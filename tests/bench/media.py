"""Time the media stages: test card, frame marker, encoders, decoders, quality. Prints figures, judges nothing.

The yardstick beside them is one copy of the picture's planes, the least that any stage can cost.

    python tests/bench/media.py [--frames 180] [--mode 1280x720@60] [--bitrate "10 Mbit/s"]
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable

import av
import numpy as np

from punktfunk.media import (
    AccessUnit,
    EncoderConfig,
    EncoderName,
    TestCardSpec,
    frame_marker,
    open_encoder,
    open_source,
    quality,
)
from punktfunk.media.decoders import open_decoder
from punktfunk.media.planes import plane_view
from punktfunk.media.testcard import TestCard
from punktfunk.media.types import Codec
from punktfunk.units import Bitrate, Mode

_CODECS = {EncoderName.X264: Codec.H264, EncoderName.X265: Codec.HEVC, EncoderName.SVT_AV1: Codec.AV1}


def _row(what: str, milliseconds: list[float], note: str = "") -> None:
    least, middle, high = np.percentile(milliseconds, [0, 50, 95])
    print(f"{what:34} {least:9.3f} {middle:9.3f} {high:9.3f}   {note}", flush=True)


def _timed(call: Callable[[int], object], frames: int) -> list[float]:
    taken = []
    for number in range(frames):
        begin = time.perf_counter_ns()
        call(number)
        taken.append((time.perf_counter_ns() - begin) / 1e6)
    return taken


def _picture_stages(mode: Mode, frames: int) -> None:
    card = TestCard(mode.resolution)
    ours, theirs = card.new_picture(), card.new_picture()
    planes = [(plane_view(ours, index), plane_view(theirs, index)) for index in range(3)]

    def copy(_: int) -> None:
        for target, origin in planes:
            target[...] = origin

    _row("copy of the planes (yardstick)", _timed(copy, frames))
    for entropy in (0.0, 0.3, 1.0):
        card = TestCard(mode.resolution, entropy=entropy)
        taken = _timed(lambda n, card=card: card.draw(ours, frame=n, time_us=n), frames)  # type: ignore[misc]
        _row(f"test card, entropy {entropy}", taken)
    luma = plane_view(ours, 0)
    _row("marker draw", _timed(lambda n: frame_marker.draw(luma, frame=n, time_us=n), frames))
    _row("marker read", _timed(lambda _: frame_marker.read(luma), frames))
    card.draw(theirs, frame=1, time_us=1)
    other = plane_view(theirs, 0)
    few = min(frames, 30)
    _row("psnr of luma", _timed(lambda _: quality.psnr(luma, other), few))
    _row("ssim of luma", _timed(lambda _: quality.ssim(luma, other), few))


def _codec_stages(mode: Mode, bitrate: Bitrate, frames: int) -> None:
    for name in EncoderName:
        source = open_source(TestCardSpec(), mode)
        opening = time.perf_counter_ns()
        encoder = open_encoder(EncoderConfig(encoder=name, mode=mode, bitrate=bitrate))
        opened_ms = (time.perf_counter_ns() - opening) / 1e6
        units: list[AccessUnit] = [encoder.encode(source.capture()) for _ in range(frames)]
        encoder.close()
        source.close()
        sizes = np.array([len(unit.data) for unit in units])
        mbit = sizes.mean() * 8 * mode.refresh_hz / 1e6
        _row(
            f"{name} encode",
            [(unit.stamps.encode_end_ns - unit.stamps.encode_begin_ns) / 1e6 for unit in units],
            f"{mbit:.2f} Mbit/s, largest frame {sizes.max()} B, open {opened_ms:.1f} ms",
        )
        decoder = open_decoder(_CODECS[name])
        decoded = [decoder.decode(unit.data) for unit in units]
        taken = [(frame.decode_end_ns - frame.decode_begin_ns) / 1e6 for frame in decoded if frame]
        readable = sum(frame is not None and frame_marker.read(frame.luma) is not None for frame in decoded)
        _row(f"{_CODECS[name]} decode", taken, f"{readable}/{frames} markers readable")


def main() -> int:
    """Run every measurement once."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--frames", type=int, default=180)
    parser.add_argument("--mode", type=Mode.parse, default=Mode(1280, 720, 60))
    parser.add_argument("--bitrate", type=Bitrate.parse, default=Bitrate(10_000_000))
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    cores = len(os.sched_getaffinity(0))
    print(
        f"{arguments.mode} at {arguments.bitrate}, {arguments.frames} frames, PyAV {av.__version__}, ", end=""
    )
    print(f"{cores} cores, load {load:.1f}")
    print(f"{'milliseconds a frame':34} {'least':>9} {'p50':>9} {'p95':>9}")
    _picture_stages(arguments.mode, arguments.frames)
    _codec_stages(arguments.mode, arguments.bitrate, arguments.frames)
    return 0


if __name__ == "__main__":
    sys.exit(main())
