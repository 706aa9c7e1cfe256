"""Sound of up to eight channels: packets of one length that any Opus decoder reads, each channel in its place."""

from __future__ import annotations

import struct

import av
import numpy as np
import pytest

from punktfunk.errors import CodecUnavailableError, MediaError
from punktfunk.media.multistream import MultistreamDecoder, MultistreamEncoder
from punktfunk.media.opus import SAMPLE_RATE
from punktfunk.media.sound import SoundFormat

FORMATS = {
    "stereo": SoundFormat(2, 1, 1, "01", 96, 5, continuous=True),
    "stereo high, 10 ms": SoundFormat(2, 1, 1, "01", 512, 10, continuous=True),
    "5.1": SoundFormat(6, 4, 2, "014523", 256, 5, continuous=True),
    "5.1 high": SoundFormat(6, 6, 0, "012345", 1536, 5, continuous=True),
    "7.1, 10 ms": SoundFormat(8, 5, 3, "01672345", 450, 10, continuous=True),
    "7.1 high": SoundFormat(8, 8, 0, "01234567", 2048, 5, continuous=True),
}
# What FFmpeg makes of channels that it takes for Vorbis's: front left, centre, front right, … (Vorbis I, 4.3.9).
FFMPEG_ORDER = {2: [0, 1], 6: [0, 2, 1, 5, 3, 4], 8: [0, 2, 1, 7, 5, 6, 3, 4]}
LAYOUTS = {2: "stereo", 6: "5.1", 8: "7.1"}


def tones(sound: SoundFormat) -> np.ndarray:
    """A quarter of a second of silence, then of a tone for each channel."""
    times = np.arange(SAMPLE_RATE // 2) / SAMPLE_RATE
    waves = [0.5 * np.sin(2 * np.pi * (300 + 160 * channel) * times) for channel in range(sound.channels)]
    samples = np.stack(waves, axis=1).astype(np.float32)
    samples[: SAMPLE_RATE // 4] = 0
    return samples


def packets_of(sound: SoundFormat) -> list[bytes]:
    encoder, samples = MultistreamEncoder(sound), tones(sound)
    return [
        encoder.encode(samples[at : at + encoder.samples]) for at in range(0, len(samples), encoder.samples)
    ]


def heard_tones(samples: np.ndarray) -> list[int]:
    """The loudest frequency of each channel at the end, to 8 Hz."""
    end = samples[-SAMPLE_RATE // 8 :]
    return [int(np.abs(np.fft.rfft(end[:, channel])).argmax()) * 8 for channel in range(end.shape[1])]


def expected(sound: SoundFormat) -> list[int]:
    return [300 + 160 * channel for channel in range(sound.channels)]


@pytest.mark.conformance(64)
@pytest.mark.conformance(65)
@pytest.mark.parametrize("name", FORMATS)
def test_packets_have_one_length_in_silence_too_and_every_channel_comes_back_as_itself(name: str) -> None:
    sound = FORMATS[name]
    packets, decoder = packets_of(sound), MultistreamDecoder(sound)
    assert len({len(packet) for packet in packets}) == 1
    assert len(packets[0]) <= 1400 - 12
    decoded = np.concatenate([decoder.decode(packet) for packet in packets])
    assert decoded.shape == (SAMPLE_RATE // 2, sound.channels)
    for got, wanted in zip(heard_tones(decoded), expected(sound), strict=True):
        assert abs(got - wanted) <= 8
    assert not decoded[: SAMPLE_RATE // 8].round(3).any(), "silence is silent"


@pytest.mark.conformance(65)
@pytest.mark.parametrize("name", FORMATS)
def test_the_decoder_of_libopus_takes_the_packets_with_the_layout_that_is_advertised(name: str) -> None:
    sound = FORMATS[name]
    context = av.CodecContext.create("libopus", "r")
    assert isinstance(context, av.AudioCodecContext)
    context.sample_rate, context.layout = SAMPLE_RATE, LAYOUTS[sound.channels]
    layout = bytes([sound.streams, sound.coupled, *map(int, sound.mapping)])
    context.extradata = b"OpusHead" + struct.pack("<BBHIHB", 1, sound.channels, 0, 48_000, 0, 255) + layout
    parts = []
    for packet in packets_of(sound):
        for frame in context.decode(av.Packet(packet)):
            raw = frame.to_ndarray()
            parts.append(raw.T if frame.format.is_planar else raw.reshape(-1, sound.channels))
    heard = heard_tones(np.concatenate(parts))
    for place, channel in enumerate(FFMPEG_ORDER[sound.channels]):
        assert abs(heard[place] - expected(sound)[channel]) <= 8


def test_streams_of_more_than_251_bytes_say_their_length_in_two() -> None:
    sound = SoundFormat(6, 4, 2, "014523", 1536, 5)
    packets, decoder = packets_of(sound), MultistreamDecoder(sound)
    assert packets[0][1] >= 252
    decoded = np.concatenate([decoder.decode(packet) for packet in packets])
    assert all(abs(a - b) <= 8 for a, b in zip(heard_tones(decoded), expected(sound), strict=True))


@pytest.mark.parametrize(
    "sound",
    [
        SoundFormat(6, 4, 2, "012344", 256),
        SoundFormat(6, 4, 1, "012345", 256),
        SoundFormat(6, 4, 2, "01234", 256),
        SoundFormat(6, 4, 2, "012346", 256),
    ],
)
def test_a_layout_that_leaves_a_channel_out_is_refused(sound: SoundFormat) -> None:
    with pytest.raises(CodecUnavailableError, match="6 channels"):
        MultistreamEncoder(sound)


def test_samples_of_another_length_and_damaged_packets_are_refused() -> None:
    sound = FORMATS["5.1"]
    with pytest.raises(MediaError, match="240 samples"):
        MultistreamEncoder(sound).encode(np.zeros((480, 6), np.float32))
    decoder, packet = MultistreamDecoder(sound), packets_of(sound)[-1]
    for cut in range(len(packet) * 3 // 4):
        with pytest.raises(MediaError):
            decoder.decode(packet[:cut])
    with pytest.raises(MediaError, match="no frame, or more"):
        decoder.decode(bytes([packet[0] | 1]) + packet[1:])
