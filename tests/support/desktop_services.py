"""What a desktop has on its buses, as far as it is asked: a screen saver, a session manager, a portal, and logind.

Each keeps what it was asked for as the real ones do: for as long as who asked is connected, or holds the descriptor.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Self

from dbus_fast import Message, MessageType, Variant
from dbus_fast.aio import MessageBus

_DAEMON = "org.freedesktop.DBus"
SAVER = "org.freedesktop.ScreenSaver"
GNOME = "org.gnome.SessionManager"
PORTAL = "org.freedesktop.portal.Desktop"
LOGIND = "org.freedesktop.login1"
_SESSION_PATH = "/org/freedesktop/login1/session/_31"


@dataclass
class DesktopServices:
    """Programs on the bus at ``address`` that own ``names``."""

    address: str
    names: tuple[str, ...]
    refuses: frozenset[str] = frozenset()
    """Names that answer with an error, and what logind does not hold off: ``sleep``."""
    locked: bool = False
    held: dict[tuple[str, str], tuple[object, ...]] = field(default_factory=dict)
    """What is held off, by whom it was asked (its unique name) and of whom."""
    pipes: list[int] = field(default_factory=list)
    """Of logind: reading ends whose other ends are held by those who asked."""

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._connect(), self._loop).result(30)
        return self

    def __exit__(self, *_: object) -> None:
        async def leave() -> None:
            self._bus.disconnect()
            with contextlib.suppress(Exception):
                await self._bus.wait_for_disconnect()

        asyncio.run_coroutine_threadsafe(leave(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()
        for pipe in self.pipes:
            os.close(pipe)

    @property
    def descriptors_held(self) -> int:
        """How many of those that logind gave are open somewhere."""
        return sum(1 for pipe in self.pipes if not select.select([pipe], [], [], 0)[0])

    def lock(self, locked: bool, *, by: str = SAVER) -> None:
        """Lock the session, or unlock it, and tell everybody."""
        self.locked = locked
        if by == LOGIND:
            body = ["org.freedesktop.login1.Session", {"LockedHint": Variant("b", locked)}, []]
            args = (_SESSION_PATH, "org.freedesktop.DBus.Properties", "PropertiesChanged", "sa{sv}as", body)
        else:
            args = ("/org/freedesktop/ScreenSaver", by, "ActiveChanged", "b", [locked])

        async def send() -> None:
            path, interface, member, signature, body = args
            await self._bus.send(
                Message(
                    message_type=MessageType.SIGNAL,
                    path=path,
                    interface=interface,
                    member=member,
                    signature=signature,
                    body=list(body),
                )
            )

        asyncio.run_coroutine_threadsafe(send(), self._loop).result(30)

    async def _connect(self) -> None:
        self._bus = MessageBus(bus_address=self.address, negotiate_unix_fd=True)
        await self._bus.connect()
        self._bus.add_message_handler(self._take)
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
        for name in self.names:
            await self._bus.request_name(name)

    def _take(self, message: Message) -> Message | bool:
        if message.message_type is MessageType.SIGNAL and message.member == "NameOwnerChanged":
            name, _, owner = message.body
            if not owner:
                self.held = {key: what for key, what in self.held.items() if key[0] != name}
            return False
        if message.message_type is not MessageType.METHOD_CALL:
            return False
        return self._answer(message)

    def _answer(self, message: Message) -> Message | bool:
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
    with DesktopServices(address, names, refuses) as running:
        yield running
