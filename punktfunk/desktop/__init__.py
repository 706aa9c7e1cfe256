"""What touches a desktop: virtual displays, capture, input, fingers, audio, gamepads, and the session of it all.

One protocol class and one file a back end in each of ``vdisplay``, ``capture``, ``inject``, ``touch``, ``audio`` and
``pads``; :class:`Desktop` puts them together, :mod:`punktfunk.desktop.backends` lists who fulfils it.

Not here: who streams and by which wire (``host``), and how pictures and sound are coded (``media``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self

from punktfunk.errors import CapabilityError

if TYPE_CHECKING:
    from punktfunk.desktop.audio import SoundPlace
    from punktfunk.desktop.capture import ScreenSpec
    from punktfunk.desktop.pads import PadMaker
    from punktfunk.errors import PunktfunkError
    from punktfunk.input import InputEvent
    from punktfunk.units import Mode


class BackendName(StrEnum):
    """The desktops that can be asked for, in the order in which ``auto`` tries them."""

    KWIN = "kwin"
    """The running session of KWin, which is KDE Plasma's."""
    MUTTER = "mutter"
    """The running session of Mutter, which is GNOME's."""
    WLROOTS = "wlroots"
    """The running session of a wlroots compositor such as sway."""
    PORTAL = "portal"
    """A running session of any kind, by xdg-desktop-portal: its user is asked once."""
    HEADLESS_SWAY = "headless-sway"
    """A sway of its own without a screen."""
    GAMESCOPE = "gamescope"
    """A gamescope of its own for each client, without a screen; only where it is asked for by name."""


@dataclass(frozen=True, slots=True)
class Availability:
    """Whether something can be used on this machine: ``reason`` is why it can or cannot, ``hint`` what would help."""

    name: str
    usable: bool
    reason: str
    hint: str = ""
    absent: bool = False
    """What it is for is not on this machine at all, as KWin is not where sway runs: nothing is to be mended."""
    refusal: type[CapabilityError] = CapabilityError
    """What is raised where it cannot be used, and was asked for by name."""


@dataclass(frozen=True, slots=True)
class DesktopOptions:
    """What a desktop is opened with."""

    program: tuple[str, ...] | None = ()
    """Argument list of what a desktop of our own runs; () chooses, and None leaves it to :meth:`Desktop.run`."""
    expected: tuple[str, ...] = ()
    """What :meth:`Desktop.run` is going to be given: some compositors are started otherwise for some programs."""
    audio: bool = True
    """Stream its sound, where that can be recorded; a desktop without is streamed silently."""
    keyboard_layout: str = "us"
    keyboard_variant: str = ""
    separate_cursor: bool = False
    """Have the pointer told beside the pictures where that is chosen once for all streams, as by a portal."""
    state_dir: Path | None = None
    """Folder in which it may keep what it was granted; None forgets that with the desktop."""


@dataclass(frozen=True, slots=True)
class DesktopOutput:
    """An output of a desktop that one stream shows."""

    name: str
    """What the desktop calls it, such as ``HEADLESS-1``."""
    mode: Mode
    """The mode that was asked for; the output may have another, and is scaled then."""
    screen: ScreenSpec
    """How its pictures are had: a stream worker opens it. Two outputs of a desktop never have the same."""
    open_remote: Callable[[], int] | None = None
    """Opens a connection of PipeWire that the screen is reached by, one for each worker and each time that it opens the
    screen anew, and returns its descriptor; None where none is needed. Blocks; raises CapabilityError or DesktopError.
    """


OnEnd = Callable[[int, str], None]
"""Takes the exit status of a program, negative for a signal, and the last lines that it printed."""


class RunningProgram(Protocol):
    """A program that was started on a desktop."""

    def end(self) -> None:
        """End it and its process group, which takes up to a second; one that has ended is left alone."""
        ...


class Desktop(Protocol):
    """A desktop to stream: outputs that streams show, where input goes, and what is heard. Safe for several threads.

    Calls block for milliseconds, opening and ``provide`` up to seconds; asyncio programs make them from a thread,
    ``inject`` excepted. What has a compositor, a portal or a PipeWire node behind it only its own file knows.
    """

    @property
    def description(self) -> str:
        """What is streamed, in words that follow "streaming"."""
        ...

    @property
    def failure(self) -> PunktfunkError | None:
        """Why the desktop is gone; None while it is there."""
        ...

    @property
    def notice(self) -> PunktfunkError | None:
        """What a person at the desktop has to do before it can be streamed, such as to allow it; None for nothing."""
        ...

    @property
    def sound(self) -> SoundPlace | None:
        """Where its programs play, which changes when it is opened anew; None where that is nowhere."""
        ...

    @property
    def make_pad(self) -> PadMaker | None:
        """What plugs in a client's gamepads; None where its programs could not see them."""
        ...

    def play_here(self, playing: bool) -> None:
        """Let the desktop's own speakers play, as they do at first, or silence them while their sound is recorded.

        Raises CapabilityError or DesktopError where they go on playing. One without speakers does nothing.
        """
        ...

    @property
    def takes_touch(self) -> bool:
        """Whether fingers and pens arrive as what they are; elsewhere the first of them moves the pointer."""
        ...

    @property
    def tells_cursor(self) -> bool:
        """Whether it can tell the pointer beside the pictures of an output, in place of painting it into them."""
        ...

    def provide(self, mode: Mode, *, scale: float = 1.0, separate_cursor: bool = False) -> DesktopOutput:
        """Return an output for a stream of that mode: a new one, or one that there is already.

        ``scale`` is how large a new one is to draw things, as far as the desktop can; pictures have the mode's size.
        With ``separate_cursor`` the pointer is told beside them, by a desktop that can.

        Raises CapabilityError or DesktopError where there is none.
        """
        ...

    def change(self, output: DesktopOutput, mode: Mode) -> DesktopOutput:
        """Give a provided output another mode, or leave it and have it scaled; return what to show then.

        Raises DesktopError where it has gone, or the desktop refuses.
        """
        ...

    def give_back(self, output: DesktopOutput) -> None:
        """Keep a provided output for another stream, or take it away. One that has gone already is left alone."""
        ...

    def run(self, command: Sequence[str], folder: Path, on_end: OnEnd) -> RunningProgram:
        """Start a program on this desktop, from its argument list; ``on_end`` is called from another thread.

        Raises CapabilityError where it cannot be started.
        """
        ...

    def inject(self, event: InputEvent) -> None:
        """Put one input event in."""
        ...

    def release_all(self) -> dict[str, int]:
        """Let go of every key and button, as when a client leaves; return the injector's counters."""
        ...

    def close(self) -> None:
        """Leave nothing behind. Closing twice is harmless."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...
