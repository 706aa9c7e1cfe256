"""Input of every wire: what a client does to a desktop and its pads, and what the pads are told in return.

Wires decode to these types at their edge and encode from them; desktops, pads and processes know no other. Values are
as a peer sent them where their range is the field's own; whoever applies an event drops what means nothing there.

What is for the desktop is an :class:`InputEvent`; :data:`RichInput` is what pads have beyond it and does not reach the
desktop. ``docs/explanation/architecture.md`` has the way of an event, which a new one has to go.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Final

MAX_PADS: Final = 16
"""Pads of one client; events of further ones are ignored."""
EFFECT_BYTES: Final = 11
"""Length of a DualSense trigger block."""
NOTCH: Final = 120
"""Scroll distance of one notch of a wheel."""


class InputKind(IntEnum):
    """What an input event is about; the numbers are those of punktfunk/1 section 3.1.

    12 to 15 are taken by later releases (section 2.5).
    """

    KEY_DOWN = 0
    KEY_UP = 1
    MOUSE_MOVE = 2
    MOUSE_ABSOLUTE = 3
    BUTTON_DOWN = 4
    BUTTON_UP = 5
    SCROLL = 6
    PAD_BUTTON = 7
    PAD_AXIS = 8
    TOUCH_DOWN = 9
    TOUCH_MOVE = 10
    TOUCH_UP = 11


PAD_KINDS: Final = frozenset({InputKind.PAD_BUTTON, InputKind.PAD_AXIS})
"""Events of a pad; all others belong to the desktop."""


class PadButtons(IntFlag):
    """The button bits of a pad, one of which is the ``code`` of a ``PAD_BUTTON`` event."""

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
    """The axes of a pad: sticks -32768 to 32767 with up positive, triggers 0 to 255."""

    LEFT_X = 0
    LEFT_Y = 1
    RIGHT_X = 2
    RIGHT_Y = 3
    LEFT_TRIGGER = 4
    RIGHT_TRIGGER = 5


TRIGGERS: Final = frozenset({PadAxis.LEFT_TRIGGER, PadAxis.RIGHT_TRIGGER})


@dataclass(frozen=True, slots=True)
class SurfaceSize:
    """Width and height, pixels, of the surface on which a client counts positions."""

    width: int
    height: int

    @property
    def empty(self) -> bool:
        """Whether nothing has a position on it."""
        return self.width <= 0 or self.height <= 0


@dataclass(frozen=True, slots=True)
class InputEvent:
    """One input event of a client; raise ``ValueError`` for a kind that is none of :class:`InputKind`.

    ``code``: Windows virtual key, button 1 to 5 (left, middle, right, X1, X2), scroll axis (0 vertical, 1
    horizontal), pad button bit or axis, touch id. ``x``, ``y``: pixels of movement (down positive) or a position;
    in ``x`` also a scroll distance in 1/NOTCH notch (up and right positive), or a pad's value.
    """

    kind: InputKind
    code: int = 0
    x: int = 0
    y: int = 0
    surface: SurfaceSize | None = None
    """What a position counts on; without one, or on an empty one, a position means nothing."""
    pad: int = 0
    """Index of the pad, for events of :data:`PAD_KINDS`."""

    def __post_init__(self) -> None:
        InputKind(self.kind)


@dataclass(frozen=True, slots=True)
class Touchpad:
    """Client to host: a finger on a pad's touchpad, 0..65535 of its width and height from the top left."""

    pad: int
    finger: int
    active: bool
    x: int
    y: int


@dataclass(frozen=True, slots=True)
class Motion:
    """Client to host: gyroscope (pitch, yaw, roll) and accelerometer (x, y, z) in raw DualSense units."""

    pad: int
    gyro: tuple[int, int, int]
    accel: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Rumble:
    """Host to client: the state of a pad's two motors, 0..65535 each; 0 and 0 stop."""

    pad: int
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Lightbar:
    """Host to client: the colour of a pad's light."""

    pad: int
    red: int
    green: int
    blue: int


@dataclass(frozen=True, slots=True)
class PlayerLeds:
    """Host to client: a pad's player lights, the low five bits."""

    pad: int
    bits: int


@dataclass(frozen=True, slots=True)
class TriggerEffect:
    """Host to client: the resistance of a trigger; ``which`` is 0 for L2 and 1 for R2.

    ``effect`` is a DualSense block of EFFECT_BYTES, less for an effect that needs less.
    """

    pad: int
    which: int
    effect: bytes


@dataclass(frozen=True, slots=True)
class Mic:
    """Client to host: one Opus packet of its microphone, 48 kHz stereo."""

    seq: int
    pts_ns: int
    opus: bytes


RichInput = Touchpad | Motion
"""What pads have beyond buttons and axes."""
PadFeedback = Rumble | Lightbar | PlayerLeds | TriggerEffect
"""What goes back to a client's pads."""
FromClient = InputEvent | Mic | RichInput
"""What a client sends beside its control connection."""
INPUT_NAMES: Final[dict[type, str]] = {
    InputEvent: "input",
    Mic: "mic",
    Touchpad: "touchpad",
    Motion: "motion",
}
"""The names under which all of it is counted."""
