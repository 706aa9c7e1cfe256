"""A program on a bus that answers as Mutter 48 does, and misbehaves when told: what a real one does not do at a wish.

Its pictures and its devices are none; with the real one ``tests/desktops/test_mutter.py`` streams.
"""

from __future__ import annotations

from collections import Counter

from dbus_fast import Message, MessageType, Variant

from tests.support.dbus import BusPeer

REMOTE_DESKTOP = "org.gnome.Mutter.RemoteDesktop"
SCREEN_CAST = "org.gnome.Mutter.ScreenCast"
UNKNOWN_METHOD = "org.freedesktop.DBus.Error.UnknownMethod"
FAILED = "org.freedesktop.DBus.Error.Failed"
_PROPERTIES = "org.freedesktop.DBus.Properties"


class FakeMutter(BusPeer):
    """Owns Mutter's two names, and GNOME Shell's; ``calls`` counts what was called."""

    def __init__(self, address: str, *services: str, shell: str = "48.7", api_version: int = 4) -> None:
        self.calls: Counter[str] = Counter()
        self.node: object = Variant("u", 40)
        """What PipeWireStreamAdded tells; None keeps it silent."""
        self.mapping_id: object = Variant("s", "5f3c-2")
        self.errors = {"RemoteDesktop.Session.ConnectToEIS": (UNKNOWN_METHOD, "no such method")}
        """What calls are answered with, as name and words: by their name, or by that and the path of their object."""
        self._shell, self._api_version = shell, api_version
        self._made = 0
        self.modes: list[list[float] | None] = []
        """Width, height, rate and scale of each monitor that was asked for with a mode of its own."""
        names = [REMOTE_DESKTOP, SCREEN_CAST, *services] + (["org.gnome.Shell"] if shell else [])
        super().__init__(address, *names)

    def end_session(self) -> None:
        """End the session that was made last, as GNOME does when the screen is locked."""
        path = f"/org/gnome/Mutter/RemoteDesktop/Session/u{self.calls['RemoteDesktop.CreateSession']}"
        self.signal("Closed", path=path, interface=f"{REMOTE_DESKTOP}.Session")

    def _answer(self, message: Message) -> Message | bool:
        if message.message_type is not MessageType.METHOD_CALL or message.interface is None:
            return False
        if message.interface == _PROPERTIES:
            return Message.new_method_return(message, "v", [self._property(message)])
        part = f"{message.interface.removeprefix('org.gnome.Mutter.')}.{message.member}"
        self.calls[part] += 1
        answer: Message | bool = Message.new_method_return(message)
        error = self.errors.get(part) or self.errors.get(f"{part} {message.path}")
        if error is not None:
            return Message.new_error(message, *error)
        match part:
            case "RemoteDesktop.CreateSession" | "ScreenCast.CreateSession":
                path = f"{message.path}/Session/u{self.calls[part]}"
                answer = Message.new_method_return(message, "o", [path])
            case "ScreenCast.Session.RecordVirtual":
                self._made += 1
                self._note_modes(message.body[0])
                path = f"/org/gnome/Mutter/ScreenCast/Stream/u{self._made}"
                answer = Message.new_method_return(message, "o", [path])
            case "ScreenCast.Stream.Start" if isinstance(self.node, Variant):
                self._bus.send(answer)
                self._bus.send(
                    Message(
                        message_type=MessageType.SIGNAL,
                        path=message.path,
                        interface=f"{SCREEN_CAST}.Stream",
                        member="PipeWireStreamAdded",
                        signature=self.node.signature,
                        body=[self.node.value],
                    )
                )
                answer = True
            case "RemoteDesktop.Session.ConnectToEIS":
                answer = Message.new_error(
                    message, "org.freedesktop.DBus.Error.UnknownMethod", "no such method"
                )
        return answer

    def _note_modes(self, wanted: dict[str, Variant]) -> None:
        if "modes" not in wanted:
            self.modes.append(None)
            return
        [mode] = wanted["modes"].value
        assert mode["is-preferred"].value
        self.modes.append([*mode["size"].value, mode["refresh-rate"].value, mode["preferred-scale"].value])

    def _property(self, message: Message) -> Variant:
        interface, name = message.body
        known = {
            "ShellVersion": Variant("s", self._shell),
            "Version": Variant("i", self._api_version),
            "SessionId": Variant("s", "5f3c"),
            "Parameters": Variant("a{sv}", {"mapping-id": self.mapping_id}),
        }
        assert interface.startswith("org.gnome.")
        return known[name]
