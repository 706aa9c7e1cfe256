"""Input by calls of Mutter's remote desktop interface: of a GNOME before 45, which has no EIS server.

They are the portal's, which was made after them, under names and in types that differ a little.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Final

from punktfunk.desktop.bus_reply import BusError
from punktfunk.desktop.mutter.session import MutterSession
from punktfunk.desktop.portal.notify import Notify

_NAMES: Final = {"NotifyPointerMotion": "NotifyPointerMotionRelative"}
_STATES: Final = frozenset({"NotifyKeyboardKeycode", "NotifyKeyboardKeysym", "NotifyPointerButton"})
_KEY_F24: Final = 194
_FIRST_CALLS: Final = (
    ("NotifyPointerMotionRelative", "dd", (0.0, 0.0)),
    ("NotifyKeyboardKeycode", "ub", (_KEY_F24, True)),
    ("NotifyKeyboardKeycode", "ub", (_KEY_F24, False)),
)
"""What does nothing: no movement, and a key that no keyboard has any more. The release of one alone is ignored."""
_PLACED: Final = frozenset({"NotifyPointerMotionAbsolute", "NotifyTouchDown", "NotifyTouchMotion"})


def as_mutters(
    member: str, signature: str, values: tuple[int | float, ...], stream: str
) -> tuple[str, str, tuple[object, ...]]:
    """Return method, signature and values of the call of Mutter that does what one of the portal does.

    ``stream`` is the path of the one that places count on.
    """
    if member in _STATES:
        code, state = values
        kind = "i" if member == "NotifyPointerButton" else "u"
        return member, kind + "b", (code, bool(state))
    if member in _PLACED:
        return member, "s" + signature[1:], (stream, *values[1:])
    if member == "NotifyPointerAxis":
        return member, signature + "u", (*values, 0)
    return _NAMES.get(member, member), signature, values


def notifier(session: MutterSession, stream: Callable[[], str]) -> Notify:
    """Return what :class:`NotifyInjector` puts events in by; ``stream`` says where places count, "/" for nowhere.

    Mutter makes a device with the first call for it, and programs that hear of it only then miss that call. So pointer
    and keyboard are made here; a touch screen cannot be, and where the machine has none the first finger is missed.
    """
    for member, signature, values in _FIRST_CALLS:
        with contextlib.suppress(BusError):
            session.notify(member, signature, *values)

    def notify(member: str, signature: str, *values: int | float) -> None:
        named, typed, given = as_mutters(member, signature, values, stream())
        session.notify(named, typed, *given)

    return notify
