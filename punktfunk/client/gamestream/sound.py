"""What a GameStream client hears: Opus packets decoded and counted, kept as a wave file where records are kept."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from punktfunk.errors import MediaError, ResultsError
from punktfunk.media.multistream import MultistreamDecoder
from punktfunk.media.opus import SAMPLE_RATE
from punktfunk.media.sound import SoundFormat


class GameSound:
    """Decode one stream's sound; damage and loss are counted, never raised.

    With ``path``, what was heard goes into a wave file (48 kHz, 16 bit, channels in the order of gamestream section
    9.3), lost packets as silence. Raises ``ResultsError`` when that cannot be made.
    """

    def __init__(self, sound: SoundFormat, path: Path | None = None) -> None:
        self.counters = dict.fromkeys(("sound_packets", "sound_undecodable", "sound_samples"), 0)
        self._channels = sound.channels
        self._silence = np.zeros((SAMPLE_RATE * sound.packet_ms // 1000, sound.channels), np.float32)
        self._decoder = MultistreamDecoder(sound)
        self._path = path
        self._file: wave.Wave_write | None = None
        self._peaks = np.zeros(sound.channels)

    @property
    def peaks(self) -> list[float]:
        """The loudest sample of each channel so far, 0 to 1."""
        return [round(float(peak), 4) for peak in self._peaks]

    def take(self, packet: bytes | None) -> NDArray[np.float32]:
        """Decode one packet, ``None`` for a lost one; return its samples, shape (samples, channels)."""
        samples = self._silence
        if packet is not None:
            self.counters["sound_packets"] += 1
            try:
                samples = self._decoder.decode(packet)[: len(self._silence)]
            except MediaError:
                self.counters["sound_undecodable"] += 1
        self.counters["sound_samples"] += len(samples)
        if len(samples):
            self._peaks = np.maximum(self._peaks, np.abs(samples).max(axis=0))
        self._write(samples)
        return samples

    def close(self) -> None:
        """Finish the file. Closing twice is harmless."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(self, samples: NDArray[np.float32]) -> None:
        if self._path is None:
            return
        try:
            if self._file is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._file = wave.open(str(self._path), "wb")  # noqa: SIM115 - closed by close()
                self._file.setnchannels(self._channels)
                self._file.setsampwidth(2)
                self._file.setframerate(SAMPLE_RATE)
            self._file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
        except OSError as error:
            path, self._path = self._path, None
            raise ResultsError(f"{path} cannot be written: {error.strerror}", "free space there") from error
