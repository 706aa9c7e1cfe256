"""Fan-out of events to readers that come and go, with bounds on how many there are and how far one may lag (P15).

An event is put into words once, for all readers. The state of the host is rendered when a reader's turn has come,
so that however often it changes meanwhile, one copy waits. Where nobody reads, nothing is done.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter, deque
from collections.abc import Callable, Mapping

MAX_STREAMS = 16
QUEUE_EVENTS = 64
LOG_EVENTS = 32
"""Log lines give way first: they are left out while so much waits, and ``/logs`` has them."""
COMMENT = b": still here\n\n"


def render(name: str, data: Mapping[str, object]) -> bytes:
    """Return one event of the event stream format (HTML standard, 9.2)."""
    return f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode("utf-8", "replace")


class Subscription:
    """One reader's place: what waits for it, and a way to be woken. Belongs to one event loop."""

    def __init__(self, hub: EventHub) -> None:
        self._hub = hub
        self._waiting: deque[bytes] = deque()
        self._state_due = True
        self._wake = asyncio.Event()
        self.over = False
        """Set when the reader lagged too far, or the hub has closed: nothing more comes."""

    def take(self) -> bytes | None:
        """Return the next event, ``None`` when none waits."""
        if self._state_due and not self.over:
            self._state_due = False
            return render("state", self._hub.state())
        if self._waiting:
            return self._waiting.popleft()
        self._wake.clear()
        return None

    async def woken(self) -> None:
        """Wait until there may be something to take, or it is over."""
        if not self.over:
            await self._wake.wait()

    def close(self) -> None:
        """Give the place back."""
        self._hub.leave(self)

    def put(self, event: bytes, *, limit: int = QUEUE_EVENTS) -> bool:
        """Add an event; ``False`` when ``limit`` of them wait already."""
        if len(self._waiting) >= limit:
            return False
        self._waiting.append(event)
        self._wake.set()
        return True

    def put_state(self) -> None:
        """Have the state told once more."""
        self._state_due = True
        self._wake.set()

    def end(self) -> None:
        """Drop what waits and say that it is over."""
        self.over = True
        self._waiting.clear()
        self._state_due = False
        self._wake.set()

    def nudge(self) -> None:
        """Wake the reader without an event, to have it look whether it may go on."""
        self._wake.set()


class EventHub:
    """The readers of a host's events.

    ``state`` returns what a state event tells. ``on_audience`` is called with ``True`` before the first reader
    comes and with ``False`` after the last has gone. Counters: ``streams``, ``refused_full``, ``slow_readers``,
    ``events``, ``log_lines_left_out``.
    """

    def __init__(
        self, state: Callable[[], Mapping[str, object]], on_audience: Callable[[bool], None]
    ) -> None:
        self.state = state
        self.counters: Counter[str] = Counter(
            streams=0, refused_full=0, slow_readers=0, events=0, log_lines_left_out=0
        )
        self._on_audience = on_audience
        self._readers: list[Subscription] = []
        self._closed = False

    @property
    def readers(self) -> int:
        """How many there are."""
        return len(self._readers)

    def subscribe(self) -> Subscription | None:
        """Return a place for a reader; ``None`` when all are taken or the hub has closed."""
        if self._closed or len(self._readers) >= MAX_STREAMS:
            self.counters["refused_full"] += 1
            return None
        if not self._readers:
            self._on_audience(True)
        reader = Subscription(self)
        self._readers.append(reader)
        self.counters["streams"] += 1
        return reader

    def leave(self, reader: Subscription) -> None:
        """Take a reader's place back."""
        reader.end()
        if reader in self._readers:
            self._readers.remove(reader)
            if not self._readers:
                self._on_audience(False)

    def publish(self, name: str, data: Mapping[str, object]) -> None:
        """Publish to every reader; one that has not taken the last 64 events is dropped."""
        if not self._readers:
            return
        event = render(name, data)
        self.counters["events"] += 1
        for reader in list(self._readers):
            if not reader.put(event):
                self.counters["slow_readers"] += 1
                self.leave(reader)

    def publish_log(self, data: Mapping[str, object]) -> None:
        """Publish a log line to the readers that keep up."""
        if not self._readers:
            return
        event = render("log", data)
        self.counters["events"] += 1
        for reader in self._readers:
            if not reader.put(event, limit=LOG_EVENTS):
                self.counters["log_lines_left_out"] += 1

    def publish_state(self) -> None:
        """Have the state told to every reader."""
        for reader in self._readers:
            reader.put_state()

    def nudge(self) -> None:
        """Have every reader look whether it may still read."""
        for reader in self._readers:
            reader.nudge()

    def close(self) -> None:
        """End every reader's stream."""
        self._closed = True
        for reader in list(self._readers):
            self.leave(reader)
