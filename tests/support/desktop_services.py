"""What a desktop has on its buses, as far as it is asked: a screen saver, a session manager, a portal, and logind.

Each keeps what it was asked for as the real ones do: for as long as who asked is connected, or holds the descriptor.
"""

from __future__ import annotations

import contextlib
import os
import select
from collections.abc import Iterator

from dbus_fast import Message, MessageType, Variant

from tests.support.dbus import BusProgram

_DAEMON = "org.freedesktop.DBus"
SAVER = "org.freedesktop.ScreenSaver"
GNOME = "org.gnome.SessionManager"
PORTAL = "org.freedesktop.portal.Desktop"
LOGIND = "org.freedesktop.login1"
_SESSION_PATH = "/org/freedesktop/login1/session/_31"


class DesktopServices(BusProgram):
    """Programs that own ``names``."""

    def __init__(self, address: str, *names: str, refuses: frozenset[str] = frozenset()) -> None:
        self.refuses = refuses
        """Names that answer with an error, and what logind does not hold off: ``sleep``."""
        self.locked = False
        self.held: dict[tuple[str, str], tuple[object, ...]] = {}
        """What is held off, by whom it was asked (its unique name) and of whom."""
        self.pipes: list[int] = []
        """Of logind: reading ends whose other ends are held by those who asked."""
        super().__init__(address, *names)

    def close(self) -> None:
        """Leave the bus, and close the pipes."""
        super().close()
        while self.pipes:
            os.close(self.pipes.pop())

    @property
    def descriptors_held(self) -> int:
        """How many of those that logind gave are open somewhere."""
        return sum(1 for pipe in self.pipes if not select.select([pipe], [], [], 0)[0])

    def lock(self, locked: bool, *, by: str = SAVER) -> None:
        """Lock the session, or unlock it, and tell everybody."""
        self.locked = locked
        if by == LOGIND:
            body = ["org.freedesktop.login1.Session", {"LockedHint": Variant("b", locked)}, []]
            properties = "org.freedesktop.DBus.Properties"
            self._signal(_SESSION_PATH, properties, "PropertiesChanged", "sa{sv}as", body)
        else:
            self._signal("/org/freedesktop/ScreenSaver", by, "ActiveChanged", "b", [locked])

    async def _connect(self) -> None:
        await super()._connect()
        rule = f"type='signal',sender='{_DAEMON}',member='NameOwnerChanged'"
        await self._bus.call(
            Message(
                destination=_DAEMON,
                path="/org/freedesktop/DBus",
                interface=_DAEMON,
                member="AddMatch",
                signature="s",
                body=[rule],
            )
        )

    def _answer(self, message: Message) -> Message | bool:
        if message.message_type is MessageType.SIGNAL and message.member == "NameOwnerChanged":
            name, _, owner = message.body
            if not owner:
                self.held = {key: what for key, what in self.held.items() if key[0] != name}
            return False
        if message.message_type is not MessageType.METHOD_CALL:
            return False
        return self._called(message)

    def _called(self, message: Message) -> Message | bool:
        assert message.sender is not None
        whom = message.destination or ""
        if whom in self.refuses:
            return Message.new_error(message, "org.freedesktop.DBus.Error.AccessDenied", "no")
        result: tuple[str, object] | None = None
        match message.interface, message.member:
            case "org.freedesktop.login1.Manager", "Inhibit":
                return self._inhibit(message)
            case (("org.freedesktop.ScreenSaver" | "org.gnome.SessionManager"), "Inhibit"):
                result = "u", 7
            case "org.freedesktop.portal.Inhibit", "Inhibit":
                result = "o", "/org/freedesktop/portal/desktop/request/1"
            case "org.freedesktop.ScreenSaver", "GetActive":
                result = "b", self.locked
            case "org.freedesktop.login1.Manager", "GetSession":
                result = "o", _SESSION_PATH
            case "org.freedesktop.DBus.Properties", "Get":
                values = {"Id": Variant("s", "1"), "LockedHint": Variant("b", self.locked)}
                result = "v", values[message.body[1]]
        if message.member == "Inhibit":
            self.held[message.sender, whom] = tuple(message.body)
        return False if result is None else Message.new_method_return(message, result[0], [result[1]])

    def _inhibit(self, message: Message) -> Message:
        what = message.body[0]
        if "sleep" in self.refuses and "sleep" in what:
            return Message.new_error(message, "org.freedesktop.DBus.Error.AccessDenied", "no")
        reading, writing = os.pipe()
        self.pipes.append(reading)
        # Once it is sent, which is at once.
        self._loop.call_later(1, os.close, writing)
        return Message.new_method_return(message, "h", [0], [writing])


@contextlib.contextmanager
def services(address: str, *names: str, refuses: frozenset[str] = frozenset()) -> Iterator[DesktopServices]:
    """Run them."""
    with DesktopServices(address, *names, refuses=refuses) as running:
        yield running
