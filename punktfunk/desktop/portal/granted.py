"""All that a portal has granted together: its session, the connection to the bus that holds it, and the input."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from punktfunk import log
from punktfunk.desktop.app_id import APP_ID
from punktfunk.desktop.bus_reply import BusError
from punktfunk.desktop.gnome_shell import is_newer
from punktfunk.desktop.inject import InputInjector, Rect
from punktfunk.desktop.inject.eis import MUTTER_NOTCH, EisInjector, require_keymaps
from punktfunk.desktop.pipewire.server_watch import has_hung_up
from punktfunk.desktop.portal.choice import Plan, Sources, plan
from punktfunk.desktop.portal.grants import GrantKey, GrantStore
from punktfunk.desktop.portal.notify import NotifyInjector
from punktfunk.desktop.portal.requests import OnWait, Portal
from punktfunk.desktop.portal.session import PortalSession, open_session
from punktfunk.desktop.session_bus import SessionBus
from punktfunk.errors import CapabilityError, DesktopError
from punktfunk.printable import printable

_MAX_DESKTOP_CHARACTERS: Final = 100
_KEY_F24: Final = 194
_FIRST_CALLS: Final = (
    ("NotifyPointerMotion", "dd", (0.0, 0.0)),
    ("NotifyKeyboardKeycode", "iu", (_KEY_F24, 1)),
    ("NotifyKeyboardKeycode", "iu", (_KEY_F24, 0)),
)
"""What does nothing: no movement, and a key that no keyboard has any more. GNOME makes a device with the first call for
it, and programs that hear of it only then miss that call."""
_SOURCES: Final = {
    Sources.MONITOR: "one of its monitors",
    Sources.WINDOW: "one of its windows",
    Sources.VIRTUAL: "a monitor made for the first client",
}


class AimedInjector(InputInjector, Protocol):
    """What puts input in where a stream's output is."""

    def aim(self, *, mapping_id: str | None = None, region: Rect | None = None) -> None:
        """Choose where absolute positions count."""
        ...


@dataclass(frozen=True, slots=True)
class Granted:
    """A session with all that belongs to it, a connection to the bus of its own included."""

    bus: SessionBus
    portal: Portal
    session: PortalSession
    plan: Plan
    back_end: str
    injector: AimedInjector | None
    input_words: str
    by_token: bool
    """It was asked for by a token, which should have spared the question."""
    kept: bool
    """A token is stored by which the same can be had again."""
    halves_rates: bool
    """The compositor leaves out every other picture of a monitor that is asked for at its own rate."""
    remote: int
    """A connection to PipeWire that is only looked at: its server's end is nobody else's to tell."""

    @property
    def words(self) -> str:
        """What was granted, for people."""
        source = self.session.started.stream.source
        shown = "what was chosen on it" if source is None else _SOURCES[source]
        back_end = f" ({self.back_end})" if self.back_end else ""
        return f"this desktop by its portal{back_end}: {shown}, the same for every client, {self.input_words}"

    @property
    def hung_up(self) -> bool:
        """Whether PipeWire has ended, and the picture with it."""
        return has_hung_up(self.remote)

    def close(self) -> None:
        """End it: the picture, its devices, and a monitor that was made for it."""
        if self.injector is not None:
            with contextlib.suppress(DesktopError):  # the desktop has let go of everything by itself
                self.injector.close()
        os.close(self.remote)
        self.session.close()
        self.portal.close()
        self.bus.close()


def current_desktop() -> str:
    """Return what the session calls its desktop, as ``XDG_CURRENT_DESKTOP`` has it."""
    return printable(os.environ.get("XDG_CURRENT_DESKTOP", ""), _MAX_DESKTOP_CHARACTERS)


def ask(
    store: GrantStore,
    *,
    by_eis: bool | None = None,
    separate_cursor: bool = False,
    on_portal: Callable[[Portal], None],
    on_lost: Callable[[DesktopError], None],
    on_wait: OnWait,
) -> Granted:
    """Ask for the desktop, by the token that is stored for it, and wait for as long as that takes.

    ``separate_cursor`` asks for the pointer beside the pictures. ``on_portal`` is given what :meth:`Portal.close` takes
    the question back at. Raises CapabilityError where there is no portal or it shows no screen, and what
    :func:`open_session` raises.
    """
    with contextlib.ExitStack() as undo:
        bus = undo.enter_context(SessionBus())
        portal = Portal(bus, on_lost)
        undo.callback(portal.close)
        on_portal(portal)
        app = APP_ID if portal.register(APP_ID) else ""
        offer, back_end = portal.offer(), portal.back_end()
        # KWin may have it in the pictures as well (kwin/screencast.py), and its portal does not say.
        wanted = plan(offer, separate_cursor=separate_cursor and back_end != "kde")
        portal.watch_back_end(back_end)
        key = GrantKey(current_desktop(), back_end, wanted.kind, app)
        token = store.token(key) if wanted.keeps else None
        session = open_session(portal, wanted, token, on_closed=on_lost, on_wait=on_wait)
        undo.callback(session.close)
        # The token that was presented is used up: the new one counts, or none.
        kept = wanted.keeps and store.keep(key, session.started.token)
        remote = session.open_remote()
        undo.callback(os.close, remote)
        injector, words = _open_input(wanted, session, by_eis=by_eis, gnome=back_end == "gnome")
        undo.pop_all()
        return Granted(
            bus,
            portal,
            session,
            wanted,
            back_end,
            injector,
            words,
            by_token=token is not None,
            kept=kept,
            halves_rates=back_end == "gnome" and not is_newer(bus),
            remote=remote,
        )


def _open_input(
    wanted: Plan, session: PortalSession, *, by_eis: bool | None, gnome: bool
) -> tuple[AimedInjector | None, str]:
    """Return what puts input in, and how that is called."""
    granted = session.started.devices & wanted.devices
    if not wanted.devices:
        return None, "without input, which its portal does not take"
    if not granted:
        return None, "without input, which was not allowed"
    if wanted.has_eis and by_eis is not False:
        try:
            require_keymaps()
        except CapabilityError as error:
            log.get("desktop.portal").info(
                "input goes by the portal itself", cause=error.cause, hint=error.hint
            )
        else:
            return _connect(session, MUTTER_NOTCH if gnome else None)
    for member, signature, values in _FIRST_CALLS:
        with contextlib.suppress(BusError):  # a device that was not granted
            session.notify(member, signature, *values)
    stream = session.started.stream
    return NotifyInjector(session.notify, granted, stream.node), "with input by the portal's own methods"


def _connect(session: PortalSession, notch: float | None) -> tuple[AimedInjector | None, str]:
    """Return what puts input in by EIS; where that fails, a picture is still worth having."""
    try:
        return EisInjector(session.connect_to_eis(), notch=notch), "with input by EIS"
    except DesktopError as error:
        log.get("desktop.portal").warning("no input", cause=error.cause, hint=error.hint)
        return None, f"without input: {error.cause}"
