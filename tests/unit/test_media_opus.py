"""Opus: 5 ms in, one packet out, and the same sound at the other end."""

from __future__ import annotations

import numpy as np
import pytest

from punktfunk.errors import CodecUnavailableError, MediaError
from punktfunk.media.opus import PACKET_SAMPLES, SAMPLE_RATE, OpusDecoder, OpusEncoder
from punktfunk.units import Bitrate


def _tone(hertz: float, samples: int, channels: int) -> np.ndarray:
    wave = 0.5 * np.sin(2 * np.pi * hertz * np.arange(samples) / SAMPLE_RATE)
    return np.repeat(wave[:, None], channels, axis=1).astype(np.float32)


@pytest.mark.parametrize("channels", [1, 2])
def test_a_tone_comes_back_as_itself(channels: int) -> None:
    encoder, decoder = OpusEncoder(channels=channels), OpusDecoder(channels=channels)
    sound = _tone(1000, PACKET_SAMPLES * 100, channels)
    packets = [encoder.encode(sound[at : at + PACKET_SAMPLES]) for at in range(0, len(sound), PACKET_SAMPLES)]
    heard = np.concatenate([decoder.decode(packet) for packet in packets])
    assert heard.shape == sound.shape
    settled = heard[-SAMPLE_RATE // 4 :, 0]
    spectrum = np.abs(np.fft.rfft(settled))
    assert abs(spectrum.argmax() * 4 - 1000) <= 4
    assert settled.std() == pytest.approx(0.5 / np.sqrt(2), rel=0.1)


def test_packets_have_the_size_that_the_rate_gives() -> None:
    encoder = OpusEncoder(bitrate=Bitrate(128_000))
    rng = np.random.default_rng(7)
    sizes = {len(encoder.encode(rng.uniform(-1, 1, (240, 2)).astype(np.float32))) for _ in range(20)}
    assert sizes == {80}, "128 kbit/s for 5 ms"


def test_a_chunk_of_another_length_is_refused() -> None:
    with pytest.raises(MediaError, match="240x2"):
        OpusEncoder().encode(np.zeros((480, 2), np.float32))


def test_more_channels_than_stereo_are_refused() -> None:
    with pytest.raises(CodecUnavailableError):
        OpusEncoder(channels=6)
