"""Gamepads: what programs see of a client's pads; one protocol class, one file a back end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Protocol

MAX_PADS = 16
"""Pads of one client (punktfunk/1 section 3.1); events of further ones are ignored."""

OnRumble = Callable[[int, int], None]
"""Called with the low and the high motor's strength, 0 to 65535 each, when a program changes it."""


class PadButtons(IntFlag):
    """The button bits of punktfunk/1 section 3.1."""

    UP = 0x1
    DOWN = 0x2
    LEFT = 0x4
    RIGHT = 0x8
    START = 0x10
    BACK = 0x20
    LEFT_STICK = 0x40
    RIGHT_STICK = 0x80
    LEFT_SHOULDER = 0x100
    RIGHT_SHOULDER = 0x200
    GUIDE = 0x400
    A = 0x1000
    B = 0x2000
    X = 0x4000
    Y = 0x8000


class PadAxis(IntEnum):
    """The axes of punktfunk/1 section 3.1: sticks -32768 to 32767 with up positive, triggers 0 to 255."""

    LEFT_X = 0
    LEFT_Y = 1
    RIGHT_X = 2
    RIGHT_Y = 3
    LEFT_TRIGGER = 4
    RIGHT_TRIGGER = 5


TRIGGERS = frozenset({PadAxis.LEFT_TRIGGER, PadAxis.RIGHT_TRIGGER})


@dataclass(frozen=True, slots=True)
class PadState:
    """All that a pad reports at one time."""

    buttons: int = 0
    """Bits of :class:`PadButtons`."""
    axes: tuple[int, int, int, int, int, int] = (0, 0, 0, 0, 0, 0)
    """By :class:`PadAxis`."""


class Pad(Protocol):
    """One pad that programs see, from its making until ``close``. Belongs to one thread; nothing blocks."""

    def fileno(self) -> int:
        """Return the descriptor that is readable when :meth:`read` has something to do."""
        ...

    def report(self, state: PadState) -> None:
        """Let programs see this state; raise DesktopError when the pad is gone."""
        ...

    def read(self) -> None:
        """Take what programs ask of the pad, and tell ``on_rumble``; raise DesktopError when the pad is gone."""
        ...

    def close(self) -> None:
        """Unplug it. Closing twice is harmless."""
        ...


class PadMaker(Protocol):
    """Plugs a pad in. Raises CapabilityError where that cannot be done here."""

    def __call__(self, number: int, on_rumble: OnRumble) -> Pad: ...
