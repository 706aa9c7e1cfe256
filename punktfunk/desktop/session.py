"""A desktop session as the program sees it that wants one: opened, used, closed with its context."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from punktfunk.desktop import messages
from punktfunk.desktop.supervised_session import SupervisedSession
from punktfunk.desktop.vdisplay import VirtualOutput
from punktfunk.desktop.vdisplay.headless_sway import require_sway
from punktfunk.desktop.wayland import require as require_wayland
from punktfunk.errors import DesktopError, PunktfunkError
from punktfunk.input import InputEvent
from punktfunk.units import Mode


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """What a session is opened with."""

    xwayland: bool = True
    """Let X11 programs run, where Xwayland is installed."""
    audio: bool = False
    """Bring up PipeWire in the session; CapabilityError where it is not installed."""
    keyboard_layout: str = "us"
    keyboard_variant: str = ""


class DesktopSession(SupervisedSession[messages.SessionOpened]):
    """A headless sway with a virtual pointer and keyboard; a :class:`punktfunk.desktop.vdisplay.VirtualDisplay`."""

    def __init__(
        self, options: SessionOptions | None = None, *, on_end: Callable[[PunktfunkError], None] | None = None
    ) -> None:
        """Open the session; see :class:`SupervisedSession`."""
        require_sway()
        require_wayland()
        wanted = options or SessionOptions()
        super().__init__(
            messages.SessionOpened,
            lambda number, runtime: messages.OpenSession(
                number,
                runtime=runtime,
                xwayland=wanted.xwayland,
                audio=wanted.audio,
                keyboard_layout=wanted.keyboard_layout,
                keyboard_variant=wanted.keyboard_variant,
            ),
            on_end=on_end,
        )

    @property
    def ipc_path(self) -> str:
        """Path of sway's control socket."""
        return self._opened.ipc_path

    @property
    def tells_cursor(self) -> bool:
        """Whether the pointer can be told beside the pictures of an output."""
        return self._opened.tells_cursor

    def create(self, mode: Mode, *, scale: float = 1.0) -> VirtualOutput:
        """Add an output; see :class:`punktfunk.desktop.vdisplay.VirtualDisplay`."""
        made = self._ask(messages.OutputMade, lambda number: messages.MakeOutput(number, mode, scale))
        return VirtualOutput(made.name, made.mode)

    def change(self, output: VirtualOutput, mode: Mode, *, scale: float | None = None) -> VirtualOutput:
        """Give an output another mode, and another scale if one is given."""
        made = self._ask(
            messages.OutputMade, lambda number: messages.ChangeOutput(number, output.name, mode, scale)
        )
        return VirtualOutput(made.name, made.mode)

    def inject(self, event: InputEvent) -> None:
        """Put one input event into the session, without waiting for anything.

        Raises SessionClosedError when that has ended, and DesktopError when more comes than it takes.
        """
        self._require_running()
        if not self._channel.offer(event):
            raise DesktopError("more input comes than the compositor takes")

    def release_all(self) -> dict[str, int]:
        """Let go of every key and button, as when a client leaves; return the injector's counters."""
        return self._ask(messages.Released, messages.ReleaseAll).counters
