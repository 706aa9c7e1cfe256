"""How a session ended, as a client's programs and the library's users see it."""

from __future__ import annotations

from dataclasses import dataclass, field

from punktfunk.client.ending import Counts, End


@dataclass(frozen=True, slots=True)
class Summary:
    """How a session ended. ``counters`` are the worker's; ``frames_announced`` is 0 for a plain stream.

    ``failed`` is true for an ``end`` that is no success, such as a host that vanished. What cannot be known then, how
    much was lost since its last packet, is absent from ``counters`` and ``None`` in the properties;
    ``at_least`` has it as far as it was seen. ``last_packet_ns`` is CLOCK_MONOTONIC, ``None`` where no packet of the
    stream came or nobody knows; ``silent_ns`` the time from it to the end.
    """

    reason: str
    counters: dict[str, int] = field(default_factory=dict)
    frames_announced: int = 0
    failed: bool = False
    end: End = End.STOPPED
    hint: str = ""
    """What to do about it; "" for nothing."""
    at_least: dict[str, int] = field(default_factory=dict)
    last_packet_ns: int | None = None
    silent_ns: int | None = None

    @property
    def counts(self) -> Counts:
        """The counters, for what can be said of loss."""
        return Counts(self.counters, self.at_least)

    @property
    def packets_lost(self) -> int | None:
        """Packets that were sent and did not come; ``None``: unknown."""
        return self.counts.packets_lost

    @property
    def frames_lost(self) -> int | None:
        """Frames that did not come whole in time; ``None``: unknown."""
        if self.frames_announced:
            return max(0, self.frames_announced - self.counters.get("frames_complete", 0))
        return self.counts.frames_lost

    @property
    def verified(self) -> bool | None:
        """Whether every announced frame came intact; ``None`` when none was announced."""
        if not self.frames_announced:
            return None
        intact = self.counters.get("test_frames_intact", 0)
        return intact == self.frames_announced and not self.counters.get("test_frames_mismatched", 0)
