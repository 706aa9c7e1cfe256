"""A running desktop by its portal, as the host asks for it: one selection of its user, shown to every client."""

from __future__ import annotations

import threading
import time
from typing import Final

from punktfunk import log
from punktfunk.desktop import DesktopOptions, DesktopOutput
from punktfunk.desktop.capture import PipeWireScreen
from punktfunk.desktop.inject import Rect
from punktfunk.desktop.pipewire.library import require_library
from punktfunk.desktop.portal import granted as granting
from punktfunk.desktop.portal.choice import Cursors, Devices, Sources
from punktfunk.desktop.portal.granted import Granted
from punktfunk.desktop.portal.grants import GrantStore
from punktfunk.desktop.portal.requests import Portal
from punktfunk.desktop.user_session import STOPPED_S, UserSession
from punktfunk.errors import (
    ConsentAwaitedError,
    ConsentRefusedError,
    DesktopError,
    PunktfunkError,
    SessionClosedError,
    SharingStoppedError,
)
from punktfunk.input import InputEvent
from punktfunk.units import Mode

OPEN_WAIT_S: Final = 3.0
"""How long opening the desktop waits for what it is granted: with a token it takes some 10 ms."""
PROVIDE_WAIT_S: Final = 8.0
"""How long a client waits for a person's answer; its own patience is not much longer. The question stays open."""
ASK_AGAIN_S: Final = 30.0
"""Whoever said no is not asked again sooner, however many clients try."""
_LAST_SIGNS_S: Final = 2.0
"""For all that a compositor takes along to be told as gone, when it dies."""


class PortalDesktop(UserSession):
    """The user's own session by xdg-desktop-portal; see :class:`punktfunk.desktop.Desktop`.

    Its user is asked once what may be seen and done, by a dialog on that desktop, as soon as this object is made. What
    was granted is kept, where ``options`` name a folder for it, and had again without a question; without a stream no
    session is open then. A portal gives one picture: it is shown to all clients, and one that is made for the stream
    has the size of the first of them. ``by_eis`` False puts input in by the portal's own methods in any case.
    """

    def __init__(self, options: DesktopOptions, *, by_eis: bool | None = None) -> None:
        """Ask, and wait a moment for the answer.

        Raises CapabilityError where there is no portal or it shows no screen, DesktopError where it fails at once, and
        ConsentRefusedError where the answer is no by then.
        """
        super().__init__(options)
        require_library()
        self._by_eis = by_eis
        self._store = GrantStore(options.state_dir)
        self._log = log.get("desktop.portal")
        self._granted: Granted | None = None
        self._asking: Portal | None = None
        self._opening: threading.Thread | None = None
        self._settled = threading.Event()
        self._settled.set()
        self._waited_s: float | None = None
        """How long a person has been asked for, by the last question."""
        self._refused_at: float | None = None
        self._token_fails = False
        """A stored token did not spare the question: a session that is open stays so."""
        self._stopped_s = 0.0
        """When its session was ended, by the clock of :func:`time.monotonic`."""
        self._gone_with_it = threading.Event()
        """Set where its session was the first of several things to go."""
        self._shown = 0
        self._takes_touch = False
        self._asks_for_cursor = self._tells_cursor = options.separate_cursor
        self._words = ""
        self._is_kept = False
        self._begin()
        failure = self.failure if self._settled.wait(OPEN_WAIT_S) else None
        if failure is not None:
            self.close()
            raise failure
        with self._lock:
            resting = self._resting(if_renewed=True)
        _close(resting)

    @property
    def description(self) -> str:
        """Says what its user has chosen, or that the question is still open."""
        return self._words or "this desktop by its portal, which asks on its screen whether it may be shared"

    @property
    def failure(self) -> PunktfunkError | None:
        """Why the desktop is not shared any more; None while it is, and while it is asked for."""
        with self._lock:
            return self._look()

    @property
    def notice(self) -> PunktfunkError | None:
        """Says that the desktop waits for an answer, and for how long it has; or why it is not shared."""
        return self.failure if self._settled.is_set() else _awaited(self._waited_s)

    def is_settled(self, within_s: float) -> bool:
        """Wait until nobody is asked, or for that long; return whether nobody is: ``failure`` says what came of it."""
        return self._settled.wait(within_s)

    @property
    def is_kept(self) -> bool:
        """Whether what was granted can be had again without a question."""
        return self._is_kept

    @property
    def tells_cursor(self) -> bool:
        """Whether the pointer is beside the picture that all streams share: as was granted last, or is asked for."""
        return self._tells_cursor

    @property
    def takes_touch(self) -> bool:
        """Whether fingers arrive as such: where touch was granted."""
        return self._takes_touch

    def provide(self, mode: Mode, *, scale: float = 1.0, separate_cursor: bool = False) -> DesktopOutput:
        """Return the picture that was granted; ask for it where it has gone, and wait a moment for the answer.

        Raises ConsentAwaitedError while the question is open, and ConsentRefusedError after a no.
        """
        self._require_sharing()
        self._begin()
        if not self._settled.wait(PROVIDE_WAIT_S):
            raise _awaited(self._waited_s)
        with self._lock:
            granted = self._usable()
            self._shown += 1
            if self._shown > 1:
                self._log.info("clients share the one picture of the portal", clients=self._shown)
            return self._provided(granted, mode)

    def change(self, output: DesktopOutput, mode: Mode) -> DesktopOutput:
        """Have a monitor that was made for the stream follow it; another one stays as it is and is scaled."""
        with self._lock:
            granted = self._usable()
            if not _is_of(output, granted):
                raise DesktopError("the picture of this stream has gone with its session", "connect again")
            return self._provided(granted, mode)

    def give_back(self, output: DesktopOutput) -> None:
        """End the session with its last stream, where it can be had again without a question."""
        with self._lock:
            if self._granted is None or not _is_of(output, self._granted):
                return  # it went with its session; those of the next one have nothing to do with it
            self._shown -= 1
            # One that has ended is kept until the next: by it is seen what else has gone.
            resting = None if self._failure is not None else self._resting()
        _close(resting)

    def inject(self, event: InputEvent) -> None:
        """Put one input event in; raise DesktopError when the desktop takes none any more."""
        with self._lock, self._noting_failure():
            if self._granted is not None and self._granted.injector is not None:
                self._granted.injector.inject(event)

    def release_all(self) -> dict[str, int]:
        """Let go of every key and button; return the injector's counters."""
        with self._lock, self._noting_failure():
            if self._granted is None or self._granted.injector is None:
                return {}
            self._granted.injector.release_all()
            return dict(self._granted.injector.counters)

    def close(self) -> None:
        """Take the question back, or end the session."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            asking = self._asking
        if asking is not None:
            asking.close()
        if self._opening is not None:
            self._opening.join()
        with self._lock:
            granted, self._granted = self._granted, None
        _close(granted)
        super().close()

    def _require_sharing(self) -> None:
        """Raise SharingStoppedError while somebody at the desktop has stopped the sharing just now.

        A compositor that dies ends the session first, too: what goes with it is told a moment later.
        """
        with self._lock:
            stopped, granted, until_s = self._failure, self._granted, self._stopped_s + STOPPED_S
        if not isinstance(stopped, SharingStoppedError) or time.monotonic() >= until_s:
            return
        if self._gone_with_it.wait(_LAST_SIGNS_S) or (granted is not None and granted.hung_up):
            return
        raise SharingStoppedError(
            "sharing this desktop was stopped on it", f"connect again {STOPPED_S:.0f} s after that"
        )

    def _begin(self) -> None:
        """Have a session opened, unless there is one that works, or it is being asked for, or was refused just now."""
        with self._lock:
            if self._closed:
                raise SessionClosedError("the desktop was closed")
            works = self._look() is None and self._granted is not None
            refused = self._refused_at is not None and time.monotonic() < self._refused_at + ASK_AGAIN_S
            if works or refused or not self._settled.is_set():
                return
            former, self._granted = self._granted, None
            self._failure = self._waited_s = self._refused_at = None
            self._gone_with_it.clear()
            self._shown = 0
            self._settled.clear()
            self._opening = threading.Thread(target=self._open, args=[former], name="portal", daemon=True)
            self._opening.start()

    def _open(self, former: Granted | None) -> None:
        """Ask for a session, until that is answered; ``former`` is one that has gone."""
        granted: Granted | None = None
        failure: PunktfunkError | None = None
        try:
            _close(former)
            granted = granting.ask(
                self._store,
                by_eis=self._by_eis,
                separate_cursor=self._asks_for_cursor,
                on_portal=self._ask_by,
                on_lost=self._lost,
                on_wait=self._wait,
            )
        except PunktfunkError as error:
            failure = error
        finally:
            with self._lock:
                self._asking = None
                self._granted, self._failure = granted, failure
                if isinstance(failure, ConsentRefusedError):
                    self._refused_at = time.monotonic()
                if granted is not None:
                    self._token_fails |= granted.by_token and self._waited_s is not None
                    self._words, self._is_kept = granted.words, granted.kept
                    self._tells_cursor = granted.plan.cursor is Cursors.METADATA
                    # An EIS server gives touch with the picture, which nobody reads yet.
                    touch = Devices.TOUCH in granted.session.started.devices
                    self._takes_touch = touch and granted.injector is not None
                self._settled.set()
        if granted is not None:
            self._log.info("the desktop may be shared", what=granted.words, asks_again=not granted.kept)
        elif failure is not None and not self._closed:
            self._log.error("the desktop is not shared", cause=failure.cause, hint=failure.hint)

    def _ask_by(self, portal: Portal) -> None:
        with self._lock:
            if self._closed:
                raise SessionClosedError("the desktop was closed")
            self._asking = portal

    def _wait(self, seconds: float) -> None:
        """Log that a person is waited for, and how long: a host without anybody before it would seem to hang."""
        self._waited_s = seconds
        awaited = _awaited(seconds)
        self._log.warning("the desktop asks for consent", cause=awaited.cause, hint=awaited.hint)

    def _lost(self, error: DesktopError) -> None:
        """Note that the session has gone: its streams end with their node, the next client has it opened anew."""
        with self._lock:
            if self._closed or self._granted is None:
                return
            if isinstance(self._failure, SharingStoppedError) and not isinstance(error, SharingStoppedError):
                self._gone_with_it.set()
            if self._failure is not None:
                return
            self._failure = error
            self._stopped_s = time.monotonic()
        self._log.error("the desktop is shared no more", cause=error.cause, hint=error.hint)

    def _look(self) -> PunktfunkError | None:
        """Return why the session has gone, with PipeWire perhaps, of whose end no portal says anything."""
        if self._failure is None and self._granted is not None and self._granted.hung_up:
            self._failure = DesktopError(
                "PipeWire has ended, and the picture of the desktop with it",
                "connect again once it is back: systemctl --user status pipewire",
            )
        return self._failure

    def _usable(self) -> Granted:
        if self._closed:
            raise SessionClosedError("the desktop was closed")
        failure = self._look()
        if failure is not None:
            raise failure
        if self._granted is None:
            raise DesktopError("the picture of this stream has gone", "connect again")
        return self._granted

    def _resting(self, *, if_renewed: bool = False) -> Granted | None:
        """Return a session to end: one that nobody looks at and the next client can have without a question.

        With ``if_renewed`` it was had so itself.
        """
        granted = self._granted
        if granted is None or self._shown or not granted.kept or self._token_fails:
            return None
        if if_renewed and not granted.by_token:
            return None
        self._granted = None
        self._log.debug("nothing is shared until the next client comes")
        return granted

    def _provided(self, granted: Granted, mode: Mode) -> DesktopOutput:
        stream = granted.session.started.stream
        follows = stream.source is Sources.VIRTUAL and self._shown == 1
        if granted.injector is not None and (follows or stream.source is not Sources.VIRTUAL):
            size = mode.width, mode.height
            if stream.size is not None and not follows:
                size = stream.size
            granted.injector.aim(
                mapping_id=stream.mapping_id, region=Rect(*(stream.position or (0, 0)), *size)
            )
        screen = PipeWireScreen(
            node=stream.node,
            remote=None,
            sized=follows,
            offer_hz=2 * mode.refresh_hz if granted.halves_rates else None,
            begins_anew=granted.back_end != "wlr",
            cursor="metadata" if granted.plan.cursor is Cursors.METADATA else "embedded",
        )
        return DesktopOutput(f"portal-{stream.node}", mode, screen, granted.session.open_remote)


def _is_of(output: DesktopOutput, granted: Granted) -> bool:
    """Whether an output was provided by that session: numbers of nodes are used again."""
    return output.open_remote == granted.session.open_remote


def _close(granted: Granted | None) -> None:
    """End a session, never with the lock held: input must not wait for a portal."""
    if granted is not None:
        granted.close()


def _awaited(seconds: float | None) -> ConsentAwaitedError:
    since = "" if seconds is None else f", for {seconds:.0f} s now"
    return ConsentAwaitedError(
        f"the desktop asks on its screen whether it may be shared{since}",
        "answer it there, and let it remember the answer; then connect again",
    )
