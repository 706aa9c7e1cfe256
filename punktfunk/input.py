"""Input of every wire: what a client does to a desktop and its pads, and what the pads are told in return.

Wires decode to these types at their edge and encode from them; desktops, pads and processes know no other. Values are
as a peer sent them where their range is the field's own; whoever applies an event drops what means nothing there.

What is for the desktop is an :class:`InputEvent`; :data:`PadInput` and :data:`RichInput`, what pads are and do beyond
single buttons and axes, do not reach it. ``docs/explanation/architecture.md`` has the way of an event, which a new one
has to go.
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
    """What an input event is about; the numbers up to 11 are those of punktfunk/1 section 3.1.

    12 to 15 are taken by later releases (punktfunk/1 section 2.5). Those from 64 on are not on that wire.
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
    TEXT = 64
    """One Unicode code point, ``code``, typed whatever the keyboard's layout."""
    TOUCH_HOVER = 65
    """A finger or pen is near the surface, and does not touch it."""
    TOUCH_LEAVE = 66
    """It is near no more."""
    TOUCH_CANCEL = 67
    """What it has done since it touched is not to count."""
    TOUCH_CANCEL_ALL = 68
    """Likewise, for all that touches or is near."""
    TOUCH_BUTTONS = 69
    """The buttons of a pen change, and it does not move."""


WIRE_INPUT_KINDS: Final = frozenset(kind for kind in InputKind if kind <= InputKind.TOUCH_UP)
"""Kinds that punktfunk/1 carries."""

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
    PADDLE_1 = 0x10000
    PADDLE_2 = 0x20000
    PADDLE_3 = 0x40000
    PADDLE_4 = 0x80000
    TOUCHPAD = 0x100000
    """The touchpad is pressed."""
    MISC = 0x200000
    """Share, mute or capture."""


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


class Tool(IntEnum):
    """What touches a surface."""

    FINGER = 0
    PEN = 1
    ERASER = 2
    """The other end of a pen."""


@dataclass(frozen=True, slots=True)
class Contact:
    """What is known of a touch beside its place. ``None``: unknown. Lengths and distances in parts of the surface."""

    tool: Tool = Tool.FINGER
    pressure: float | None = None
    """0 to 1."""
    distance: float | None = None
    """From the surface, 0 to 1, for what does not touch it."""
    major: float = 0.0
    minor: float = 0.0
    """The lengths of the contact's two axes; 0: a point."""
    rotation: int | None = None
    """Degrees."""
    tilt: int | None = None
    """Degrees from upright."""
    buttons: int = 0
    """The pen's buttons that are down: 1, 2, 4."""


@dataclass(frozen=True, slots=True)
class InputEvent:
    """One input event of a client; raise ``ValueError`` for a kind that is none of :class:`InputKind`.

    ``code``: Windows virtual key, button 1 to 5 (left, middle, right, X1, X2), scroll axis (0 vertical, 1
    horizontal), pad button bit or axis, touch id, code point. ``x``, ``y``: pixels of movement (down
    positive) or a position; in ``x`` also a scroll distance in 1/NOTCH notch (up and right positive), or a pad's value.
    """

    kind: InputKind
    code: int = 0
    x: int = 0
    y: int = 0
    surface: SurfaceSize | None = None
    """What a position counts on; without one, or on an empty one, a position means nothing."""
    pad: int = 0
    """Index of the pad, for events of :data:`PAD_KINDS`."""
    contact: Contact | None = None
    """More of a touch, where a client says more. A client has one pen, whose id is its tool's, not ``code``."""

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


class PadModel(IntEnum):
    """What a client's pad is; the numbers are those of GameStream section 11.4."""

    UNKNOWN = 0
    XBOX = 1
    PLAYSTATION = 2
    NINTENDO = 3
    STEAM = 4


class PadCapability(IntFlag):
    """What a client's pad has; the bits are those of GameStream section 11.4."""

    ANALOG_TRIGGERS = 0x1
    RUMBLE = 0x2
    TRIGGER_RUMBLE = 0x4
    TOUCHPAD = 0x8
    ACCELEROMETER = 0x10
    GYROSCOPE = 0x20
    BATTERY = 0x40
    LIGHT = 0x80
    TWO_TOUCHPADS = 0x100


@dataclass(frozen=True, slots=True)
class PadArrival:
    """Client to host: a pad is there, before its first :class:`PadReport`."""

    pad: int
    model: PadModel
    capabilities: PadCapability
    buttons: PadButtons
    """The buttons that it has."""


@dataclass(frozen=True, slots=True)
class PadRemoval:
    """Client to host: a pad is gone."""

    pad: int


@dataclass(frozen=True, slots=True)
class PadReport:
    """Client to host: all buttons that are down and all axes of a pad at one time."""

    pad: int
    buttons: PadButtons
    axes: tuple[int, int, int, int, int, int]
    """By :class:`PadAxis`."""


class PadSensor(IntEnum):
    """A motion sensor; the numbers are those of GameStream section 10.4."""

    ACCELEROMETER = 1
    GYROSCOPE = 2


@dataclass(frozen=True, slots=True)
class PadMotion:
    """Client to host: a sensor of a pad, m/s² with gravity or degrees/s, on SDL's axes.

    :class:`Motion` has both sensors in the units of a DualSense.
    """

    pad: int
    sensor: PadSensor
    x: float
    y: float
    z: float


@dataclass(frozen=True, slots=True)
class PadTouch:
    """Client to host: a finger on one of a pad's touchpads; places are 0 to 1 from the top left.

    :class:`Touchpad` has less of it. ``kind`` is one of the ``TOUCH`` kinds.
    """

    pad: int
    touchpad: int
    finger: int
    kind: InputKind
    x: float
    y: float
    pressure: float


class BatteryState(IntEnum):
    """The numbers are those of GameStream section 11.1."""

    UNKNOWN = 0
    NONE = 1
    DISCHARGING = 2
    CHARGING = 3
    PLUGGED_IN = 4
    """And does not charge."""
    FULL = 5


@dataclass(frozen=True, slots=True)
class PadBattery:
    """Client to host: a pad's battery."""

    pad: int
    state: BatteryState
    percent: int | None
    """``None``: unknown."""


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
class TriggerRumble:
    """Host to client: the motors in a pad's triggers, 0..65535 each; 0 and 0 stop."""

    pad: int
    left: int
    right: int


@dataclass(frozen=True, slots=True)
class MotionWanted:
    """Host to client: how often a pad's sensor is to report, Hz; 0 stops it."""

    pad: int
    sensor: PadSensor
    rate_hz: int


@dataclass(frozen=True, slots=True)
class Mic:
    """Client to host: one Opus packet of its microphone, 48 kHz stereo."""

    seq: int
    pts_ns: int
    opus: bytes


RichInput = Touchpad | Motion
"""What pads of punktfunk/1 have beyond buttons and axes."""
PadInput = PadArrival | PadRemoval | PadReport | PadMotion | PadTouch | PadBattery
"""What pads are and do, of wires that tell it whole."""
PadFeedback = Rumble | Lightbar | PlayerLeds | TriggerEffect | TriggerRumble | MotionWanted
"""What goes back to a client's pads; a wire leaves out what it has no message for."""
FromClient = InputEvent | Mic | RichInput | PadInput
"""What a client sends beside its control connection."""
INPUT_NAMES: Final[dict[type, str]] = {
    InputEvent: "input",
    Mic: "mic",
    Touchpad: "touchpad",
    Motion: "motion",
    PadArrival: "pad_arrival",
    PadRemoval: "pad_removal",
    PadReport: "pad_report",
    PadMotion: "pad_motion",
    PadTouch: "pad_touch",
    PadBattery: "pad_battery",
}
"""The names under which all of it is counted."""
