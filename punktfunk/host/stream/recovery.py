"""When a key frame is really needed: requests for one are coalesced without I/O or clock."""

from __future__ import annotations


class KeyframeCoalescer:
    """Decide on each request for a key frame.

    One loss is reported more than once: by the sender's queue, by a client that repeats itself, by requests
    that cross the answer on the way. A request is answered by a key frame that is already armed, and one that
    arrives within a round trip and a frame interval of the last key frame was sent before that could arrive.
    """

    def __init__(self, interval_ns: int) -> None:
        self.requests = 0
        self.coalesced = 0
        self._interval_ns = interval_ns
        self._armed = False
        self._last_key_ns: int | None = None

    def request(self, now_ns: int, rtt_ns: int) -> bool:
        """Return whether this request has to be acted on."""
        self.requests += 1
        answered = self._last_key_ns is not None and now_ns - self._last_key_ns < rtt_ns + self._interval_ns
        if self._armed or answered:
            self.coalesced += 1
            return False
        self._armed = True
        return True

    def dropped(self) -> bool:
        """Arm recovery for a frame that never left this host; return whether it was not armed yet."""
        self.requests += 1
        if self._armed:
            self.coalesced += 1
            return False
        self._armed = True
        return True

    def sent(self, key: bool, now_ns: int) -> None:
        """Take note of a frame that was handed to the sender."""
        if key:
            self._armed = False
            self._last_key_ns = now_ns
