"""How often something may be done: a token bucket that knows when the next token is there."""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")


class Allowance:
    """A token bucket: ``burst`` at once, then one every ``interval_ns``. Times are ns of one clock."""

    __slots__ = ("_burst", "_full_ns", "_interval_ns")

    def __init__(self, burst: int, interval_ns: int, now_ns: int) -> None:
        self._burst, self._interval_ns = burst, interval_ns
        self._full_ns = now_ns
        """When all tokens are there again."""

    def due_ns(self) -> int:
        """Return when the next token may be taken, or could have been."""
        return self._full_ns - (self._burst - 1) * self._interval_ns

    def take(self, now_ns: int) -> None:
        """Take one; only at or after :meth:`due_ns`."""
        self._full_ns = max(self._full_ns, now_ns) + self._interval_ns

    def try_take(self, now_ns: int) -> bool:
        """Take one if there is one; return whether there was."""
        if now_ns < self.due_ns():
            return False
        self.take(now_ns)
        return True

    def full(self, now_ns: int) -> bool:
        """Return whether it is as good as a new one."""
        return now_ns >= self._full_ns


class Latest(Generic[T]):
    """Requests of which only the newest counts, carried out at a rate: one that has to wait gives way to the next."""

    __slots__ = ("_allowance", "_waiting")

    def __init__(self, allowance: Allowance) -> None:
        self._allowance = allowance
        self._waiting: T | None = None

    def ask(self, request: T) -> T | None:
        """Take a request; return the one that it replaces, if one waits."""
        replaced, self._waiting = self._waiting, request
        return replaced

    def due_ns(self) -> int | None:
        """Return when the request that waits may be taken, ``None`` when there is none."""
        return None if self._waiting is None else self._allowance.due_ns()

    def take(self, now_ns: int) -> T | None:
        """Return the request that may be carried out now."""
        due = self.due_ns()
        if due is None or due > now_ns:
            return None
        self._allowance.take(now_ns)
        request, self._waiting = self._waiting, None
        return request
