"""Gamepads: what programs see of a client's pads; one protocol class, one file a back end.

Not here: which client has which pad, and when rumble is repeated (``host/peripherals``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

OnRumble = Callable[[int, int], None]
"""Called with the low and the high motor's strength, 0 to 65535 each, when a program changes it."""


@dataclass(frozen=True, slots=True)
class PadState:
    """All that a pad reports at one time."""

    buttons: int = 0
    """Bits of :class:`punktfunk.input.PadButtons`."""
    axes: tuple[int, int, int, int, int, int] = (0, 0, 0, 0, 0, 0)
    """By :class:`punktfunk.input.PadAxis`."""


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
