"""How many connections the API has at most, and how long a slow one is waited for (P15)."""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from uvicorn.server import ServerState

MAX_CONNECTIONS = 256
MAX_CONNECTIONS_PER_SOURCE = 64
REQUEST_LIMIT_S = 10.0
"""From the first byte of a request, or from the connection, to the end of its body."""
WRITE_LIMIT_S = 10.0
"""How long an answer may wait for a peer that does not read."""
KEEP_ALIVE_S = 5


class Connections:
    """The connections of a server. Counters: ``taken``, ``refused_full``, ``slow_requests``, ``slow_readers``,
    ``malformed``.
    """

    def __init__(self) -> None:
        self.counters: Counter[str] = Counter()
        self.request_limit_s = REQUEST_LIMIT_S
        self.write_limit_s = WRITE_LIMIT_S
        self._per_source: Counter[str] = Counter()

    @cached_property
    def state(self) -> ServerState:
        """What uvicorn's connections have in common, loaded with the first of them."""
        from uvicorn.server import ServerState

        return ServerState()

    def admit(self, source: str) -> bool:
        """Take a connection of this address in, or say that there are too many."""
        total = self._per_source.total()
        if total >= MAX_CONNECTIONS or self._per_source[source] >= MAX_CONNECTIONS_PER_SOURCE:
            self.counters["refused_full"] += 1
            return False
        self._per_source[source] += 1
        self.counters["taken"] += 1
        return True

    def release(self, source: str) -> None:
        """Take note that a connection that was let in has ended."""
        self._per_source[source] -= 1
        if self._per_source[source] <= 0:
            del self._per_source[source]
