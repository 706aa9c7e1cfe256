"""A portal's side of a session bus that does what a real one does not do on demand: hang, refuse, forget, end.

Every call that it gets is kept in ``asked``; ``answers`` says what a request comes to, by the name of its method.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from dbus_fast import Message, MessageType, Variant
from dbus_fast.unpack import unpack_variants

from tests.support.dbus import BusProgram
from tests.support.waiting import eventually

NAME: Final = "org.freedesktop.portal.Desktop"
PATH: Final = "/org/freedesktop/portal/desktop"
BACK_END: Final = "org.freedesktop.impl.portal.desktop.fake"
_PREFIX: Final = "org.freedesktop.portal."
STREAM: Final = (42, {"size": Variant("(ii)", [1280, 720]), "source_type": Variant("u", 1)})
REQUESTS: Final = {"CreateSession", "SelectDevices", "SelectSources", "Start"}


@dataclass
class Asked:
    """A call with its arguments, variants unwrapped."""

    member: str
    arguments: list[Any]

    @property
    def options(self) -> Mapping[str, Any]:
        """The last argument of a method of a portal."""
        return dict(self.arguments[-1])


@dataclass
class Answer:
    """What a request comes to."""

    code: int = 0
    results: dict[str, Variant] = field(default_factory=dict)
    after_s: float = 0.0
    error: str = ""
    """Answered by an error at once."""
    early: bool = False
    """The response comes before the call returns."""
    other_handle: bool = False
    """The request is elsewhere than the program expects it, as with old portals."""
    never: bool = False


class FakePortal(BusProgram):
    """Owns the names of a portal and of a back end."""

    def __init__(self, address: str) -> None:
        self.properties: dict[str, dict[str, int]] = {
            "ScreenCast": {"version": 5, "AvailableSourceTypes": 7, "AvailableCursorModes": 7},
            "RemoteDesktop": {"version": 2, "AvailableDeviceTypes": 7},
        }
        self.asked: list[Asked] = []
        self.answers: dict[str, list[Answer]] = {}
        """By method, in their order; the last one goes on. A request without any is granted."""
        self.registry = True
        self.sessions: list[str] = []
        self.closed: list[str] = []
        self._open_start = ""
        self.servers: list[int] = []
        """The other ends of all descriptors that were given."""
        super().__init__(address, BACK_END, NAME)

    def members(self) -> list[str]:
        """Return the names of all methods that were called."""
        return [asked.member for asked in self.asked]

    def of(self, member: str) -> list[Asked]:
        """Return the calls of one method."""
        return [asked for asked in self.asked if asked.member == member]

    def answer_start(self) -> None:
        """Answer a question that was never to be answered, with yes."""
        given = {"streams": Variant("a(ua{sv})", [list(STREAM)]), "devices": Variant("u", 7)}
        # It is listed as asked a moment before it can be answered.
        self._respond(eventually(lambda: self._open_start, "the question"), 0, given)

    def end_session(self) -> None:
        """End the newest session, as a person does who stops the sharing."""
        self._signal(self.sessions[-1], f"{_PREFIX}Session", "Closed", "", [])

    def lose_back_end(self) -> None:
        """Let the back end go, of which the front end says nothing."""
        self._do(self._bus.release_name(BACK_END))

    def lose_servers(self) -> None:
        """End what all descriptors that were given are connections to."""
        while self.servers:
            os.close(self.servers.pop())

    def restart(self) -> None:
        """Go and come again, as after a crash."""
        self._do(self._leave())
        self._do(self._connect())

    def close(self) -> None:
        """Leave the bus, and end what was given."""
        self.lose_servers()
        super().close()

    def leave(self) -> None:
        """Go, as in a crash, and stay away."""
        self._do(self._leave())

    def _answer(self, message: Message) -> Message | bool:
        if (
            message.message_type is not MessageType.METHOD_CALL
            or message.interface == "org.freedesktop.DBus.Peer"
        ):
            return False
        member, body = message.member or "", list(unpack_variants(message.body))
        if member == "Get":
            return self._get(message, *body)
        self.asked.append(Asked(member, body))
        if member in REQUESTS:
            return self._request(message, member, body)
        if member == "Register" and not self.registry:
            return Message.new_error(message, "org.freedesktop.DBus.Error.UnknownMethod", "no such interface")
        if member == "Close":
            self.closed.append(message.path or "")
        if member in {"OpenPipeWireRemote", "ConnectToEIS"}:
            return self._descriptor(message, member)
        return Message.new_method_return(message)

    def _descriptor(self, message: Message, member: str) -> Message:
        """Answer with the reading end of a pipe that has the method's name in it."""
        reading, writing = os.pipe()
        os.write(writing, member.encode())
        self.servers.append(writing)
        self._loop.call_later(1, os.close, reading)  # once it is sent, which is at once
        return Message.new_method_return(message, "h", [0], [reading])

    def _get(self, message: Message, interface: str, name: str) -> Message:
        values = self.properties.get(
            interface.removeprefix(_PREFIX).removeprefix("org.freedesktop.impl.portal.")
        )
        if values is None or name not in values:
            return Message.new_error(message, "org.freedesktop.DBus.Error.InvalidArgs", "No such interface")
        return Message.new_method_return(message, "v", [Variant("u", values[name])])

    def _request(self, message: Message, member: str, body: list[Any]) -> Message | bool:
        answers = self.answers.get(member, [Answer()])
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if answer.error:
            return Message.new_error(message, answer.error, "it does not like that")
        sender = (message.sender or "").removeprefix(":").replace(".", "_")
        options = body[-1]
        handle = f"{PATH}/request/{sender}/{'elsewhere' if answer.other_handle else options['handle_token']}"
        results = dict(answer.results)
        if member == "CreateSession":
            self.sessions.append(f"{PATH}/session/{sender}/{options['session_handle_token']}")
            results = {"session_handle": Variant("s", self.sessions[-1]), **results}
        if member == "Start" and not answer.code:
            given = {"streams": Variant("a(ua{sv})", [list(STREAM)]), "devices": Variant("u", 7)}
            results = {**given, **results}
        if answer.never:
            self._open_start = handle
        respond = lambda: self._respond(handle, answer.code, results)  # noqa: E731
        if answer.early:
            respond()
        elif not answer.never:
            # After the reply, which is sent when this returns.
            self._loop.call_later(answer.after_s, respond)
        return Message.new_method_return(message, "o", [handle])

    def _respond(self, handle: str, code: int, results: dict[str, Variant]) -> None:
        self._signal(handle, f"{_PREFIX}Request", "Response", "ua{sv}", [code, results])


def kept(token: str) -> dict[str, Variant]:
    """Return what ``Start`` says where it may be had again."""
    return {"restore_token": Variant("s", token)}
