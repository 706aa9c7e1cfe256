"""GameStream from a headless desktop: its picture, and its surround sound with every tone on its own channel."""

from __future__ import annotations

import asyncio
import ctypes.util
import shlex
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from punktfunk.desktop import BackendName
from punktfunk.host.desktop import DesktopPool
from punktfunk.host.stream.sources import DesktopSpec
from punktfunk.media.opus import SAMPLE_RATE
from tests.support.streaming_host import streaming_host
from tests.support.waiting import soon

PART = SAMPLE_RATE // 5
"""A fifth of a second: tones 200 Hz apart are told from each other."""
WAVE_HEADER_BYTES = 44
WAVE_8 = "front-left,front-right,front-center,lfe,rear-left,rear-right,side-left,side-right"


@pytest.fixture
def tones(
    desktop_parts: None, need_tool: Callable[..., str], lack: Callable[[str], None], tmp_path: Path
) -> Path:
    """Eight channels, 300 Hz on the first and 200 more on each that follows."""
    for program, package in (
        ("pipewire", "pipewire"),
        ("wireplumber", "wireplumber"),
        ("pipewire-pulse", "pipewire-pulse"),
        ("paplay", "pulseaudio-utils"),
    ):
        need_tool(program, package)
    if ctypes.util.find_library("pulse-simple") is None:
        lack("libpulse-simple.so.0 (apt-get install libpulse0)")
    times = np.arange(SAMPLE_RATE * 60) / SAMPLE_RATE
    waves = [0.25 * np.sin(2 * np.pi * (300 + 200 * channel) * times) for channel in range(8)]
    with wave.open(str(tmp_path / "tones.wav"), "wb") as file:
        file.setnchannels(8)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes((np.stack(waves, axis=1) * 32767).astype("<i2").tobytes())
    return tmp_path / "tones.wav"


def last_part(path: Path, channels: int) -> np.ndarray:
    """Return the newest part of a wave file that is still being written, shape (samples, channels)."""
    if not path.exists():
        return np.zeros((PART, channels))
    with path.open("rb") as file:
        samples = (file.seek(0, 2) - WAVE_HEADER_BYTES) // (2 * channels)
        file.seek(WAVE_HEADER_BYTES + max(0, samples - PART) * 2 * channels)
        raw = np.frombuffer(file.read(PART * 2 * channels), "<i2")
    return raw[: len(raw) // channels * channels].reshape(-1, channels) / 32768


def loudest(part: np.ndarray) -> list[int]:
    """Return the frequency of each channel's loudest tone in Hz; of 5.1 the rear has the sides' too, and quieter."""
    spectra = np.abs(np.fft.rfft(part * np.hanning(len(part))[:, None], axis=0))
    return [int(bin_) * SAMPLE_RATE // len(part) for bin_ in spectra.argmax(axis=0)]


@pytest.mark.slow
@pytest.mark.conformance(61)
@pytest.mark.conformance(65)
@pytest.mark.parametrize(("channels", "high"), [(6, True), (8, False)])
def test_a_desktop_is_streamed_with_every_tone_on_its_channel(
    tones: Path, tmp_path: Path, channels: int, high: bool
) -> None:
    play = shlex.join(["paplay", f"--channel-map={WAVE_8}", str(tones)])
    # Again and again: the sink may not be there yet.
    again = f"while :; do {play} || sleep 0.2; done"
    spec = DesktopSpec(backend=BackendName.HEADLESS_SWAY, app=("sh", "-c", again))
    wanted = pytest.approx([300 + 200 * channel for channel in range(channels)], abs=20)
    recording = tmp_path / "client" / "sound.wav"

    async def run() -> None:
        pool = await asyncio.to_thread(DesktopPool.open, spec)
        try:
            async with streaming_host(tmp_path, source=spec, desktop=pool) as host:
                state = await host.paired("cinema")
                client = host.client(
                    state, channels=channels, high_quality_sound=high, artefacts=tmp_path / "client"
                )
                seen: list[tuple[int, int]] = []
                client.on_progress = lambda progress: seen.append(
                    (progress.counters.get("pictures", 0), progress.counters.get("sound_packets", 0))
                )
                async with client:
                    # A desktop on which nothing changes goes on, too.
                    await soon(lambda: seen and seen[-1][0] >= 10 and seen[-1][1] >= 400, "picture, sound")
                    # A server short of CPU leaves gaps, which move the lines: a part without one decides.
                    await soon(lambda: loudest(last_part(recording, channels)) == wanted, "the tones")
                    client.stop()
                    summary = await client.finished()
                assert summary.counters["frames_unrecoverable"] == 0
                assert summary.counters["sound_undecodable"] == 0
        finally:
            await asyncio.to_thread(pool.close)

    asyncio.run(asyncio.wait_for(run(), 120))
    with wave.open(str(recording), "rb") as file:
        assert (file.getnchannels(), file.getframerate()) == (channels, SAMPLE_RATE)
