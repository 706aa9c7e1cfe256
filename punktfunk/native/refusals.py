"""When a peer is gone: its port refuses what is sent there, and its control connection is silent.

A killed client says no more. Its machine does: it answers what the stream sends to the closed port with ICMP, which a
connected socket hears as ECONNREFUSED. That alone proves nothing, since clients may bind their port late (punktfunk/1
section 4.1), and whoever guesses both ports can forge it. So the client is asked as well: every QUIC stack
acknowledges a PING, whatever its program is doing. A client judges its host likewise, by the refusals of the port that
it has its control connection with. State machine without I/O; times are CLOCK_MONOTONIC ns.
"""

from __future__ import annotations

from enum import Enum, auto

MIN_REFUSALS = 5
MIN_SPAN_NS = 300_000_000
"""Refusals that make a case: at least five over at least 300 ms. A single one may belong to a packet of the past."""
MIN_SILENCE_NS = 500_000_000
"""How long a client may take to acknowledge the PING. Stacks take 25 ms, and a lost PING is sent again after a round
trip or two; the rest is for a machine that is busy."""
SILENCE_ROUND_TRIPS = 4
"""The same on long paths: PING, a loss, the probe for it, and a margin."""


class Advice(Enum):
    """What to do about refusals."""

    NOTHING = auto()
    ASK = auto()
    """Send a PING: a client that lives acknowledges it."""
    GIVE_UP = auto()
    """The client is gone."""


class RefusalWatch:
    """Judge the refusals of one client's data port; whatever is heard from it on control makes the case anew."""

    def __init__(self) -> None:
        self.count = 0
        """Refusals since the client was last heard."""
        self.first_ns = 0
        self.last_ns = 0
        self._asked_ns = 0

    @property
    def span_ns(self) -> int:
        """Return the time from the first of them to the last."""
        return self.last_ns - self.first_ns

    def refused(
        self, count: int, first_ns: int, last_ns: int, *, heard_ns: int, rtt_ns: int, now_ns: int
    ) -> Advice:
        """Take ``count`` refusals between two times; ``heard_ns`` is when control last brought something."""
        if heard_ns >= last_ns:
            return Advice.NOTHING
        if heard_ns >= first_ns:
            # Only the last one is known to have come since.
            count, first_ns = 1, last_ns
        begins = self.count == 0 or heard_ns >= self.first_ns
        if begins:
            self.count, self.first_ns, self._asked_ns = 0, first_ns, now_ns
        self.count += count
        self.last_ns = last_ns
        if begins:
            return Advice.ASK
        silence_ns = max(MIN_SILENCE_NS, SILENCE_ROUND_TRIPS * rtt_ns)
        enough = self.count >= MIN_REFUSALS and self.span_ns >= MIN_SPAN_NS
        return Advice.GIVE_UP if enough and now_ns - self._asked_ns >= silence_ns else Advice.NOTHING

    def silent_since(self, heard_ns: int) -> bool:
        """Return whether nothing was heard since the first of the refusals."""
        return heard_ns < self.first_ns
