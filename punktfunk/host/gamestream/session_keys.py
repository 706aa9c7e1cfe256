"""The session keys that clients have used: one that comes again would repeat every nonce of its first stream.

A client draws a new ``rikey`` for each ``/launch`` and ``/resume``, and all counters of a session begin anew with it
(gamestream sections 4.3 and 13.9): those of RTSP, control and video at the same number each time, whatever ``rikeyid``
is.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Final

from punktfunk.errors import StatusError

MAX_KEYS: Final = 16_384
"""Of all clients together, some 3 MB; the oldest are forgotten. A client that starts a stream every minute of the day
gets there in eleven days, and one that repeats its own key after so many harms nobody else."""
_DIGEST_BYTES: Final = 16


class UsedKeys:
    """Which keys there have been since the host started, as digests; belongs to one event loop.

    Counter: ``gamestream_keys_again`` (sessions that were refused).
    """

    def __init__(self, limit: int = MAX_KEYS) -> None:
        self.counters: Counter[str] = Counter()
        self._limit = limit
        self._digests: dict[bytes, None] = {}

    def __len__(self) -> int:
        """Return how many are remembered."""
        return len(self._digests)

    def __contains__(self, key: bytes) -> bool:
        """Whether a key was used."""
        return _digest(key) in self._digests

    def require_new(self, key: bytes) -> None:
        """Raise ``StatusError`` (400) for a key that a session had."""
        if key in self:
            self.counters["gamestream_keys_again"] += 1
            raise StatusError("this stream has the key of an earlier one: start it anew", status=400)

    def add(self, key: bytes) -> None:
        """Take note of a key that a session has."""
        self._digests[_digest(key)] = None
        if len(self._digests) > self._limit:
            del self._digests[next(iter(self._digests))]


def _digest(key: bytes) -> bytes:
    """Return what stands for a key: none of an old session is kept in memory."""
    return hashlib.sha256(b"punktfunk session key" + key).digest()[:_DIGEST_BYTES]
