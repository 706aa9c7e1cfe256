"""Input by an EIS server, which KWin, Mutter and the RemoteDesktop portal are: each gives a descriptor of a connection.

The server makes the devices and reads the keys by its own keymap. It may take devices away and give new ones at any
time, so a thread listens; whoever injects sends at once, and waits for that thread at most LOCK_LIMIT_S. A server lets
go of everything when the connection ends, so nothing stays down when this process dies.
"""

from __future__ import annotations

import os
import select
import threading
from collections import Counter
from typing import Final

from punktfunk import log
from punktfunk.clock import monotonic_ns
from punktfunk.desktop.inject import Rect
from punktfunk.desktop.inject.ei_wire import HINT
from punktfunk.desktop.inject.eis_devices import Capability, EisEvent, Happening
from punktfunk.desktop.inject.eis_input import NO_KEY, EisInput
from punktfunk.desktop.inject.eis_link import EisLink, SocketLink
from punktfunk.desktop.inject.key_finder import KeyFinder
from punktfunk.desktop.inject.keymap import Keyboard, load_xkbcommon
from punktfunk.errors import DesktopError, PunktfunkError
from punktfunk.input import InputEvent

MUTTER_NOTCH: Final = 10.0
"""What Mutter makes of a notch, logical pixels; it drops what is less than one (48.7), which KWin does not."""

START_LIMIT_S: Final = 1.0
"""For the first devices. They take milliseconds where they come at all; later ones are taken as they come."""
_QUIET_S: Final = 0.1
"""After a keyboard and a pointer: devices of streams may follow, or may not until a stream is there."""
LOCK_LIMIT_S: Final = 0.05
"""The longest that one event waits for the listening thread; beyond that it is dropped, and counted."""
CLOSE_LIMIT_S: Final = 1.0
"""The longest that closing waits for it."""
_MESSAGES_AT_ONCE: Final = 64
_NAME: Final = "punktfunk"


class EisInjector:
    """Fulfils :class:`punktfunk.desktop.inject.InputInjector` by the devices of one EIS server."""

    def __init__(
        self, descriptor: int, *, keyboard: Keyboard | None = None, notch: float | None = None
    ) -> None:
        """Take a connected socket over, whether this raises or not, and wait up to START_LIMIT_S for devices.

        ``keyboard`` is what text is typed by where the server tells no keymap; ``notch`` is MUTTER_NOTCH on Mutter,
        None elsewhere. Raises DesktopError where the server hangs up, and CapabilityError without libxkbcommon.
        """
        self._counters: Counter[str] = Counter(injected=0)
        self._failure: PunktfunkError | None = None
        self._closed = False
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        try:
            finder = None if keyboard is None else KeyFinder(keyboard.keymap_text)
        except PunktfunkError:
            os.close(descriptor)
            raise
        self._input = EisInput(finder, notch=notch)
        self._link: EisLink = SocketLink(descriptor, _NAME)
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._thread = threading.Thread(target=self._listen, name="eis", daemon=True)
        self._thread.start()
        self._await_devices()
        if (failure := self.failure) is not None:
            self.close()
            raise failure

    @property
    def counters(self) -> dict[str, int]:
        """``injected``, and drops as ``dropped_<reason>``."""
        return dict(self._counters)

    @property
    def failure(self) -> PunktfunkError | None:
        """Why nothing can be injected any more; None while the server is there."""
        return self._failure

    @property
    def takes_touch(self) -> bool:
        """Whether fingers arrive as what they are; elsewhere the first of them moves the pointer."""
        with self._lock:
            return self._input.takes_touch

    def aim(self, *, mapping_id: str | None = None, region: Rect | None = None) -> None:
        """Set where absolute positions and fingers land: the region of the stream's output.

        By the mapping id that the server gave it or, where none has that, by its rectangle among all outputs, logical
        pixels. With neither, the first region that there is. Positions on an output that is not there are dropped.
        """
        with self._lock:
            self._input.aim(mapping_id, region)

    def inject(self, event: InputEvent) -> bool:
        """Put one event in; see :class:`punktfunk.desktop.inject.InputInjector`."""
        if not self._lock.acquire(timeout=LOCK_LIMIT_S):
            self._counters["dropped_busy"] += 1
            return False
        try:
            if self._failure is not None:
                raise self._failure
            reason = "closed" if self._closed else self._input.apply(event)
            if self._link.unsent:
                self._rouse()
        except DesktopError as error:
            self._failure = error
            raise
        finally:
            self._lock.release()
        self._counters["injected" if reason is None else f"dropped_{reason}"] += 1
        if reason == NO_KEY and self._counters[f"dropped_{NO_KEY}"] == 1:
            # Once, and not which one: what people type is their own.
            log.get("desktop").info(
                "a character was not typed: the desktop's keyboard layout lacks it",
                hint="choose a layout there that has it",
            )
        return reason is None

    def release_all(self) -> None:
        """Let go of every key, button and finger that is down; a server that has gone has done so."""
        with self._lock:
            self._release()

    def close(self) -> None:
        """Release all and disconnect."""
        with self._lock:
            if self._closed:
                return
            self._release()
            self._closed = True
            self._rouse()
        self._thread.join(CLOSE_LIMIT_S)
        if self._thread.is_alive():
            log.get("desktop").warning("the desktop's input connection is still busy, and is left open")
            return
        self._input.close()
        self._link.close()
        os.close(self._wake)

    def _release(self) -> None:
        if self._failure is not None or self._closed:
            return
        try:
            self._input.release_all()
        except DesktopError as error:
            self._failure = error

    def _rouse(self) -> None:
        """Have the listening thread look what there is to do."""
        os.eventfd_write(self._wake, 1)

    def _await_devices(self) -> None:
        deadline = monotonic_ns() + int(START_LIMIT_S * 1e9)
        with self._changed:
            while self._failure is None and not self._complete():
                enough = Capability.KEYBOARD | Capability.POINTER
                left = (deadline - monotonic_ns()) / 1e9
                if left <= 0:
                    break
                told = self._changed.wait(min(left, _QUIET_S) if enough in self._input.ready else left)
                if not told and enough in self._input.ready:
                    break
            if self._failure is None and not self._input.ready:
                log.get("desktop").warning("the desktop has given no input device yet")

    def _complete(self) -> bool:
        """Whether there is a device for all that was asked for."""
        bound = self._link.bound
        return bool(bound) and bound in self._input.ready

    def _listen(self) -> None:
        """Take what the server tells, and send what it had no room for, until it or we end the connection."""
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        try:
            while True:
                with self._lock:
                    if self._closed or self._failure is not None:
                        return
                    wanted = select.POLLIN | (select.POLLOUT if self._link.unsent else 0)
                    poll.register(self._link.descriptor, wanted)
                    wait_ms = 0 if self._link.pending else None
                for descriptor, _ in poll.poll(wait_ms):
                    if descriptor == self._wake:
                        os.eventfd_read(self._wake)
                self._take_events()
        except PunktfunkError as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001 - whatever it is, nothing can be injected any more
            self._fail(DesktopError(f"the desktop's input connection failed: {error!r}", HINT))

    def _take_events(self) -> None:
        """Take some of what the server tells: what floods keeps nobody from the lock for long."""
        with self._lock:
            if self._closed:
                return
            self._link.flush()
            events = self._link.events(_MESSAGES_AT_ONCE)
        if not events:
            return
        # Reading a keymap takes milliseconds, for which nobody should wait.
        finders = [_finder_of(event) for event in events]
        with self._changed:
            for event, finder in zip(events, finders, strict=True):
                self._input.happened(event, finder)
            self._changed.notify_all()

    def _fail(self, error: PunktfunkError) -> None:
        with self._changed:
            self._failure = error
            self._changed.notify_all()


def require_keymaps() -> None:
    """Raise CapabilityError unless the keymap of a server can be read: all that EIS needs of a machine."""
    load_xkbcommon()


def _finder_of(event: EisEvent) -> KeyFinder | None:
    """Return what reads the keymap of a device that comes, ready for its first character."""
    if event.what is not Happening.ADDED or event.device.keymap is None:
        return None
    try:
        finder = KeyFinder(event.device.keymap)
    except PunktfunkError as error:
        log.get("desktop").warning("text cannot be typed by this keymap", cause=error.cause)
        return None
    finder.strokes_of(ord("a"))
    return finder
