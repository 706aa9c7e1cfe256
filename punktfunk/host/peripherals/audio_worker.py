"""Record a desktop's sound and code it: every 5 ms one Opus packet to the host, ten a second in silence.

Run by the host only.
"""

from __future__ import annotations

from punktfunk.clock import monotonic_ns
from punktfunk.desktop.audio.pulse import PulseCapture
from punktfunk.errors import PunktfunkError
from punktfunk.host.peripherals.audio import VOCABULARY, Failed, Packet, Record
from punktfunk.media.opus import OpusEncoder
from punktfunk.process.worker_end import WorkerEnd, leave

_ORDER_LIMIT_S = 10.0
_SILENT_CHUNKS = 100
"""After half a second without any sound, packets become empty ones (DTX) and few: nothing is to be heard."""
_SILENT_EVERY = 20


def record(end: WorkerEnd, order: Record) -> None:
    """Record until the host says stop; raise DesktopError when the sound server goes."""
    encoder = OpusEncoder()
    silent = 0
    with PulseCapture(order.server or None, order.source) as capture:
        while not end.stopping.is_set():
            chunk = capture.read()
            silent = 0 if chunk.samples.any() else silent + 1
            if silent > _SILENT_CHUNKS:
                if silent % _SILENT_EVERY == 0:
                    end.send(Packet(monotonic_ns(), ""))
                continue
            opus = encoder.encode(chunk.samples)
            end.send(Packet(monotonic_ns(), opus.hex()))


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
