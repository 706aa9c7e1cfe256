"""Who is signed in to the console: sessions behind cookies, and one-time tickets that open one.

All in memory, as digests: a session ends with the host. Times are CLOCK_MONOTONIC ns, given by the caller.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

_S = 1_000_000_000
_MINUTE_NS = 60 * _S

SESSION_IDLE_NS = 30 * _MINUTE_NS
SESSION_LIFE_NS = 12 * 60 * _MINUTE_NS
MAX_SESSIONS = 32
"""The session that was quiet longest gives way to a new one."""

TICKET_LIFE_NS = 10 * _MINUTE_NS
MAX_TICKETS = 8
"""The oldest gives way to a new one."""

FRESH_TICKET_NS = 10 * _MINUTE_NS
"""How long a session that a ticket opened may replace a forgotten password."""


@dataclass(slots=True)
class ConsoleSession:
    """Somebody who is signed in."""

    began_ns: int
    seen_ns: int
    by_ticket: bool

    def over(self, now_ns: int) -> bool:
        """Return whether it was idle, or there, for too long."""
        return now_ns - self.seen_ns >= SESSION_IDLE_NS or now_ns - self.began_ns >= SESSION_LIFE_NS


class ConsoleSessions:
    """Sessions and tickets of one host."""

    def __init__(self) -> None:
        self.on_close: Callable[[], None] = lambda: None
        """Called after sessions were ended: what they still read ends with them."""
        self._sessions: OrderedDict[bytes, ConsoleSession] = OrderedDict()
        self._tickets: OrderedDict[bytes, int] = OrderedDict()

    def open(self, now_ns: int, *, by_ticket: bool) -> str:
        """Begin a session; return the cookie's value."""
        self._expire(now_ns)
        value = secrets.token_urlsafe(32)
        self._sessions[_digest(value)] = ConsoleSession(now_ns, now_ns, by_ticket)
        while len(self._sessions) > MAX_SESSIONS:
            self._sessions.popitem(last=False)
        return value

    def find(self, value: str, now_ns: int) -> ConsoleSession | None:
        """Return the session of a cookie and take note that it is used; ``None`` when there is none (any more)."""
        key = _digest(value)
        session = self._sessions.get(key)
        if session is None:
            return None
        if session.over(now_ns):
            del self._sessions[key]
            return None
        session.seen_ns = now_ns
        self._sessions.move_to_end(key)
        return session

    def holds(self, session: ConsoleSession, now_ns: int) -> bool:
        """Return whether a session is still there, without using it: long answers such as event streams ask."""
        return any(other is session for other in self._sessions.values()) and not session.over(now_ns)

    def close(self, session: ConsoleSession) -> None:
        """End one session."""
        for key in [key for key, other in self._sessions.items() if other is session]:
            del self._sessions[key]
        self.on_close()

    def close_others(self, kept: ConsoleSession | None) -> None:
        """End every session but this one."""
        for key in [key for key, other in self._sessions.items() if other is not kept]:
            del self._sessions[key]
        self.on_close()

    def issue_ticket(self, now_ns: int) -> str:
        """Make a ticket that opens one session within ten minutes."""
        self._expire(now_ns)
        ticket = secrets.token_urlsafe(32)
        self._tickets[_digest(ticket)] = now_ns + TICKET_LIFE_NS
        while len(self._tickets) > MAX_TICKETS:
            self._tickets.popitem(last=False)
        return ticket

    def redeem(self, ticket: str, now_ns: int) -> bool:
        """Use a ticket up; ``False`` when it is none, was used, or is too old."""
        until_ns = self._tickets.pop(_digest(ticket), None)
        return until_ns is not None and now_ns < until_ns

    def _expire(self, now_ns: int) -> None:
        for key in [key for key, session in self._sessions.items() if session.over(now_ns)]:
            del self._sessions[key]
        for key in [key for key, until_ns in self._tickets.items() if now_ns >= until_ns]:
            del self._tickets[key]


def _digest(value: str) -> bytes:
    # Looked up by digest: how long a look-up takes says nothing about the values that exist.
    return hashlib.sha256(value.encode("utf-8", "surrogatepass")).digest()
