"""Virtual displays: outputs that exist for a stream and go away with it, and the compositor of our own.

Not here: who gets which output (``host/desktop.py``), and its pictures (``capture``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Protocol, Self

from punktfunk.units import Mode

_SHORTEST_PERIOD_HZ: Final = 1000
_COMPOSITING_MS: Final = 0.12
_COMPOSITING_MS_PER_MEGAPIXEL: Final = 0.3
"""Of sway 1.10 with pixman, by the intervals of its frames: 0.2 ms at 360p, 0.43 at 720p, 0.73 at 1080p. With a GPU it
takes less, and what is too many then is left out."""
_TOLERANCE: Final = 1.015
"""59.1 pictures a second that come evenly look better than 60 of 64."""


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


def output_hz(mode: Mode, *, steady: bool = True) -> float:
    """Return the refresh rate to ask a headless wlroots output for, so that ``mode``'s rate is reached.

    Its frame timer counts whole milliseconds and is armed again only after a picture was composited, so the true
    period is floor(1000 / Hz) ms plus the time that compositing takes. That time is known of wlroots 0.16 and newer
    (``steady``): the longest period is asked for that reaches the rate within a hundredth and a half, and pictures come
    evenly. An older one misses its turn now and then: 60 Hz yields 52 to 57 pictures a second in software. There a
    quarter more makes up for it, and capture leaves out what is too many. Never above 1000 Hz: a period of 0 ms disarms
    the timer for good, and no later mode brings the output back.
    """
    if not steady:
        return float(min(-(-mode.refresh_hz * 5 // 4), _SHORTEST_PERIOD_HZ))
    composited_ms = _COMPOSITING_MS + _COMPOSITING_MS_PER_MEGAPIXEL * mode.width * mode.height / 1e6
    period_ms = max(1, math.floor(1000 / mode.refresh_hz * _TOLERANCE - composited_ms))
    # Thousandths of a hertz, as the protocol has them, and no shorter period by rounding.
    return math.floor(1_000_000 / period_ms) / 1000
