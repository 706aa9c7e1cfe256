"""An encoder put to the proof: it encodes the test card, what comes out is decoded and compared with what went in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from typing import Final

import numpy as np

from punktfunk.errors import CodecUnavailableError, MediaError
from punktfunk.interpreter import module_command
from punktfunk.media import frame_marker, quality
from punktfunk.media.decoders import open_decoder
from punktfunk.media.encoders import RateChange, open_encoder
from punktfunk.media.encoders.base import MIN_BITRATE, Encoder, EncoderConfig
from punktfunk.media.planes import plane_view
from punktfunk.media.sources.card import TestCardSource
from punktfunk.media.testcard import TestCard
from punktfunk.media.types import PIXEL_FORMAT, Codec, DecodedFrame, RawFrame
from punktfunk.units import Bitrate

LEAST_DB: Final = 25.0
"""PSNR that each plane of each picture has at least: planes of colour that are swapped have 21."""
MOST_DB: Final = 99.0
"""Stands for a picture that came back unchanged."""
_ENTROPY: Final = 0.2
_KEY_AT: Final = 0.5
"""Where a key frame is asked for, as a share of all pictures."""
_RATE_AT: Final = 0.75
"""Where half the bit rate is asked for."""
_NS_PER_MS: Final = 1e6
_START_LIMIT_S: Final = 30.0
_PICTURE_LIMIT_S: Final = 0.5
"""Of one picture on average; no stream could live with half of it."""


@dataclass(frozen=True, slots=True)
class SelfTest:
    """What an encoder did; figures are 0 where it made no picture."""

    frames: int
    """Pictures that came back as they should."""
    psnr_db: float = 0.0
    """Mean of the luma plane; see :func:`punktfunk.media.quality.psnr`."""
    least_psnr_db: float = 0.0
    """That of the worst picture."""
    encode_ms: float = 0.0
    """Median of what a picture took."""
    longest_ms: float = 0.0
    megabits_per_second: float = 0.0
    """At the mode's frame rate, until half the rate is asked for."""
    rate_change: RateChange | None = None
    """How it took the lower rate."""
    failure: str = ""
    """What was wrong; "" for nothing."""


class _WrongError(Exception):
    """A picture is not what it should be."""


def run_self_test(config: EncoderConfig, codec: Codec, frames: int) -> SelfTest:
    """Encode so many pictures of the test card, decode each at once, and compare.

    Asks for a key frame in the middle and for half the bit rate at three quarters. The first failure ends it.
    """
    try:
        encoder = open_encoder(config)
    except CodecUnavailableError as error:
        return SelfTest(0, failure=error.cause)
    run = _Run(config, encoder, codec, frames)
    failure = ""
    try:
        run.all()
    except (MediaError, CodecUnavailableError) as error:
        failure = error.cause
    except _WrongError as error:
        failure = str(error)
    finally:
        encoder.close()
    return run.result(failure)


def run_isolated(config: EncoderConfig, codec: Codec, frames: int) -> SelfTest:
    """Do the same in a process of its own, for an encoder whose driver may end that or hang."""
    limit_s = _START_LIMIT_S + frames * _PICTURE_LIMIT_S
    command = [*module_command(__name__), config.model_dump_json(), codec, str(frames)]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=limit_s, check=False
        )
    except subprocess.TimeoutExpired:
        return SelfTest(0, failure=f"hangs: nothing came of it in {limit_s:g} s")
    try:
        said = json.loads(done.stdout.splitlines()[-1])
        return SelfTest(**said)
    except (IndexError, ValueError, TypeError):
        how = f"signal {-done.returncode}" if done.returncode < 0 else f"status {done.returncode}"
        return SelfTest(0, failure=f"ends its process with {how}")


class _Run:
    def __init__(self, config: EncoderConfig, encoder: Encoder, codec: Codec, frames: int) -> None:
        self._config = config
        self._encoder = encoder
        self._decoder = open_decoder(codec)
        self._source = TestCardSource(TestCard(config.mode.resolution, entropy=_ENTROPY))
        self._frames = frames
        self._decibels: list[float] = []
        self._took_ns: list[int] = []
        self._bytes = 0
        self._measured = 0
        self._change: RateChange | None = None

    def all(self) -> None:
        """Send the pictures through; raise what is wrong first."""
        key_at, rate_at = round(self._frames * _KEY_AT), round(self._frames * _RATE_AT)
        for number in range(self._frames):
            if number == rate_at:
                half = Bitrate(max(MIN_BITRATE.bits_per_second, self._config.bitrate.bits_per_second // 2))
                self._change = self._encoder.set_bitrate(half)
            wants_key = number in {0, key_at}
            frame = self._source.capture()
            unit = self._encoder.encode(frame, key=wants_key)
            reopened = number == rate_at and self._change is RateChange.REOPENED
            if unit.key != (wants_key or reopened):
                wrong = (
                    "a key frame that nobody asked for" if unit.key else "no key frame, which was asked for"
                )
                raise _WrongError(f"picture {number} is {wrong}")
            self._compare(number, frame, self._decoder.decode(unit.data))
            self._took_ns.append(unit.stamps.encode_end_ns - unit.stamps.encode_begin_ns)
            if number < rate_at:
                self._bytes += len(unit.data)
                self._measured += 1

    def result(self, failure: str) -> SelfTest:
        """Return the figures of the pictures so far."""
        if not self._decibels:
            return SelfTest(0, rate_change=self._change, failure=failure)
        seconds = self._measured / self._config.mode.refresh_hz
        return SelfTest(
            frames=len(self._decibels),
            psnr_db=round(float(np.mean(self._decibels)), 2),
            least_psnr_db=round(min(self._decibels), 2),
            encode_ms=round(float(np.median(self._took_ns or [0])) / _NS_PER_MS, 2),
            longest_ms=round(max(self._took_ns, default=0) / _NS_PER_MS, 2),
            megabits_per_second=round(self._bytes * 8 / 1e6 / seconds, 2) if self._measured else 0.0,
            rate_change=self._change,
            failure=failure,
        )

    def _compare(self, number: int, frame: RawFrame, decoded: DecodedFrame | None) -> None:
        if decoded is None or decoded.concealed:
            raise _WrongError(f"picture {number} does not decode")
        picture = decoded.picture
        wanted = self._config.mode
        if (picture.width, picture.height) != (wanted.width, wanted.height):
            raise _WrongError(
                f"picture {number} is {picture.width}x{picture.height}, not {wanted.resolution}"
            )
        reading = frame_marker.read(decoded.luma)
        if reading is None or reading.frame != frame.frame:
            shown = "unreadable" if reading is None else f"that of picture {reading.frame}"
            raise _WrongError(f"the frame marker of picture {number} is {shown}")
        planar = picture if picture.format.name == PIXEL_FORMAT else picture.reformat(format=PIXEL_FORMAT)
        decibels = [
            min(MOST_DB, quality.psnr(plane_view(frame.picture, index), plane_view(planar, index)))
            for index in range(3)
        ]
        if min(decibels) < LEAST_DB:
            raise _WrongError(f"picture {number} differs from what was encoded: PSNR {min(decibels):.1f} dB")
        self._decibels.append(decibels[0])


def main() -> None:
    """Test the encoder that the arguments name, and print a line of JSON; see :func:`run_isolated`."""
    config, codec, frames = sys.argv[1:]
    found = run_self_test(EncoderConfig.model_validate_json(config), Codec(codec), int(frames))
    print(json.dumps(asdict(found)), flush=True)  # noqa: T201 - to the process that started this one
    # What drivers do at the end of a process is not what was tested.
    os._exit(0)


if __name__ == "__main__":
    main()
