"""What every sender around the core's stream does alike."""

from __future__ import annotations

from punktfunk.core._core import HostStream
from punktfunk.host.stream.sender import Sender
from punktfunk.media import AccessUnit


class CoreSender(Sender):
    """A sender whose packets the core makes, and sends in a thread of its own; raises as ``HostStream`` does."""

    _stream: HostStream

    def flush(self, limit_s: float) -> bool:
        """Wait until the core's queue is empty."""
        return self._stream.flush(limit_s)

    def set_rate(self, kbps: int) -> None:
        """Pace for another rate."""
        self._stream.set_rate(kbps)

    def take_recovery_request(self) -> bool:
        """Return whether the core has dropped pictures since the last call."""
        return self._stream.take_recovery_request()

    def take_refusals(self) -> tuple[int, int, int] | None:
        """Return the refusals (ECONNREFUSED) since the last call: their count, the first and the last stamp."""
        return self._stream.take_refusals()

    def take_records(self) -> dict[str, bytes]:
        """Return the core's frame records since the last call."""
        return self._stream.take_records()

    def stats(self) -> dict[str, int]:
        """Return the core's counters."""
        return self._stream.stats()

    def close(self) -> None:
        """End the core's thread."""
        self._stream.close()

    def _submit(self, unit: AccessUnit, pts_ns: int, flags: int) -> int:
        """Hand an access unit to the core's thread with the stamps of its stages; return its frame index."""
        stamps = unit.stamps
        return self._stream.submit(
            unit.data,
            pts_ns,
            flags,
            captured_ns=stamps.captured_ns,
            converted_ns=stamps.converted_ns,
            encode_begin_ns=stamps.encode_begin_ns,
            encode_end_ns=stamps.encode_end_ns,
        )
