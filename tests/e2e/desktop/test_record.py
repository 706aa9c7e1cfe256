"""Recording: what a desktop shows ends up in a file that other programs play, by way of the core."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import av
import pytest

from punktfunk.errors import UsageError
from punktfunk.host.record import record, record_desktop
from punktfunk.media import (
    EncoderConfig,
    EncoderName,
    SyntheticSpec,
    TestCardSpec,
    open_producer,
    strip,
)
from punktfunk.media.types import plane_view
from punktfunk.units import Bitrate, Mode

MODE = Mode(960, 540, 60)
ENCODER = EncoderConfig(mode=MODE, bitrate=Bitrate(10_000_000))


def _probe(ffprobe: str, path: Path) -> dict[str, str]:
    """What ffprobe says of the video stream, every frame of it decoded."""
    entries = "stream=codec_name,width,height,nb_read_frames"
    command = [ffprobe, "-v", "error", "-count_frames", "-show_entries", entries, "-of", "json", str(path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    (stream,) = json.loads(done.stdout)["streams"]
    return dict(stream)


@pytest.fixture
def ffprobe(need_tool: Callable[..., str]) -> str:
    return need_tool("ffprobe", "ffmpeg")


def test_a_desktop_is_recorded_and_every_access_unit_passes_the_core(
    desktop_parts: None, ffprobe: str, tmp_path: Path
) -> None:
    out = tmp_path / "desktop.mkv"
    recording = record_desktop(ENCODER, out, seconds=2.5)
    assert recording.passed
    assert recording.intact == recording.frames > 30
    assert recording.packets > recording.frames
    probed = _probe(ffprobe, out)
    assert (probed["codec_name"], probed["width"], probed["height"]) == ("h264", 960, 540)
    assert int(probed["nb_read_frames"]) == recording.frames
    with av.open(str(out)) as container:
        readings = [strip.read(plane_view(frame, 0)) for frame in container.decode(video=0)]
    numbers = [reading.frame for reading in readings if reading is not None]
    assert len(numbers) > 20, "the test card is in the file"
    assert numbers == sorted(numbers)


@pytest.mark.parametrize("encoder", list(EncoderName))
@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_each_codec_is_recorded_into_each_container(
    encoder: EncoderName, suffix: str, ffprobe: str, tmp_path: Path
) -> None:
    mode = Mode(480, 272, 30)
    config = EncoderConfig(encoder=encoder, mode=mode, bitrate=Bitrate(4_000_000))
    producer = open_producer(TestCardSpec(), config)
    out = tmp_path / f"card.{suffix}"
    try:
        recording = record(producer, mode, out, seconds=0.6)
    finally:
        producer.close()
    assert recording.passed
    probed = _probe(ffprobe, out)
    assert probed["codec_name"] == str(recording.codec)
    assert int(probed["nb_read_frames"]) == recording.frames


def test_a_name_without_a_container_is_refused(tmp_path: Path) -> None:
    producer = open_producer(TestCardSpec(), ENCODER)
    with pytest.raises(UsageError, match="no container"):
        record(producer, MODE, tmp_path / "out.txt", seconds=1)
    producer.close()


def test_a_source_without_pictures_is_refused(tmp_path: Path) -> None:
    producer = open_producer(SyntheticSpec(), ENCODER)
    with pytest.raises(UsageError, match="no pictures"):
        record(producer, MODE, tmp_path / "out.mkv", seconds=1)
