"""Sound: what a program plays in a session is recorded from it, and errors are told by their kind."""

from __future__ import annotations

import asyncio
import ctypes.util
import shlex
import socket
import subprocess
import sys
import time
import wave
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from punktfunk.desktop.audio import CHUNK_SAMPLES, SAMPLE_RATE, SoundPlace, pulse
from punktfunk.desktop.audio.pipewire import SINK
from punktfunk.desktop.audio.pulse import PulseCapture
from punktfunk.desktop.audio.speakers import MutedSpeakers
from punktfunk.desktop.session import DesktopSession, SessionOptions
from punktfunk.errors import CapabilityError, DesktopError
from punktfunk.host.peripherals.audio import AudioCapture
from punktfunk.media.opus import OpusDecoder, OpusEncoder
from punktfunk.media.sound import DEFAULT_SOUND, SoundFormat
from tests.support.waiting import PATIENCE_S, eventually, soon


@pytest.fixture
def sounding(
    desktop_parts: None, need_tool: Callable[..., str], lack: Callable[[str], None]
) -> Iterator[DesktopSession]:
    for program, package in (
        ("pipewire", "pipewire"),
        ("wireplumber", "wireplumber"),
        ("pipewire-pulse", "pipewire-pulse"),
        ("paplay", "pulseaudio-utils"),
    ):
        need_tool(program, package)
    if ctypes.util.find_library("pulse-simple") is None:
        lack("libpulse-simple.so.0 (apt-get install libpulse0)")
    with DesktopSession(SessionOptions(audio=True)) as session:
        yield session


def _tone(path: Path, hertz: int, seconds: float) -> None:
    samples = 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(SAMPLE_RATE * seconds)) / SAMPLE_RATE)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        left = (samples * 32767).astype("<i2")
        file.writeframes(np.stack([left, left // 4], axis=1).tobytes())


def _loudest_hertz(sound: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    return float(spectrum.argmax() * SAMPLE_RATE / len(sound))


@pytest.mark.measures
def test_a_tone_played_in_the_session_is_captured_and_survives_opus(
    sounding: DesktopSession, tmp_path: Path
) -> None:
    _tone(tmp_path / "tone.wav", 1000, 6.0)
    encoder, decoder = OpusEncoder(), OpusDecoder()
    with PulseCapture(sounding.pulse_server, f"{SINK}.monitor") as capture:
        _play(sounding, tmp_path / "tone.wav")
        heard: list[np.ndarray] = []
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline and len(heard) < 100:
            chunk = capture.read()
            assert chunk.samples.shape == (CHUNK_SAMPLES, 2)
            decoded = decoder.decode(encoder.encode(chunk.samples))
            if (
                decoded[:, 0].std() > 0.2
            ):  # a server short of CPU leaves gaps, which are not the question here
                heard.append(decoded)
    assert len(heard) == 100, "the tone was never played"
    sound = np.concatenate(heard)
    assert _loudest_hertz(sound[:, 0]) == pytest.approx(1000, abs=10)
    assert sound[:, 0].std() == pytest.approx(4 * sound[:, 1].std(), rel=0.3), "left and right are kept apart"


WAVE_8 = "front-left,front-right,front-center,lfe,rear-left,rear-right,side-left,side-right"


def _tones(path: Path, channels: int) -> None:
    """A tone for each channel, 200 Hz apart."""
    times = np.arange(SAMPLE_RATE * 20) / SAMPLE_RATE
    waves = [0.25 * np.sin(2 * np.pi * (300 + 200 * channel) * times) for channel in range(channels)]
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes((np.stack(waves, axis=1) * 32767).astype("<i2").tobytes())


def _play(session: DesktopSession, tones: Path, *options: str) -> None:
    """Play a file again and again: nobody knows how long a busy machine takes to hear it."""
    play = shlex.join(["paplay", *options, str(tones)])
    session.launch(["sh", "-c", f"while :; do {play} || sleep 0.2; done"])


def _heard(session: DesktopSession, channels: int) -> np.ndarray:
    """A tenth of a second in which something is to be heard, and no gap of a server that is short of CPU."""
    with PulseCapture(session.pulse_server, f"{SINK}.monitor", channels=channels) as capture:
        heard: list[np.ndarray] = []
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            samples = capture.read().samples
            heard = [*heard, samples] if samples[:, 0].std() > 0.05 else []
            if len(heard) == 20:
                return np.concatenate(heard)
    pytest.fail("the tones were never played")


@pytest.mark.conformance(65)
def test_every_channel_of_surround_sound_is_captured_in_its_place(
    sounding: DesktopSession, tmp_path: Path
) -> None:
    _tones(tmp_path / "tones.wav", 8)
    _play(sounding, tmp_path / "tones.wav", f"--channel-map={WAVE_8}")
    heard = _heard(sounding, 8)
    for channel in range(8):
        assert _loudest_hertz(heard[:, channel]) == pytest.approx(300 + 200 * channel, abs=20)


def _pactl(session: DesktopSession, *order: str) -> str:
    command = ["pactl", "-s", session.pulse_server, *order]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def _muted(session: DesktopSession) -> bool:
    return _pactl(session, "get-sink-mute", SINK).strip() == "Mute: yes"


_MUTES = """\
import sys, time
from punktfunk.desktop.audio.speakers import MutedSpeakers
MutedSpeakers(sys.argv[1])
print("muted", flush=True)
time.sleep(600)
"""


def test_stereo_stays_stereo_though_the_speakers_are_muted_which_ends_with_their_host(
    sounding: DesktopSession, tmp_path: Path
) -> None:
    _tones(tmp_path / "tones.wav", 2)
    _play(sounding, tmp_path / "tones.wav")
    assert not _muted(sounding)
    with MutedSpeakers(sounding.pulse_server):
        assert _muted(sounding)
        for channels in (2, 8):
            heard = _heard(sounding, channels)
            assert np.abs(heard[:, :2]).max(axis=0) == pytest.approx([0.25, 0.25], abs=0.02)
            assert not np.abs(heard[:, 2:]).round(2).any()
        # What somebody else has muted is not his who comes later to let play again.
        MutedSpeakers(sounding.pulse_server).close()
        assert _muted(sounding)
    assert not _muted(sounding)
    with subprocess.Popen(
        [sys.executable, "-c", _MUTES, sounding.pulse_server],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[3],
    ) as host:
        assert host.stdout is not None
        assert host.stdout.readline() == b"muted\n"
        assert _muted(sounding)
        host.kill()
    eventually(lambda: not _muted(sounding), "the speakers play again")


@pytest.mark.measures
def test_silence_is_captured_in_time_too(sounding: DesktopSession) -> None:
    with PulseCapture(sounding.pulse_server, f"{SINK}.monitor") as capture:
        chunks = [capture.read() for _ in range(200)]
    assert not np.concatenate([chunk.samples for chunk in chunks]).any()
    seconds = (chunks[-1].captured_ns - chunks[0].captured_ns) / 1e9
    assert 0.9 < seconds < 5.0, "neither in a burst nor held back until something plays"


def test_a_server_that_goes_ends_the_recording(sounding: DesktopSession) -> None:
    capture = PulseCapture(sounding.pulse_server, f"{SINK}.monitor")
    capture.read()
    sounding.close()
    with pytest.raises(DesktopError, match="sound server is gone"):
        _read_for_ever(capture)
    capture.close()


def test_a_recording_that_is_not_answered_is_asked_for_again(
    sounding: DesktopSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PipeWire 0.3.65 forgets some that are asked for while its session manager starts."""
    monkeypatch.setattr(pulse, "_ANSWER_LIMIT_S", 0.3)
    monkeypatch.setattr(pulse, "_TRIES", 100)  # a busy server takes its time, and the first answer counts
    place, real = tmp_path / "native", tmp_path / "real"
    real.symlink_to(sounding.pulse_server.removeprefix("unix:"))
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(place))
        mute.listen()
        mute.settimeout(PATIENCE_S)

        def swap() -> socket.socket:
            asked, _ = mute.accept()
            real.replace(place)
            return asked

        with ThreadPoolExecutor() as pool:
            swapped = pool.submit(swap)
            with PulseCapture(f"unix:{place}", f"{SINK}.monitor") as capture:
                assert len(capture.read().samples) == CHUNK_SAMPLES
            swapped.result().close()


def test_a_server_that_never_answers_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulse, "_ANSWER_LIMIT_S", 0.05)
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(tmp_path / "native"))
        mute.listen()
        with pytest.raises(DesktopError, match=r"gives no recording of its default source: no answer"):
            PulseCapture(f"unix:{tmp_path / 'native'}")


@pytest.mark.parametrize("sound", [DEFAULT_SOUND, SoundFormat(continuous=True)])
def test_sound_that_failed_is_tried_again_until_its_server_is_there(
    sound: SoundFormat, sounding: DesktopSession
) -> None:
    there = SoundPlace(sounding.pulse_server, f"{SINK}.monitor")
    places = iter([SoundPlace("unix:/nowhere/pulse", "monitor")])

    async def scenario() -> None:
        told: list[str] = []
        heard: list[bytes] = []
        capture = AudioCapture(
            lambda: next(places, there), lambda _at, opus: heard.append(opus), sound, told.append
        )
        capture.begin()
        await soon(lambda: told, "the failure is told")
        assert "gives no recording" in told[0]
        await soon(lambda: told[-1] == "", "and that there is sound again")
        assert told.count("") == 1
        assert heard
        capture.end()

    asyncio.run(asyncio.wait_for(scenario(), 60))


def test_a_server_that_is_not_there_is_an_error_of_the_desktop(
    lack: Callable[[str], None], tmp_path: Path
) -> None:
    if ctypes.util.find_library("pulse-simple") is None:
        lack("libpulse-simple.so.0 (apt-get install libpulse0)")
    with pytest.raises(DesktopError, match="gives no recording"):
        PulseCapture(f"unix:{tmp_path}/nothing")


def test_channels_that_no_wire_has_are_refused_before_anything_is_opened() -> None:
    with pytest.raises(CapabilityError, match="4 channels"):
        PulseCapture(channels=4)


def _read_for_ever(capture: PulseCapture) -> None:
    for _ in range(2000):
        capture.read()
