"""``punktfunk serve`` with a terminal and a tone: a client types, points and listens over the wire."""

from __future__ import annotations

import asyncio
import ctypes.util
import re
import shlex
import sys
import wave
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import punktfunk
from harness.peers.served_desktop import ServedDesktop
from punktfunk import log
from punktfunk.client import input as make
from punktfunk.desktop import BackendName
from punktfunk.desktop.audio import SoundPlace, pipewire
from punktfunk.desktop.program import program_of
from punktfunk.host.desktop import DesktopPool
from punktfunk.host.peripherals.audio import AudioCapture
from punktfunk.host.stream.sources import DesktopSpec
from punktfunk.input import InputEvent, InputKind
from punktfunk.media.opus import SAMPLE_RATE
from punktfunk.trust.open_trust import OpenTrust
from punktfunk.units import Bitrate, Mode
from tests.support.waiting import PATIENCE_S

MODE = Mode(640, 480, 30)
MIRROR = Path(__file__).with_name("mirror.py")
HERTZ = 880
_WAVE_HEADER_BYTES = 44


@pytest.fixture
def tone(need_tool: Callable[..., str], lack: Callable[[str], None], tmp_path: Path) -> Path:
    for program, package in (
        ("pipewire", "pipewire"),
        ("wireplumber", "wireplumber"),
        ("pipewire-pulse", "pipewire-pulse"),
        ("paplay", "pulseaudio-utils"),
    ):
        need_tool(program, package)
    if ctypes.util.find_library("pulse-simple") is None:
        lack("libpulse-simple.so.0 (apt-get install libpulse0)")
    path = tmp_path / "tone.wav"
    samples = 0.5 * np.sin(2 * np.pi * HERTZ * np.arange(SAMPLE_RATE * 30) / SAMPLE_RATE)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    return path


@pytest.fixture
def served(desktop_parts: None, tone: Path, tmp_path: Path) -> Iterator[ServedDesktop]:
    mirror = shlex.join([sys.executable, str(MIRROR), str(tmp_path / "typed")])
    # Again and again: the sink may not be there yet, and nobody knows how long the rest takes.
    script = f"while :; do paplay {tone} || sleep 0.2; done & exec foot {mirror}"
    with ServedDesktop(tmp_path, program=shlex.join(["sh", "-c", script])) as host:
        yield host


async def _until(condition: Callable[[], bool], limit_s: float = PATIENCE_S) -> None:
    async with asyncio.timeout(limit_s):
        while not condition():
            await asyncio.sleep(0.02)


def _loudest_hertz(sound: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    return float(spectrum.argmax()) * SAMPLE_RATE / len(sound)


def _recorded(path: Path) -> np.ndarray:
    """Return the left channel of a wave file that is still being written."""
    raw = path.read_bytes()[_WAVE_HEADER_BYTES:] if path.exists() else b""
    return np.frombuffer(raw[: len(raw) // 4 * 4], "<i2").reshape(-1, 2)[:, 0].astype(float)


def _tone_in(heard: np.ndarray) -> bool:
    """Return whether the loudest line of some half a second is the tone's."""
    half = SAMPLE_RATE // 2
    starts = range(0, len(heard) - half + 1, half // 2)
    return any(abs(_loudest_hertz(heard[start : start + half]) - HERTZ) < 5 for start in starts)


def test_a_client_types_points_and_listens(served: ServedDesktop, tmp_path: Path) -> None:
    assert ", with sound" in served.banner
    typed = tmp_path / "typed"

    def so_far() -> bytes:
        return typed.read_bytes() if typed.exists() else b""

    async def scenario() -> dict[str, int]:
        config = punktfunk.ClientConfig(pin=served.fingerprint, mode=MODE, artefacts=tmp_path / "client")
        async with punktfunk.Client(served.address, config) as client:

            async def do(events: Iterator[InputEvent] | list[InputEvent], shows: bytes) -> re.Match[bytes]:
                before = len(so_far())
                for event in events:
                    client.send(event)
                    await asyncio.sleep(0.002)
                try:
                    await _until(lambda: re.search(shows, so_far()[before:]) is not None)
                except TimeoutError:
                    pytest.fail(f"no {shows!r} in {so_far()!r}")
                found = re.search(shows, so_far()[before:])
                assert found is not None
                return found

            await _until(lambda: so_far() == b"ready ")
            # Before the terminal has the keyboard, what is typed goes nowhere.
            async with asyncio.timeout(PATIENCE_S):
                while b"x" not in so_far():
                    for event in make.text("x"):
                        client.send(event)
                    await asyncio.sleep(0.05)
            await do(make.text("Hello, World? 42;x"), rb"Hello, World\? 42;x")
            await do([make.move_to(10, 10, 640, 480)], rb"\x1b\[<35;\d+;\d+M")
            moved = await do([make.move_to(480, 120, 640, 480)], rb"\x1b\[<35;(\d+);(\d+)M")
            clicked = await do(make.click(1), rb"\x1b\[<0;(\d+);(\d+)M\x1b\[<0;\1;\2m")
            assert moved.groups() == clicked.groups(), "the click is where the pointer is"
            other = await do([make.move_to(240, 360, 640, 480)], rb"\x1b\[<35;(\d+);(\d+)M")
            (column, row), (half, thrice) = (tuple(map(int, at.groups())) for at in (clicked, other))
            assert column / half == pytest.approx(2, abs=0.15), "in cells of the terminal"
            assert thrice / row == pytest.approx(3, abs=0.4)
            await do([make.scroll(1)], rb"\x1b\[<64;\d+;\d+M")
            await do([InputEvent(InputKind.BUTTON_DOWN, 3)], rb"\x1b\[<2;\d+;\d+M")
            assert client.sound is not None
            sound = client.sound
            await _until(lambda: sound.counters["sound_packets"] > 300)
            # A server short of CPU leaves gaps, which move the line: half a second without one decides.
            await _until(lambda: _tone_in(_recorded(tmp_path / "client" / "sound.wav")))
            client.stop()
            summary = await client.finished()
        # What the client held down is let go of for it.
        await _until(lambda: re.search(rb"\x1b\[<2;\d+;\d+m", so_far()) is not None)
        return summary.counters

    counters = asyncio.run(asyncio.wait_for(scenario(), 90))
    served.end()
    assert counters["sound_packets"] > 300
    assert counters["sound_undecodable"] == 0
    assert counters["sound_samples"] == counters["sound_packets"] * 240
    with wave.open(str(tmp_path / "client" / "sound.wav")) as file:
        heard = np.frombuffer(file.readframes(-1), "<i2").reshape(-1, 2)[:, 0].astype(float)
    assert heard.std() > 1000, "silence"
    assert _tone_in(heard)


def test_without_a_sound_server_the_picture_is_streamed_and_the_banner_says_what_to_install(
    desktop_parts: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipewire, "_SOUND", "no-such-sound-server")
    pool = DesktopPool.open(
        DesktopSpec(backend=BackendName.HEADLESS_SWAY, app=program_of("punktfunk testcard"))
    )

    async def scenario() -> dict[str, int]:
        config = punktfunk.HostConfig(
            trust=OpenTrust.LOOPBACK, port=0, source=DesktopSpec(), codec="h264", bitrate=Bitrate(4_000_000)
        )
        async with punktfunk.Host(config, desktop=pool) as host:
            seen = punktfunk.ClientConfig(trust=OpenTrust.LOOPBACK, mode=MODE)
            async with punktfunk.Client(f"127.0.0.1:{host.port}", seen) as client:
                progressed: asyncio.Future[int] = asyncio.get_running_loop().create_future()
                client.on_progress = lambda progress: (
                    progressed.set_result(progress.frames)
                    if progress.frames and not progressed.done()
                    else None
                )
                assert await progressed > 0
                return client.datagrams

    try:
        assert (
            "without sound: no-such-sound-server not installed (apt-get install pipewire" in pool.description
        )
        assert pool.sound is None
        assert "audio" not in asyncio.run(asyncio.wait_for(scenario(), 60))
    finally:
        pool.close()


def test_a_sound_server_that_does_not_answer_is_logged_and_ends_the_recorder_only(
    lack: Callable[[str], None], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    if ctypes.util.find_library("pulse-simple") is None:
        lack("libpulse-simple.so.0 (apt-get install libpulse0)")

    async def scenario() -> None:
        heard: list[bytes] = []
        capture = AudioCapture(
            lambda: SoundPlace(f"unix:{tmp_path}/nobody", "monitor"), lambda _at, opus: heard.append(opus)
        )
        capture.begin()
        assert capture.recording
        await _until(lambda: not capture.recording)
        assert not heard
        capture.begin()
        capture.end()
        assert not capture.recording

    log.configure(level="warning")
    asyncio.run(asyncio.wait_for(scenario(), 60))
    assert "gives no recording" in capfd.readouterr().err
