"""Record a desktop's sound and code it: an Opus packet to the host for every 5 or 10 ms.

In silence they become ten a second, unless the stream has to have them all; then they go on though there is nothing to
record, or nothing any more. Run by the host only.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice, repeat

import numpy as np

from punktfunk.clock import monotonic_ns
from punktfunk.desktop.audio import CHUNK_SAMPLES, AudioCapture, SoundPlace
from punktfunk.desktop.audio.own_sink import OwnSink, require_own_sink
from punktfunk.desktop.audio.pulse import PulseCapture
from punktfunk.desktop.audio.silence import SilentCapture
from punktfunk.errors import CapabilityError, DesktopError, PunktfunkError
from punktfunk.host.peripherals.audio import VOCABULARY, Failed, Packet, Record
from punktfunk.host.peripherals.sound_pace import SoundPace
from punktfunk.media.multistream import MultistreamEncoder
from punktfunk.media.opus import Samples
from punktfunk.media.sound import SoundFormat
from punktfunk.process.worker_end import WorkerEnd, leave

_ORDER_LIMIT_S = 10.0
_SILENT_MS = 500
"""After so long without any sound, packets become empty ones (DTX) and few: nothing is to be heard."""
_SILENT_EVERY_MS = 100


class Recording:
    """What is to be heard, 5 ms at a time; what must go on goes on silently without its server."""

    def __init__(self, end: WorkerEnd, order: Record) -> None:
        self._end, self._order = end, order
        self._open = ExitStack()
        self._capture: AudioCapture = self._begin(order.place)

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def read(self) -> Samples:
        """Wait for the next chunk; raise ``DesktopError`` when the server goes that a stream may end with."""
        try:
            return self._capture.read().samples
        except DesktopError as error:
            if not self._order.sound.continuous or self._end.stopping.is_set():
                raise
            self._fail(error)
            return self._capture.read().samples

    def _begin(self, place: SoundPlace | None) -> AudioCapture:
        channels = self._order.sound.channels
        if place is None:
            return SilentCapture(channels)
        try:
            if place == OwnSink.place:
                require_own_sink()
            return self._open.enter_context(
                PulseCapture(place.server or None, place.source, channels=channels)
            )
        except (CapabilityError, DesktopError) as error:
            if not self._order.sound.continuous:
                raise
            self._tell(error)
            return SilentCapture(channels)

    def _fail(self, error: DesktopError) -> None:
        self._tell(error)
        self._open.close()
        self._capture = SilentCapture(self._order.sound.channels)

    def _tell(self, error: PunktfunkError) -> None:
        self._end.send(Failed(error.code, error.cause, error.hint))


def chunks(recording: Recording, sound: SoundFormat) -> Iterator[Samples]:
    """Give what is to be heard, 5 ms at a time, and where packets may not pause exactly as much as time has passed."""
    silence = np.zeros((CHUNK_SAMPLES, sound.channels), np.float32)
    pace = SoundPace()
    while True:
        samples = recording.read()
        if not sound.continuous:
            yield samples
            continue
        yield from repeat(silence, pace.missing(monotonic_ns()))
        if pace.take(monotonic_ns()):
            yield samples


def record(end: WorkerEnd, order: Record) -> None:
    """Record until the host says stop; raise DesktopError when the sound server goes."""
    encoder = MultistreamEncoder(order.sound)
    packet_ms = order.sound.packet_ms
    silent_ms = 0
    with Recording(end, order) as recording:
        heard = chunks(recording, order.sound)
        while not end.stopping.is_set():
            samples = np.concatenate(list(islice(heard, encoder.samples // CHUNK_SAMPLES)))
            silent_ms = 0 if samples.any() else silent_ms + packet_ms
            if silent_ms > _SILENT_MS and not order.sound.continuous:
                if silent_ms % _SILENT_EVERY_MS == 0:
                    end.send(Packet(monotonic_ns(), ""))
                continue
            end.send(Packet(monotonic_ns(), encoder.encode(samples).hex()))


def main() -> int:
    """Run the worker; 1 when sound was unavailable (the host has been told why)."""
    end = WorkerEnd(VOCABULARY)
    received = end.wait(_ORDER_LIMIT_S)
    if received is None or not isinstance(received[0], Record):
        return 1
    try:
        record(end, received[0])
    except PunktfunkError as error:
        if not end.stopping.is_set():
            end.send(Failed(error.code, error.cause, error.hint))
        return 1
    return 0


if __name__ == "__main__":
    leave(main())
