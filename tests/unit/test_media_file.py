"""Any video file plays for ever, at the mode's size, with the frame marker on top."""

from __future__ import annotations

import wave
from pathlib import Path

import av
import numpy as np
import pytest

from punktfunk.errors import ConfigError, MediaError, UsageError
from punktfunk.media import EncoderConfig, FileSpec, SyntheticSpec, frame_marker, open_producer, open_source
from punktfunk.media.decoders import open_decoder
from punktfunk.media.planes import plane_view
from punktfunk.units import Mode

_MODE = Mode(960, 540, 60)


def _write(path: Path, count: int = 5, width: int = 480, height: int = 272, codec: str = "mpeg4") -> Path:
    """Write a video whose frame n is plain luma 40 + 30 n."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(count):
            picture = av.VideoFrame(width, height, "yuv420p")
            plane_view(picture, 0)[...] = 40 + 30 * number
            for chroma in (1, 2):
                plane_view(picture, chroma)[...] = 128
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "m4v"])  # the last is a raw stream, which cannot seek
def test_a_file_is_scaled_looped_and_numbered(tmp_path: Path, suffix: str) -> None:
    source = open_source(FileSpec(path=_write(tmp_path / f"clip.{suffix}"), tag=5), _MODE)
    for number in range(13):
        frame = source.capture()
        assert frame.frame == number
        assert frame.luma.shape == (540, 960)
        below = frame.luma[100:]
        assert abs(int(np.median(below)) - (40 + 30 * (number % 5))) <= 4
        reading = frame_marker.read(frame.luma)
        assert reading == frame_marker.MarkerReading(number, frame.captured_ns // 1000, 5)
        assert frame.captured_ns <= frame.converted_ns
    source.close()
    source.close()


def test_a_file_of_the_modes_size_is_not_spoiled_by_the_frame_marker(tmp_path: Path) -> None:
    """The decoder predicts from its own pictures: the frame marker must be drawn into a copy."""
    path = _write(tmp_path / "same.mp4", width=960, height=540)
    marked = open_source(FileSpec(path=path), _MODE)
    without = open_source(FileSpec(path=path, strip=False), _MODE)
    for _ in range(5):
        drawn, plain = marked.capture(), without.capture()
        np.testing.assert_array_equal(drawn.luma[64:], plain.luma[64:])
        assert frame_marker.read(drawn.luma) is not None
        assert frame_marker.read(plain.luma) is None


def test_a_file_goes_through_encoder_and_decoder(tmp_path: Path) -> None:
    producer = open_producer(FileSpec(path=_write(tmp_path / "clip.mp4")), EncoderConfig(mode=_MODE))
    decoder = open_decoder("h264")
    for number in range(10):
        decoded = decoder.decode(producer.produce().data)
        assert decoded is not None
        reading = frame_marker.read(decoded.luma)
        assert reading is not None
        assert reading.frame == number
    producer.close()


def test_what_is_no_video_is_refused_with_its_path(tmp_path: Path) -> None:
    noise = tmp_path / "noise.bin"
    noise.write_bytes(np.random.default_rng(1).bytes(5000))
    sound = tmp_path / "silence.wav"
    with wave.open(str(sound), "wb") as file:
        file.setparams((1, 2, 48000, 0, "NONE", ""))
        file.writeframes(bytes(9600))
    for path in (tmp_path / "absent.mp4", noise, sound):
        with pytest.raises(ConfigError, match=path.name):
            open_source(FileSpec(path=path), _MODE)


def test_a_file_without_pictures_is_an_error_and_no_endless_loop(tmp_path: Path) -> None:
    path = _write(tmp_path / "empty.avi", count=0)
    with pytest.raises((MediaError, ConfigError)):
        open_source(FileSpec(path=path), _MODE).capture()


def test_the_synthetic_source_has_no_pictures() -> None:
    with pytest.raises(UsageError, match="synthetic"):
        open_source(SyntheticSpec(), _MODE)  # type: ignore[arg-type]
