"""An EIS connection of a compositor as its back end opens one, and a program that dies with keys held down.

    python eis.py kwin|mutter

The program opens one for the session of its environment, holds the key A and the left button, prints ``held``, and
waits to be killed.
"""

from __future__ import annotations

import signal
import sys
from dataclasses import dataclass
from typing import Any, Final

from punktfunk.desktop.inject.eis import MUTTER_NOTCH, EisInjector
from punktfunk.desktop.session_bus import SessionBus, variant
from punktfunk.input import InputEvent, InputKind
from punktfunk.terminal import say

ALL: Final = 63
"""Every kind of device of KWin's."""
_MUTTER: Final = "org.gnome.Mutter"


@dataclass(frozen=True, slots=True)
class Input:
    """A descriptor of an EIS connection, and the mapping ids of the outputs that were asked for."""

    descriptor: int
    mapping_ids: tuple[str, ...] = ()
    notch: float | None = None

    def open(self) -> EisInjector:
        """Return an injector, which owns the descriptor."""
        return EisInjector(self.descriptor, notch=self.notch)


def connect(kind: str, bus: SessionBus, *outputs: str) -> Input:
    """Ask KWin or Mutter for input; Mutter for absolute positions on those outputs, too."""
    return _of_kwin(bus) if kind == "kwin" else _of_mutter(bus, outputs)


def _of_kwin(bus: SessionBus) -> Input:
    interface = "org.kde.KWin.EIS.RemoteDesktop"
    reply = bus.call(
        "org.kde.KWin",
        "/org/kde/KWin/EIS/RemoteDesktop",
        interface,
        "connectToEIS",
        "i",
        (ALL,),
        takes_descriptors=True,
    )
    return Input(reply.descriptors[reply.body[0]])


def _of_mutter(bus: SessionBus, outputs: tuple[str, ...]) -> Input:
    def create(what: str, signature: str = "", *body: Any) -> str:
        name = f"{_MUTTER}.{what}"
        reply = bus.call(name, f"/org/gnome/Mutter/{what}", name, "CreateSession", signature, body)
        return str(reply.body[0])

    remote, cast = f"{_MUTTER}.RemoteDesktop", f"{_MUTTER}.ScreenCast"
    session = create("RemoteDesktop")
    number = bus.get_property(remote, session, f"{remote}.Session", "SessionId")
    screens = create("ScreenCast", "a{sv}", {"remote-desktop-session-id": variant("s", number)})
    mapping_ids = []
    for output in outputs:
        recorded = bus.call(cast, screens, f"{cast}.Session", "RecordMonitor", "sa{sv}", (output, {}))
        parameters = bus.get_property(cast, recorded.body[0], f"{cast}.Stream", "Parameters")
        mapping_ids.append(str(parameters["mapping-id"]))
    bus.call(remote, session, f"{remote}.Session", "Start")
    reply = bus.call(
        remote, session, f"{remote}.Session", "ConnectToEIS", "a{sv}", ({},), takes_descriptors=True
    )
    return Input(reply.descriptors[reply.body[0]], tuple(mapping_ids), MUTTER_NOTCH)


def main() -> None:
    """Hold a key and a button until this process is killed."""
    injector = connect(sys.argv[1], SessionBus()).open()
    injector.inject(InputEvent(InputKind.MOUSE_MOVE, x=1))
    injector.inject(InputEvent(InputKind.KEY_DOWN, ord("A")))
    injector.inject(InputEvent(InputKind.BUTTON_DOWN, 1))
    say("held")
    signal.pause()


if __name__ == "__main__":
    main()
