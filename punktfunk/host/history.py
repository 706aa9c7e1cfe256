"""The sessions of a host: those that run, the last ones that ended, and what all of them add up to."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping

from punktfunk.host.session_report import SessionReport

MAX_ENDED = 100
"""Reports of ended sessions that are kept, some 6 kB each; older ones live on in the totals."""
_GAUGES = frozenset(
    {"fec_percent", "rate_kbps", "gso", "send_buffer_granted", "queue_packets", "recovery_armed"}
    | {"realtime", "slice_ns"}
)
"""Counters of a worker that are no counts, and do not add up over sessions."""


def ledger_of(report: SessionReport) -> dict[str, int]:
    """Return the counts of a session's frames and packets."""
    return {name: count for name, count in report.counters.items() if name not in _GAUGES}


class SessionHistory:
    """Number sessions from 1, and hold their reports within bounds."""

    def __init__(self, max_ended: int = MAX_ENDED) -> None:
        self.begun = 0
        self.over = 0
        self.failed = 0
        """Of those that are over."""
        self._ledger: Counter[str] = Counter()
        self._running: dict[int, SessionReport] = {}
        self._ended: deque[SessionReport] = deque(maxlen=max_ended)

    @property
    def next_number(self) -> int:
        """Number of the session that begins next."""
        return self.begun + 1

    @property
    def ledger(self) -> Mapping[str, int]:
        """Counts of all sessions that are over, added up."""
        return dict(self._ledger)

    @property
    def reports(self) -> list[SessionReport]:
        """The sessions that run and those of the ended ones that are kept, as they began."""
        return sorted([*self._ended, *self._running.values()], key=lambda report: report.number)

    def ended(self, since: int = 0) -> list[SessionReport]:
        """Return the kept reports of sessions that ended after the first ``since``, as they ended."""
        forgotten = self.over - len(self._ended)
        return list(self._ended)[max(since - forgotten, 0) :]

    def begin(self, report: SessionReport) -> None:
        """Take a session's report, which bears :attr:`next_number`."""
        self.begun += 1
        self._running[report.number] = report

    def end(self, report: SessionReport) -> None:
        """Add a session that is over to the totals; the oldest ended one may be forgotten for it."""
        del self._running[report.number]
        self._ended.append(report)
        self.over += 1
        self.failed += report.failed
        self._ledger.update(ledger_of(report))
