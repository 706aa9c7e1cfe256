"""What a client hears: Opus packets in order, decoded and counted, kept as a wave file where records are kept."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from punktfunk.errors import CodecUnavailableError, MediaError, ResultsError
from punktfunk.media.opus import PACKET_SAMPLES, SAMPLE_RATE, OpusDecoder
from punktfunk.native.datagrams import Audio

CHANNELS = 2
_SEQUENCE = 1 << 32
_LONGEST_GAP = 200
"""Packets, one second: what is missing beyond is not filled with silence."""
_MAX_SAMPLES = SAMPLE_RATE * 120 // 1000
"""A packet of Opus holds 120 ms at most; this bounds what one that lies about it can cost."""


class SoundLog:
    """Decode one stream's sound; damage, loss and lateness are counted, never raised.

    With ``path``, what was heard goes into a wave file (48 kHz, stereo, 16 bit), lost packets as silence.
    Raises ResultsError when that cannot be made.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.counters = dict.fromkeys(
            ("sound_packets", "sound_lost", "sound_late", "sound_undecodable", "sound_samples"), 0
        )
        self._path = path
        self._file: wave.Wave_write | None = None
        self._decoder: OpusDecoder | None = None
        self._next: int | None = None
        self._silent = False
        self._silent_from_ns: int | None = None

    def take(self, packet: Audio) -> NDArray[np.float32] | None:
        """Decode one packet; return its samples, shape (samples, 2), ``None`` for none."""
        if not self._in_turn(packet.seq):
            return None
        self.counters["sound_packets"] += 1
        self._fill_silence(packet.pts_ns)
        if not packet.opus:  # silence (DTX), for as long as the next packet's time says
            self._silent_from_ns = packet.pts_ns
            return None
        decoder = self._open()
        if decoder is None:
            self.counters["sound_undecodable"] += 1
            return None
        try:
            samples = decoder.decode(packet.opus)[:_MAX_SAMPLES]
        except MediaError:
            self.counters["sound_undecodable"] += 1
            samples = np.zeros((PACKET_SAMPLES, CHANNELS), np.float32)
        self.counters["sound_samples"] += len(samples)
        self._write(samples)
        return samples

    def close(self) -> None:
        """Finish the file. Closing twice is harmless."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _in_turn(self, seq: int) -> bool:
        """Return whether the packet is the next one or a later one, and count what lies between."""
        if self._next is not None:
            ahead = (seq - self._next) % _SEQUENCE
            if ahead >= _SEQUENCE // 2:
                self.counters["sound_late"] += 1
                return False
            self.counters["sound_lost"] += ahead
            gap = min(ahead, _LONGEST_GAP) * PACKET_SAMPLES
            if gap:
                self._write(np.zeros((gap, CHANNELS), np.float32))
        self._next = (seq + 1) % _SEQUENCE
        return True

    def _fill_silence(self, until_ns: int) -> None:
        """Let the time pass that a silent packet stood for."""
        since, self._silent_from_ns = self._silent_from_ns, None
        if since is not None:
            passed = max(0, until_ns - since) * SAMPLE_RATE // 1_000_000_000
            self._write(np.zeros((min(passed, _LONGEST_GAP * PACKET_SAMPLES), CHANNELS), np.float32))

    def _open(self) -> OpusDecoder | None:
        if self._decoder is None and not self._silent:
            try:
                self._decoder = OpusDecoder()
            except CodecUnavailableError:
                self._silent = True
        return self._decoder

    def _write(self, samples: NDArray[np.float32]) -> None:
        if self._path is None:
            return
        try:
            if self._file is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._file = wave.open(str(self._path), "wb")  # noqa: SIM115 - closed by close()
                self._file.setnchannels(CHANNELS)
                self._file.setsampwidth(2)
                self._file.setframerate(SAMPLE_RATE)
            self._file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
        except OSError as error:
            path, self._path = self._path, None
            raise ResultsError(f"{path} cannot be written: {error.strerror}", "free space there") from error
