"""The machine kept awake, and its session unlocked, while somebody streams; and a lock that comes all the same."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from punktfunk import log
from punktfunk.host.sessions import Sessions

if TYPE_CHECKING:
    from punktfunk.desktop.inhibit import Inhibitor
    from punktfunk.desktop.lock_watch import LockWatch

LOCKED: Final = "this session is locked: the client can unlock it where it sees the lock screen"
_NOTICE: Final = "lock"
_MAY_GO_IDLE: Final = "the session may go idle, or lock, while it is streamed"
_END_LIMIT_S: Final = 1.5
AGAIN_S: Final = 5.0
"""Between two looks at whether those who were asked are still there: a bus or a screen saver may be started again."""


class Awake:
    """Asks for idle, sleep and lock to be held off with the first stream, and no longer with the last.

    ``running_session`` is for hosts that stream a session that a user has running, which can be locked. ``wanted`` is
    the setting. Belongs to one event loop; what it asks is asked in a thread.
    """

    def __init__(self, sessions: Sessions, *, running_session: bool, wanted: Callable[[], bool]) -> None:
        self._sessions = sessions
        self._running_session = running_session
        self._wanted = wanted
        self._loop = asyncio.get_running_loop()
        self._work = ThreadPoolExecutor(max_workers=1, thread_name_prefix="awake")
        self._asked = (False, False)
        self._inhibitor: Inhibitor | None = None
        self._held_session = False
        """Whether the session has been held awake since the first stream."""
        self._told_idle = False
        """Whether the log says that it is no more."""
        self._watch: LockWatch | None = None
        self._buses = 0
        """Of how many the watch has heard."""
        self._looking: Future[None] | None = None
        self._look_again_s = 0.0
        self._locked = False
        self._guard = threading.Lock()
        self._told_last: bool | None = None
        """What the loop has been told and has not looked at yet."""
        self._closed = False
        self._log = log.get("host.awake")

    def update(self) -> None:
        """Look at who streams, after each change of that and of the setting."""
        if self._closed:
            return
        streaming = bool(self._sessions.workers())
        asked = (streaming and self._wanted(), streaming and self._running_session)
        if asked != self._asked:
            self._asked = asked
            self._work.submit(self._apply, *asked).add_done_callback(_raise_defect)
        elif any(asked):
            self._look()
        if self._locked:
            self._notice()

    async def close(self) -> None:
        """Let everything go."""
        if self._closed:
            return
        self._closed = True
        done = self._work.submit(self._apply, False, False)
        self._work.shutdown(wait=False)
        await asyncio.wait([asyncio.wrap_future(done)], timeout=_END_LIMIT_S)

    def _look(self) -> None:
        """Have whoever has ended asked again, from time to time."""
        now_s = self._loop.time()
        if now_s >= self._look_again_s and (self._looking is None or self._looking.done()):
            self._look_again_s = now_s + AGAIN_S
            self._looking = self._work.submit(self._renew)
            self._looking.add_done_callback(_raise_defect)

    def _apply(self, hold: bool, watch: bool) -> None:
        """Runs in the thread."""
        # dbus-fast is loaded with the first stream alone, where it is installed.
        from punktfunk.desktop.inhibit import Inhibitor
        from punktfunk.desktop.lock_watch import LockWatch

        if hold and self._inhibitor is None:
            self._inhibitor = Inhibitor(session=self._running_session)
            self._held_session, self._told_idle = self._inhibitor.holds_session, False
            self._say(self._inhibitor)
        elif not hold and self._inhibitor is not None:
            self._inhibitor.close()
            self._inhibitor = None
            self._log.info("idle and sleep no longer held off")
        if watch and self._watch is None:
            self._watch = LockWatch(self._told)
            self._buses = self._watch.buses
        elif not watch and self._watch is not None:
            self._watch.close()
            self._watch = None
            self._told(False)

    def _renew(self) -> None:
        """Ask again where who was asked has ended, with what he held off. Runs in the thread."""
        from punktfunk.desktop.inhibit import Inhibitor
        from punktfunk.desktop.lock_watch import LockWatch

        held = self._inhibitor
        if held is not None and self._held_session and not held.holds_session:
            self._inhibitor = again = Inhibitor(session=self._running_session)
            held.close()
            if again.holds_session:
                self._log.info("idle and sleep held off again", by=", ".join(again.held))
                self._told_idle = False
            elif not self._told_idle:
                self._told_idle = True
                self._log.warning(_MAY_GO_IDLE, cause="; ".join(again.refused))
        watch = self._watch
        if watch is not None and watch.buses < self._buses:
            self._watch = renewed = LockWatch(self._told)
            watch.close()
            self._told(renewed.locked)

    def _say(self, inhibitor: Inhibitor) -> None:
        if inhibitor.held:
            self._log.info("idle and sleep held off", by=", ".join(inhibitor.held))
        refused = "; ".join(inhibitor.refused)
        missing = self._running_session and not any("logind" not in who for who in inhibitor.held)
        if missing:
            self._log.warning(_MAY_GO_IDLE, cause=refused)
        elif refused:
            self._log.info("not asked, or refused", cause=refused)

    def _told(self, locked: bool) -> None:
        """Runs in a thread of the bus; of what comes faster than the loop can look at it, the last counts."""
        with self._guard:
            waits, self._told_last = self._told_last is not None, locked
        if not waits:
            self._loop.call_soon_threadsafe(self._lock_changed)

    def _lock_changed(self) -> None:
        with self._guard:
            locked, self._told_last = self._told_last, None
        if self._closed or locked is None or locked == self._locked:
            return
        self._locked = locked
        (self._log.warning if locked else self._log.info)("session locked" if locked else "session unlocked")
        self._notice()

    def _notice(self) -> None:
        """Have each session say it, once."""
        for report in self._sessions.live():
            if (_NOTICE in report.notices) == self._locked:
                continue
            if self._locked:
                report.notices[_NOTICE] = LOCKED
            else:
                del report.notices[_NOTICE]
            self._sessions.on_change(report)


def _raise_defect(done: Future[None]) -> None:
    """Raise what nobody foresaw, so that ``concurrent.futures`` logs it: nobody asks for the result."""
    done.result()
