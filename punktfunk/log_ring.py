"""The latest log lines of a process, kept in memory within bounds (promise P16)."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

MAX_ENTRIES = 2000
MAX_BYTES = 1 << 20
"""Of texts as JSON, all entries together; Python's objects around them come to some four times that."""
MAX_ENTRY_BYTES = 1 << 14
"""A longer entry is kept without its fields and with the start of its text."""
_SHORT_TEXT = 1024


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One line, scrubbed; ``time`` is ISO 8601 in UTC and ``fields`` holds plain JSON values."""

    time: str
    level: str
    concern: str
    event: str
    fields: dict[str, Any]

    def to_json(self) -> str:
        """Return the entry as one line of JSON."""
        return json.dumps(
            {
                "time": self.time,
                "level": self.level,
                "concern": self.concern,
                "event": self.event,
                "fields": self.fields,
            },
            default=str,
            ensure_ascii=False,
        )

    def within(self, limit: int) -> tuple[LogEntry, int]:
        """Return the entry, without fields and with the start of its text if it is longer, and its bytes as JSON."""
        size = len(self.to_json().encode(errors="replace"))
        if size <= limit:
            return self, size
        short = replace(self, event=self.event[:_SHORT_TEXT], fields={"left_out_bytes": size})
        return short, len(short.to_json().encode(errors="replace"))


class LogRing:
    """Hold the newest entries, at most 2000 and 1 MiB; ``forgotten`` counts those that made room.

    Safe for use by several threads. Listeners are called in the thread that logs, and must neither block, raise
    nor log.
    """

    def __init__(self, max_entries: int = MAX_ENTRIES, max_bytes: int = MAX_BYTES) -> None:
        self.forgotten = 0
        self._max_entries, self._max_bytes = max_entries, max_bytes
        self._entries: deque[tuple[LogEntry, int]] = deque()
        self._bytes = 0
        self._lock = threading.Lock()
        self._listeners: tuple[Callable[[LogEntry], None], ...] = ()

    def append(self, entry: LogEntry) -> None:
        """Keep one entry, the oldest ones going where a bound is reached."""
        entry, size = entry.within(MAX_ENTRY_BYTES)
        with self._lock:
            self._entries.append((entry, size))
            self._bytes += size
            while len(self._entries) > self._max_entries or self._bytes > self._max_bytes:
                self._bytes -= self._entries.popleft()[1]
                self.forgotten += 1
        for listener in self._listeners:
            listener(entry)

    def entries(self, limit: int | None = None) -> list[LogEntry]:
        """Return the newest ``limit`` entries, or all of them, newest last."""
        with self._lock:
            entries = [entry for entry, _ in self._entries]
        return entries if limit is None else entries[max(len(entries) - limit, 0) :]

    def listen(self, listener: Callable[[LogEntry], None]) -> Callable[[], None]:
        """Call ``listener`` with every entry from now on; returns the function that ends this."""
        with self._lock:
            self._listeners = (*self._listeners, listener)

        def stop() -> None:
            with self._lock:
                self._listeners = tuple(other for other in self._listeners if other is not listener)

        return stop
