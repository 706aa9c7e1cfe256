"""How a client's session ended, and what can be said of loss then: what nobody knows is unknown, never 0 (P2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from punktfunk.native.control import S

_SILENCE_NS: Final = S
_SILENCE_FRAMES: Final = 3
_CLOSE_NS: Final = 5 * S
"""A host that ends in order has sent its last packet up to so long before: it writes its records and waits a little."""
NOTHING_CAME_NS: Final = 5 * S
"""A session of this length in which not one packet of the stream came has failed: opening a desktop takes less."""

LOSS_COUNTERS: Final = (
    "packets_lost",
    "frames_unrecoverable",
    "frames_unseen",
    "frames_expired",
    "data_shards_missing",
    "data_shards_unrecoverable",
)
"""Counters of a receiver that say what is missing. They are made from the numbers of packets that came: what was sent
after the last one is in none of them."""
_LOST_FRAMES: Final = ("frames_unrecoverable", "frames_expired")


class End(StrEnum):
    """How a session ended."""

    VERIFIED = "verified"
    """Every frame that the host had announced was checked, right or wrong."""
    CLOSED = "closed by the host"
    """In order: its stream was over, or it ended the session and said so."""
    HOST_FAILED = "host failed"
    """The host closed the session with an error."""
    HOST_GONE = "host gone"
    """The host's program is no more: its machine refuses packets to its port."""
    HOST_SILENT = "host silent"
    """Nothing came from the host for the whole idle time: its machine or the network has failed."""
    STREAM_SILENT = "stream silent"
    """The frames of a verification stopped coming, and nobody said why."""
    STOPPED = "stopped"
    """From this side: a signal, the time, the window, the program that uses the library."""
    FAILED = "failed"
    """Something of this client's failed."""

    @property
    def failed(self) -> bool:
        """Whether a session that ended so is no success, whatever came before."""
        return self not in (End.VERIFIED, End.CLOSED, End.STOPPED)


def silence_ns(refresh_hz: int) -> int:
    """Return for how long a stream of that rate may bring nothing before one has to think that packets were lost.

    A second, or three frames where that is longer: hosts send a picture every 100 ms even when nothing changes.
    """
    return max(_SILENCE_NS, _SILENCE_FRAMES * S // max(refresh_hz, 1))


@dataclass(frozen=True, slots=True)
class Hearing:
    """When the last packet of a stream came (CLOCK_MONOTONIC ns, ``None``: none did), and for how long none since."""

    last_packet_ns: int | None
    silent_ns: int
    """From the last packet to the end; where none came, from the beginning."""
    patience_ns: int
    """See :func:`silence_ns`."""

    def knows_loss(self, end: End) -> bool:
        """Return whether loss counters cover the whole stream after such an end."""
        if end in (End.CLOSED, End.HOST_FAILED):
            return self.silent_ns < max(_CLOSE_NS, self.patience_ns)
        return end is End.VERIFIED or (end is End.STOPPED and self.silent_ns < self.patience_ns)

    def tells_of(self, end: End) -> bool:
        """Return whether the time of the last packet belongs to what is said of the end."""
        if end in (End.HOST_GONE, End.HOST_SILENT, End.STREAM_SILENT):
            return True
        return end is End.STOPPED and self.silent_ns >= self.patience_ns

    def sentence(self, realtime_offset_ns: int) -> str:
        """Return when the last packet came, by the clock on the wall and before the end."""
        seconds = f"{self.silent_ns / S:.1f} s"
        if self.last_packet_ns is None:
            return f"no packet of the stream came in {seconds}"
        at = datetime.fromtimestamp((self.last_packet_ns + realtime_offset_ns) / S).astimezone()
        return f"the last packet came at {at:%H:%M:%S}, {seconds} before the end"


@dataclass(frozen=True, slots=True)
class Counts:
    """A receiver's counters, those of loss apart where they are no more than a lower bound."""

    counters: dict[str, int]
    at_least: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, counters: Mapping[str, int], *, loss_known: bool) -> Counts:
        """Take counters as a stream has them."""
        if loss_known:
            return cls(dict(counters))
        return cls(
            {name: count for name, count in counters.items() if name not in LOSS_COUNTERS},
            {name: count for name, count in counters.items() if name in LOSS_COUNTERS},
        )

    @property
    def packets_lost(self) -> int | None:
        """Packets that were sent and did not come, ``None`` where that is unknown."""
        return self.counters.get("packets_lost")

    @property
    def frames_lost(self) -> int | None:
        """Frames that did not come whole in time, ``None`` where that is unknown."""
        if any(name not in self.counters for name in _LOST_FRAMES):
            return None
        return sum(self.counters[name] for name in _LOST_FRAMES)

    @property
    def frames_lost_at_least(self) -> int:
        """The same as far as it was seen."""
        return sum({**self.at_least, **self.counters}.get(name, 0) for name in _LOST_FRAMES)

    def loss_words(self) -> str:
        """Return what was lost: ``packets lost 3, frames lost unknown (at least 1)``."""
        packets = _amount(self.packets_lost, self.at_least.get("packets_lost", 0))
        return f"packets lost {packets}, frames lost {_amount(self.frames_lost, self.frames_lost_at_least)}"


def _amount(known: int | None, at_least: int) -> str:
    if known is not None:
        return str(known)
    return f"unknown (at least {at_least})" if at_least else "unknown"
