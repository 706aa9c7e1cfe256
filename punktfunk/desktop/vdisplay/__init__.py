"""Virtual displays: outputs that exist for a stream and go away with it, and the compositor of our own.

Not here: who gets which output (``host/desktop.py``), and its pictures (``capture``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, Self

from punktfunk.units import Mode

_SHORTEST_PERIOD_HZ = 1000


@dataclass(frozen=True, slots=True)
class VirtualOutput:
    """One output of a compositor."""

    name: str
    """What the compositor calls it, such as ``HEADLESS-1``."""
    mode: Mode
    """The mode that was asked for; the compositor may run faster, see :func:`output_hz`."""


class VirtualDisplay(Protocol):
    """Makes outputs, and takes those that it made away again when its context ends."""

    @property
    def socket(self) -> str:
        """Path of the compositor's Wayland socket."""
        ...

    def create(self, mode: Mode, *, scale: float = 1.0) -> VirtualOutput:
        """Add an output of that mode, on which things are drawn ``scale`` times as large.

        Raises CapabilityError where this compositor cannot, and DesktopError where it refuses.
        """
        ...

    def change(self, output: VirtualOutput, mode: Mode, *, scale: float | None = None) -> VirtualOutput:
        """Give an output another mode, and another scale if one is given.

        Raises DesktopError where the compositor refuses.
        """
        ...

    def close(self) -> None:
        """Take away every output that was made here. Closing twice is harmless."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


def output_hz(mode: Mode) -> int:
    """Return the refresh rate to ask a headless wlroots output for, so that ``mode``'s rate is reached.

    Its frame timer counts whole milliseconds and is armed again only after a picture was composited, so the
    true period is floor(1000 / Hz) ms plus the time that compositing takes: 60 Hz yields 52 to 57 pictures a
    second in software. A quarter more makes up for it; capture drops what is too many. Never above 1000 Hz: a
    period of 0 ms disarms the timer for good, and no later mode brings the output back.
    """
    return min(-(-mode.refresh_hz * 5 // 4), _SHORTEST_PERIOD_HZ)
