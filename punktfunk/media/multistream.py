"""Opus for more than two channels: several streams of one or two, side by side in one packet (RFC 7845 section 5.1.1).

Streams stand behind each other in a packet; all but the last say how long they are (RFC 6716 appendix B). Each is coded
by itself at a constant rate, so that every packet has the same length.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from punktfunk.errors import CodecUnavailableError, MediaError
from punktfunk.media.opus import SAMPLE_RATE, OpusDecoder, OpusEncoder, Samples
from punktfunk.media.sound import SoundFormat
from punktfunk.units import Bitrate

_ONE_FRAME = 0
"""The frame count code of a packet with one frame (RFC 6716 section 3.1); 5 and 10 ms at a constant rate are one."""
_SHORT = 252
"""Lengths from here on take two bytes (RFC 6716 section 3.2.1)."""


class MultistreamEncoder:
    """Makes one packet of the samples of each. Not safe for use by two threads at once."""

    def __init__(self, sound: SoundFormat) -> None:
        """Open the encoders; raise CodecUnavailableError without libopus, or for channels that fit no stream."""
        self.samples = SAMPLE_RATE * sound.packet_ms // 1000
        """Of one packet."""
        self._sources = _channels_of(sound)
        shares = sum(map(len, self._sources))
        self._encoders = [
            OpusEncoder(
                channels=len(channels),
                bitrate=Bitrate(sound.bitrate_kbps * 1000 * len(channels) // shares),
                packet_ms=sound.packet_ms,
            )
            for channels in self._sources
        ]

    def encode(self, samples: Samples) -> bytes:
        """Return the packet of these samples, shape (``samples``, channels); raise MediaError for other shapes."""
        if samples.shape[0] != self.samples:
            raise MediaError(f"this sound is coded {self.samples} samples at once, not {samples.shape[0]}")
        packets = [
            encoder.encode(samples[:, channels])
            for encoder, channels in zip(self._encoders, self._sources, strict=True)
        ]
        return b"".join(map(_delimited, packets[:-1])) + packets[-1]


class MultistreamDecoder:
    """Turns packets back into samples. Not safe for use by two threads at once."""

    def __init__(self, sound: SoundFormat) -> None:
        """Open the decoders; raise CodecUnavailableError where this FFmpeg has no libopus."""
        self._sources = _channels_of(sound)
        self._channels = sound.channels
        self._decoders = [OpusDecoder(channels=len(channels)) for channels in self._sources]

    def decode(self, packet: bytes) -> Samples:
        """Return the samples of a packet, shape (samples, channels); raise MediaError for a damaged one."""
        decoded = [
            decoder.decode(part)
            for decoder, part in zip(self._decoders, _parts(packet, len(self._decoders)), strict=True)
        ]
        if len({part.shape[0] for part in decoded}) != 1:
            raise MediaError("the streams of a packet of sound are not of the same length")
        samples = np.empty((decoded[0].shape[0], self._channels), np.float32)
        for channels, part in zip(self._sources, decoded, strict=True):
            samples[:, channels] = part
        return samples


def _channels_of(sound: SoundFormat) -> list[list[int]]:
    """Return the channels of each stream, coupled streams first."""
    mapping = [int(digit) for digit in sound.mapping]
    if sorted(mapping) != list(range(sound.channels)) or sound.streams + sound.coupled != sound.channels:
        raise CodecUnavailableError(
            f"Opus does not code {sound.channels} channels as {sound.streams} streams, {sound.coupled} of them "
            f"coupled, by the mapping {sound.mapping}",
            "each channel has to be in one stream",
        )
    channel_of = {decoded: channel for channel, decoded in enumerate(mapping)}
    pairs = [[channel_of[2 * pair], channel_of[2 * pair + 1]] for pair in range(sound.coupled)]
    return pairs + [[channel_of[decoded]] for decoded in range(2 * sound.coupled, sound.channels)]


def _delimited(packet: bytes) -> bytes:
    if not packet or packet[0] & 3 != _ONE_FRAME:
        raise MediaError("Opus gave a packet with more than one frame")
    return packet[:1] + _length(len(packet) - 1) + packet[1:]


def _length(size: int) -> bytes:
    if size < _SHORT:
        return bytes([size])
    first = _SHORT + (size - _SHORT) % 4
    return bytes([first, (size - first) // 4])


def _parts(packet: bytes, count: int) -> Iterator[bytes]:
    for _ in range(count - 1):
        if len(packet) < 3 or packet[0] & 3 != _ONE_FRAME:
            raise MediaError("a stream of a packet of sound has no frame, or more than one")
        size, start = packet[1], 2
        if size >= _SHORT:
            size, start = size + 4 * packet[2], 3
        if start + size > len(packet):
            raise MediaError("a stream of a packet of sound is cut short")
        yield packet[:1] + packet[start : start + size]
        packet = packet[start + size :]
    yield packet
