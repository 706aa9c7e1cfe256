"""Recording: what a desktop shows ends up in a file that other programs play, by way of the core."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import av
import pytest
import typer

from punktfunk import cli_desktop
from punktfunk.errors import UsageError
from punktfunk.host import record as recording_loop
from punktfunk.host.record import Progress, Recording, Watch, record, record_desktop
from punktfunk.media import (
    Codec,
    EncoderConfig,
    EncoderName,
    SyntheticSpec,
    TestCardSpec,
    frame_marker,
    open_producer,
)
from punktfunk.media.planes import plane_view
from punktfunk.units import Bitrate, Mode
from tests.support.starved_link import StarvedLink

MODE = Mode(960, 540, 60)
ENCODER = EncoderConfig(mode=MODE, bitrate=Bitrate(10_000_000))
REPOSITORY = Path(__file__).parents[3]
COMMAND = [sys.executable, "-m", "punktfunk"]


def _start(*arguments: str, **env: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=REPOSITORY,
        env={**os.environ, "COLUMNS": "200", **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _call(*arguments: str, **env: str) -> tuple[int, str, str]:
    process = _start(*arguments, **env)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


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
    enough = threading.Event()

    def follow(progress: Progress) -> None:
        if progress.frames >= 100:  # however long a busy machine takes for them
            enough.set()

    recording = record_desktop(ENCODER, out, seconds=60, watch=Watch(follow, enough))
    assert recording.passed
    assert recording.intact == recording.frames > 30
    assert recording.packets > recording.frames
    probed = _probe(ffprobe, out)
    assert (probed["codec_name"], probed["width"], probed["height"]) == ("h264", 960, 540)
    assert int(probed["nb_read_frames"]) == recording.frames
    with av.open(str(out)) as container:
        readings = [frame_marker.read(plane_view(frame, 0)) for frame in container.decode(video=0)]
    numbers = [reading.frame for reading in readings if reading is not None]
    assert len(numbers) > 20, "the test card is in the file"
    assert numbers == sorted(numbers)


@pytest.mark.parametrize("encoder", [EncoderName.X264, EncoderName.X265, EncoderName.SVT_AV1])
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


def test_a_recording_waits_for_a_receiver_that_was_given_no_time(ffprobe: str, tmp_path: Path) -> None:
    mode = Mode(480, 272, 30)
    producer = open_producer(TestCardSpec(), EncoderConfig(mode=mode, bitrate=Bitrate(8_000_000)))
    out = tmp_path / "card.mkv"
    try:
        with StarvedLink() as link:
            recording = record(producer, mode, out, seconds=1.5, pair=link.pair)
            assert link.dropped > 0
    finally:
        producer.close()
    assert recording.passed, recording
    assert recording.sent_again > 0
    assert int(_probe(ffprobe, out)["nb_read_frames"]) == recording.frames


def test_a_name_without_a_container_is_refused(tmp_path: Path) -> None:
    producer = open_producer(TestCardSpec(), ENCODER)
    with pytest.raises(UsageError, match="no container"):
        record(producer, MODE, tmp_path / "out.txt", seconds=1)
    producer.close()


def test_a_source_without_pictures_is_refused(tmp_path: Path) -> None:
    producer = open_producer(SyntheticSpec(), ENCODER)
    with pytest.raises(UsageError, match="no pictures"):
        record(producer, MODE, tmp_path / "out.mkv", seconds=1)


def test_progress_that_came_late_is_told_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(recording_loop, "_PROGRESS_NS", 200_000_000)
    told: list[float] = []

    def look(progress: Progress) -> None:
        told.append(progress.seconds)
        if len(told) == 1:
            time.sleep(0.5)  # no frame is made while somebody looks: two others have passed when it goes on

    mode = Mode(480, 272, 30)
    producer = open_producer(TestCardSpec(), EncoderConfig(mode=mode, bitrate=Bitrate(4_000_000)))
    try:
        record(producer, mode, tmp_path / "card.mkv", seconds=1.5, watch=Watch(on_progress=look))
    finally:
        producer.close()
    turns = [int(seconds / 0.2) for seconds in told]
    assert len(turns) > 1
    assert turns == sorted(set(turns))


def test_the_command_says_how_far_it_is_and_leaves_a_file_that_plays(
    desktop_parts: None, ffprobe: str, tmp_path: Path
) -> None:
    out = tmp_path / "card.mp4"
    status, said, errors = _call("record", "--seconds", "2.2", "--mode", "640x360@30", "--out", str(out))
    assert (status, errors) == (0, "")
    *progress, last = said.splitlines()
    seconds = [int(line.split()[0]) for line in progress]
    assert all(line.split()[1] == "s" for line in progress)
    assert seconds == sorted(set(seconds)), "a busy machine may make it skip one"
    assert seconds[0] >= 1
    frames = int(_probe(ffprobe, out)["nb_read_frames"])
    assert f"{frames} of {frames} byte for byte through the core" in last
    status, _, errors = _call("record", "--out", str(out))
    assert status == 2
    assert "is there already" in errors


@pytest.mark.measures
def test_a_recording_that_is_interrupted_keeps_what_it_has(
    desktop_parts: None, ffprobe: str, tmp_path: Path
) -> None:
    out = tmp_path / "card.mkv"
    process = _start("record", "--seconds", "60", "--mode", "640x360@30", "--out", str(out))
    assert process.stdout is not None
    assert "1 s" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    before = time.monotonic()
    said, errors = process.communicate(timeout=30)
    assert time.monotonic() - before < 4
    assert (process.returncode, errors) == (130, "")
    assert "byte for byte" in said
    assert int(_probe(ffprobe, out)["nb_read_frames"]) > 10


def test_a_recording_that_is_interrupted_before_its_first_picture_is_no_failed_check(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def interrupted(encoder: EncoderConfig, out: Path, *, watch: Watch, **_: object) -> Recording:
        watch.stop.set()
        return Recording(out, Codec.H264, encoder.mode, 0, 0, 0, 0, 0, 0, 0, 0.0, {})

    monkeypatch.setattr("punktfunk.host.record.record_desktop", interrupted)
    with pytest.raises(typer.Exit) as left:
        cli_desktop.record(tmp_path / "card.mkv")
    assert left.value.exit_code == 130


@pytest.mark.parametrize(
    ("options", "status", "cause"),
    [
        (["--out", "nowhere/card.mkv"], 5, "there is no folder"),
        (["--out", "card.txt"], 2, "names no container"),
        (["--out", "/proc/card.mkv"], 5, "cannot write /proc/card.mkv"),
        (["--out", "card.mkv", "--mode", "big"], 2, "mode"),
        (["--out", "card.mkv", "--bitrate", "1 MB/s"], 2, "counts bytes"),
        (["--out", "card.mkv", "--app", "'"], 2, "no program with arguments"),
        (["--out", "card.mkv", "--app", "no-such-program"], 4, "no-such-program cannot be started"),
        (["--out", "card.mkv", "--app", "false", "--seconds", "2"], 5, "false ended with status 1"),
    ],
)
def test_what_cannot_be_recorded_ends_with_the_status_of_its_kind(
    options: list[str],
    status: int,
    cause: str,
    desktop_parts: None,
    tmp_path: Path,
) -> None:
    if not options[1].startswith("/"):
        options = ["--out", str(tmp_path / options[1]), *options[2:]]
    ended, _, errors = _call("record", *options)
    assert (ended, cause in errors, "Traceback" in errors) == (status, True, False), errors


def test_a_machine_without_sway_is_told_what_to_install(tmp_path: Path) -> None:
    status, _, errors = _call("record", "--out", str(tmp_path / "card.mkv"), PATH=str(tmp_path))
    assert status == 4
    assert "sway is not installed" in errors
    assert "apt-get install sway" in errors
