"""Input by calls of Mutter's remote desktop interface: where libei is missing, or a GNOME before 45 does not know it.

They are the portal's, which was made after them, under names and in types that differ a little.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from punktfunk.desktop.mutter.session import MutterSession
from punktfunk.desktop.portal.notify import Notify

_NAMES: Final = {"NotifyPointerMotion": "NotifyPointerMotionRelative"}
_STATES: Final = frozenset({"NotifyKeyboardKeycode", "NotifyKeyboardKeysym", "NotifyPointerButton"})
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
    """Return what :class:`NotifyInjector` puts events in by; ``stream`` says where places count, "/" for nowhere."""

    def notify(member: str, signature: str, *values: int | float) -> None:
        named, typed, given = as_mutters(member, signature, values, stream())
        session.notify(named, typed, *given)

    return notify
