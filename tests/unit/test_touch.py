"""Touch screen and pen by uinput: what the kernel is told of a client's fingers and pen, through evdev's own types."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

import pytest

from punktfunk.desktop.touch import sway
from punktfunk.desktop.touch.uinput import (
    CONTACTS,
    PEN_NAME,
    PLACES,
    PRESSURES,
    TOUCH_NAME,
    UinputTouch,
    tilt_of,
)
from punktfunk.desktop.uinput import require_uinput
from punktfunk.errors import CapabilityError, DesktopError
from punktfunk.gamestream.input import InputDecoder
from punktfunk.input import Contact, InputEvent, InputKind, SurfaceSize, Tool
from tests.support.new_sway import NewSway
from tests.support.touch_device import Device

evdev = pytest.importorskip("evdev", reason="python-evdev (pip install 'punktfunk[gamepad]')")
ecodes = evdev.ecodes
SURFACE = SurfaceSize(1000, 1000)


class Touch:
    """Both devices behind the injector."""

    def __init__(self) -> None:
        self.made: list[Device] = []
        self.injector = UinputTouch(open_device=self._open)
        self.fingers, self.pen = self.made

    def _open(self, capabilities: dict[int, Any], **identity: Any) -> Device:
        self.made.append(Device(capabilities, **identity))
        return self.made[-1]

    def touch(self, kind: InputKind, finger: int, x: int = 0, y: int = 0, **contact: Any) -> str | None:
        return self.injector.inject(
            InputEvent(kind, finger, x, y, SURFACE, contact=Contact(**contact) if contact else None)
        )

    def write(
        self, kind: InputKind, x: int = 0, y: int = 0, tool: Tool = Tool.PEN, **contact: Any
    ) -> str | None:
        return self.injector.inject(InputEvent(kind, 0, x, y, SURFACE, contact=Contact(tool, **contact)))


@pytest.fixture
def touch() -> Touch:
    return Touch()


def test_compositors_are_told_of_a_touch_screen_and_a_pen_with_a_size(touch: Touch) -> None:
    assert [device.identity["name"] for device in touch.made] == [TOUCH_NAME, PEN_NAME]
    for device in touch.made:
        assert device.identity["input_props"] == [ecodes.INPUT_PROP_DIRECT]
        sizes = {code: info.resolution for code, info in device.capabilities[ecodes.EV_ABS]}
        assert sizes[ecodes.ABS_X] > 0
        assert sizes[ecodes.ABS_Y] > 0, "libinput takes no pen without"
    for needed in ("BTN_TOOL_PEN", "BTN_TOOL_RUBBER", "BTN_TOUCH", "BTN_STYLUS"):
        assert ecodes.ecodes[needed] in touch.pen.capabilities[ecodes.EV_KEY]


def test_several_fingers_have_a_slot_each_and_keep_it(touch: Touch) -> None:
    assert touch.touch(InputKind.TOUCH_DOWN, 70, 100, 200) is None
    assert touch.touch(InputKind.TOUCH_DOWN, 71, 500, 500, pressure=1.0, major=0.5, minor=0.25) is None
    assert touch.touch(InputKind.TOUCH_MOVE, 70, 1000, 0) is None
    assert touch.fingers.places == {0: (PLACES, 0), 1: (32768, 32768)}
    assert touch.fingers.slots[1]["ABS_MT_PRESSURE"] == PRESSURES
    assert touch.fingers.slots[1]["ABS_MT_TOUCH_MAJOR"] == 32768
    assert touch.fingers.down == {"BTN_TOUCH"}
    assert (touch.fingers.axes["ABS_X"], touch.fingers.axes["ABS_Y"]) == (PLACES, 0), "the first finger's"
    assert touch.touch(InputKind.TOUCH_UP, 70) is None
    assert touch.fingers.places == {1: (32768, 32768)}
    assert touch.touch(InputKind.TOUCH_DOWN, 72) is None
    assert set(touch.fingers.slots) == {0, 1}, "a slot that is free is used again"
    touch.touch(InputKind.TOUCH_UP, 71)
    touch.touch(InputKind.TOUCH_UP, 72)
    assert touch.fingers.slots == {}
    assert touch.fingers.down == set()
    assert touch.fingers.cancelled == []


def test_what_is_cancelled_is_a_palm_before_it_goes(touch: Touch) -> None:
    for finger in range(3):
        touch.touch(InputKind.TOUCH_DOWN, finger)
    touch.touch(InputKind.TOUCH_CANCEL, 1)
    assert touch.fingers.cancelled == [1]
    assert set(touch.fingers.slots) == {0, 2}
    touch.write(InputKind.TOUCH_DOWN, 5, 5)
    touch.touch(InputKind.TOUCH_CANCEL_ALL, 0)
    assert touch.fingers.cancelled == [1, 0, 2]
    assert touch.fingers.slots == {}
    assert touch.pen.down == set()
    touch.touch(InputKind.TOUCH_DOWN, 9)
    assert touch.fingers.cancelled == [1, 0, 2], "the next finger is no palm"


def test_a_pen_hovers_presses_leans_and_has_buttons(touch: Touch) -> None:
    assert touch.write(InputKind.TOUCH_HOVER, 500, 250, distance=0.5, buttons=1) is None
    pen = touch.pen
    assert pen.down == {"BTN_TOOL_PEN", "BTN_STYLUS"}
    assert (pen.axes["ABS_X"], pen.axes["ABS_Y"]) == (32768, 16384)
    assert (pen.axes["ABS_PRESSURE"], pen.axes["ABS_DISTANCE"]) == (0, 128)
    assert touch.write(InputKind.TOUCH_DOWN, 500, 250, pressure=0.25, buttons=6, tilt=30, rotation=90) is None
    assert pen.down == {"BTN_TOOL_PEN", "BTN_TOUCH", "BTN_STYLUS2", "BTN_STYLUS3"}
    assert (pen.axes["ABS_PRESSURE"], pen.axes["ABS_DISTANCE"]) == (1024, 0)
    assert (pen.axes["ABS_TILT_X"], pen.axes["ABS_TILT_Y"]) == (30, 0)
    assert touch.write(InputKind.TOUCH_BUTTONS, 9, 9, buttons=1) is None
    assert pen.down == {"BTN_TOOL_PEN", "BTN_TOUCH", "BTN_STYLUS"}
    assert pen.axes["ABS_X"] == 32768, "only the buttons change"
    assert touch.write(InputKind.TOUCH_UP) is None
    assert pen.down == set()
    assert pen.axes["ABS_PRESSURE"] == 0
    assert touch.fingers.reports == 0


def test_the_other_end_of_a_pen_comes_only_when_the_first_has_gone(touch: Touch) -> None:
    touch.write(InputKind.TOUCH_DOWN, pressure=1.0)
    before = touch.pen.reports
    touch.write(InputKind.TOUCH_HOVER, tool=Tool.ERASER)
    assert touch.pen.reports == before + 2
    assert touch.pen.down == {"BTN_TOOL_RUBBER"}
    touch.write(InputKind.TOUCH_LEAVE, tool=Tool.ERASER)
    assert touch.pen.down == set()


@pytest.mark.parametrize(
    ("rotation", "leans"), [(0, (0, -30)), (90, (30, 0)), (180, (0, 30)), (270, (-30, 0)), (None, (0, 0))]
)
def test_a_pen_leans_where_its_rotation_says(rotation: int | None, leans: tuple[int, int]) -> None:
    assert tilt_of(Contact(Tool.PEN, tilt=30, rotation=rotation)) == leans
    assert tilt_of(Contact(Tool.PEN, tilt=None, rotation=rotation)) == (0, 0)
    assert max(map(abs, tilt_of(Contact(Tool.PEN, tilt=254, rotation=rotation)))) <= 90


def test_what_means_nothing_says_why_and_leaves_no_trace(touch: Touch) -> None:
    assert touch.touch(InputKind.TOUCH_MOVE, 1) == "not_down"
    assert touch.touch(InputKind.TOUCH_UP, 1) == "not_down"
    assert touch.write(InputKind.TOUCH_MOVE) == "not_down"
    assert touch.write(InputKind.TOUCH_BUTTONS, buttons=1) == "not_down"
    assert touch.injector.inject(InputEvent(InputKind.TOUCH_DOWN, 1)) == "no_area"
    assert touch.injector.inject(InputEvent(InputKind.TOUCH_HOVER, contact=Contact(Tool.PEN))) == "no_area"
    assert touch.injector.inject(InputEvent(InputKind.KEY_DOWN, 65)) == "no_touch"
    assert [device.reports for device in touch.made] == [0, 0]
    for finger in range(CONTACTS):
        assert touch.touch(InputKind.TOUCH_DOWN, finger) is None
    assert touch.touch(InputKind.TOUCH_DOWN, 99) == "further_finger"


def test_a_finger_that_hovers_is_left_to_the_pointer(touch: Touch) -> None:
    assert not touch.injector.takes(InputEvent(InputKind.TOUCH_HOVER, surface=SURFACE))
    assert not touch.injector.takes(InputEvent(InputKind.MOUSE_MOVE))
    assert touch.injector.takes(InputEvent(InputKind.TOUCH_HOVER, surface=SURFACE, contact=Contact(Tool.PEN)))


def test_whatever_a_client_does_is_within_what_the_devices_have_and_is_let_go(touch: Touch) -> None:
    """The device holds each value to its axis."""
    chance = random.Random(5)
    kinds = [kind for kind in InputKind if kind.name.startswith("TOUCH")]
    for _ in range(3000):
        event = InputEvent(
            chance.choice(kinds),
            chance.randrange(24),
            chance.randrange(-2000, 2000),
            chance.randrange(-2000, 2000),
            chance.choice([SURFACE, SurfaceSize(0, 0), None]),
            contact=Contact(
                chance.choice(list(Tool)),
                pressure=chance.choice([None, 0.0, 0.3, 1e9, -5.0]),
                distance=chance.choice([None, 0.0, 2.0]),
                major=chance.uniform(-1, 3),
                minor=chance.uniform(-1, 3),
                rotation=chance.choice([None, 0, 359, 65_534]),
                tilt=chance.choice([None, 0, 90, 254]),
                buttons=chance.randrange(256),
            ),
        )
        if touch.injector.takes(event):
            touch.injector.inject(event)
        assert len(touch.fingers.slots) <= CONTACTS
        assert ("BTN_TOUCH" in touch.fingers.down) == bool(touch.fingers.slots)
    touch.injector.release_all()
    assert touch.fingers.slots == {}
    assert touch.fingers.down == touch.pen.down == set()
    touch.injector.close()
    touch.injector.close()
    assert all(device.closed for device in touch.made)


@pytest.mark.conformance(70)
def test_the_samples_of_moonlight_clients_reach_the_devices(touch: Touch) -> None:
    """Sections 11.6 and 11.7, from their bytes to what programs see."""
    samples = (
        "00000020 02000055 01 00 ffff 07000000 0000803e 0000003f 0000403f 0ad7233c 0ad7a33c",
        "00000020 03000055 01 01 01 00 cdcccc3d cdcc4c3e 0000003f 2d00 1e 00 00000000 00000000",
    )
    for sample in samples:
        events = InputDecoder().decode(bytes.fromhex(sample))
        assert isinstance(events, tuple)
        for event in events:
            assert isinstance(event, InputEvent)
            assert touch.injector.inject(event) is None
    assert touch.fingers.places == {0: (16384, 32768)}
    assert touch.fingers.slots[0]["ABS_MT_PRESSURE"] == round(0.75 * PRESSURES)
    assert touch.fingers.slots[0]["ABS_MT_TOUCH_MAJOR"] == round(0.01 * PLACES)
    assert touch.pen.down == {"BTN_TOOL_PEN", "BTN_TOUCH", "BTN_STYLUS"}
    assert touch.pen.axes == {
        "ABS_X": 6554,
        "ABS_Y": 13107,
        "ABS_PRESSURE": 2048,
        "ABS_DISTANCE": 0,
        "ABS_TILT_X": 22,
        "ABS_TILT_Y": -22,
    }


def test_devices_that_are_gone_are_told_of(touch: Touch) -> None:
    touch.fingers.fails = touch.pen.fails = True
    for event in (
        InputEvent(InputKind.TOUCH_DOWN, 1, 0, 0, SURFACE),
        InputEvent(InputKind.TOUCH_HOVER, 1, 0, 0, SURFACE, contact=Contact(Tool.PEN)),
    ):
        with pytest.raises(DesktopError, match="touch screen is gone"):
            touch.injector.inject(event)


def test_a_machine_without_uinput_says_what_helps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CapabilityError, match="touch and pens need the kernel's uinput") as missing:
        require_uinput("touch and pens", tmp_path / "uinput")
    assert "modprobe uinput" in missing.value.hint

    def refused(*_: Any, **__: Any) -> Any:
        raise OSError(13, "Permission denied")

    with pytest.raises(CapabilityError, match="no touch screen can be made"):
        UinputTouch(open_device=refused)
    monkeypatch.setitem(sys.modules, "evdev", None)
    with pytest.raises(CapabilityError, match="python-evdev"):
        UinputTouch()


def test_a_pen_that_cannot_be_made_takes_the_touch_screen_with_it() -> None:
    made: list[Device] = []

    def second_fails(capabilities: dict[int, Any], **identity: Any) -> Device:
        if made:
            raise OSError(28, "No space left on device")
        made.append(Device(capabilities, **identity))
        return made[0]

    with pytest.raises(CapabilityError):
        UinputTouch(open_device=second_fails)
    assert made[0].closed


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Device]:
    """Devices that were made for a sway."""
    devices: list[Device] = []

    def opened(capabilities: dict[int, Any], **identity: Any) -> Device:
        devices.append(Device(capabilities, **identity))
        return devices[-1]

    monkeypatch.setattr(sway, "UinputTouch", lambda: UinputTouch(open_device=opened))
    return devices


def test_a_sway_that_has_the_devices_maps_both_to_an_output(tmp_path: Path, made: list[Device]) -> None:
    path = tmp_path / "sock"
    reading = NewSway(path, inputs=["a mouse", PEN_NAME, TOUCH_NAME])
    touch = sway.open_touch(str(path))
    sway.map_touch(str(path), "DP-1")
    reading.close()
    assert [device.closed for device in made] == [False, False]
    assert reading.commands == [f'input "{each}" map_to_output DP-1' for each in sway.IDENTIFIERS]
    touch.close()


def test_a_sway_that_breaks_off_is_left_no_devices(tmp_path: Path, made: list[Device]) -> None:
    path = tmp_path / "sock"
    breaking_off = NewSway(path, inputs=None)
    with pytest.raises(DesktopError, match="closed its control socket"):
        sway.open_touch(str(path))
    breaking_off.close()
    assert [device.closed for device in made] == [True, True]


def test_a_sway_that_does_not_tell_of_devices_or_does_not_map_them_says_so(
    tmp_path: Path, made: list[Device]
) -> None:
    path = tmp_path / "sock"
    refusing = NewSway(path, tells_of_inputs=False, maps_inputs=False)
    with pytest.raises(DesktopError, match="does not tell"):
        sway.open_touch(str(path))
    with pytest.raises(DesktopError, match="refused"):
        sway.map_touch(str(path), "DP-1")
    refusing.close()
    assert made == []
