"""Input by a portal's own methods: one call an event, in order, and nobody waits for a portal that is slow."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from punktfunk.desktop.bus_reply import BusError
from punktfunk.desktop.inject import Rect
from punktfunk.desktop.portal.choice import ALL_DEVICES, Devices
from punktfunk.desktop.portal.notify import MAX_FINGERS, MAX_WAITING, NotifyInjector, keysym_of
from punktfunk.errors import DesktopError
from punktfunk.input import Contact, InputEvent, InputKind, SurfaceSize, Tool
from tests.support.waiting import PATIENCE_S, eventually

NODE = 42
SURFACE = SurfaceSize(640, 360)
OUTPUT = Rect(1920, 0, 1280, 720)
Call = tuple[object, ...]


class Portal:
    """Takes calls; ``hold`` lets the next one wait."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.go_on = threading.Event()
        self.go_on.set()
        self.fails: dict[str, DesktopError] = {}

    def notify(self, member: str, signature: str, *values: object) -> None:
        assert self.go_on.wait(PATIENCE_S)
        if member in self.fails:
            raise self.fails[member]
        assert len(signature) == len(values)
        self.calls.append((member.removeprefix("Notify"), *values))


Make = Callable[[Devices], NotifyInjector]


@pytest.fixture
def portal() -> Portal:
    return Portal()


@pytest.fixture
def make(portal: Portal) -> Iterator[Make]:
    made: list[NotifyInjector] = []

    def build(devices: Devices = ALL_DEVICES) -> NotifyInjector:
        made.append(NotifyInjector(portal.notify, devices, NODE))
        made[-1].aim(mapping_id="of no use here", region=OUTPUT)
        return made[-1]

    yield build
    portal.go_on.set()
    for each in made:
        each.close()


def done(portal: Portal, injector: NotifyInjector, *events: InputEvent) -> list[Call]:
    """Put events in, one after the other, and return the calls that they came to."""
    portal.calls.clear()
    for event in events:
        injector.inject(event)
        injector._wait_until_told()
    return list(portal.calls)


def a(
    kind: InputKind, code: int = 0, x: int = 0, y: int = 0, surface: SurfaceSize | None = SURFACE
) -> InputEvent:
    return InputEvent(kind, code, x, y, surface)


KIND = InputKind


def test_each_event_is_the_method_that_a_portal_has_for_it(portal: Portal, make: Make) -> None:
    assert done(
        portal,
        make(ALL_DEVICES),
        a(KIND.KEY_DOWN, 0x41), a(KIND.KEY_DOWN, 0x41), a(KIND.KEY_UP, 0x41), a(KIND.KEY_UP, 0x41),
        a(KIND.TEXT, ord("ß")), a(KIND.TEXT, 0x1F600),
        a(KIND.MOUSE_MOVE, x=3, y=-4),
        a(KIND.MOUSE_ABSOLUTE, x=320, y=90), a(KIND.MOUSE_ABSOLUTE, x=9999, y=-1),
        a(KIND.BUTTON_DOWN, 3), a(KIND.BUTTON_UP, 3),
        a(KIND.SCROLL, 0, 240), a(KIND.SCROLL, 1, 120), a(KIND.SCROLL, 0, -60), a(KIND.SCROLL, 1, 60), a(KIND.SCROLL),
    ) == [
        ("KeyboardKeycode", 30, 1), ("KeyboardKeycode", 30, 0),
        ("KeyboardKeysym", 0xDF, 1), ("KeyboardKeysym", 0xDF, 0),
        ("KeyboardKeysym", 0x0101F600, 1), ("KeyboardKeysym", 0x0101F600, 0),
        ("PointerMotion", 3.0, -4.0),
        ("PointerMotionAbsolute", NODE, 640.0, 180.0), ("PointerMotionAbsolute", NODE, 1279.0, 0.0),
        ("PointerButton", 0x111, 1), ("PointerButton", 0x111, 0),
        ("PointerAxisDiscrete", 0, -2), ("PointerAxisDiscrete", 1, 1),
        ("PointerAxis", 0.0, 5.0), ("PointerAxis", 5.0, 0.0),
    ]  # fmt: skip


def test_what_means_nothing_is_counted_under_its_reason_and_calls_nothing(portal: Portal, make: Make) -> None:
    injector = make(ALL_DEVICES)
    events = {
        "unknown_key": a(KIND.KEY_DOWN, 0xFF),
        "unknown_button": a(KIND.BUTTON_DOWN, 6),
        "unknown_axis": a(KIND.SCROLL, 2, 120),
        "no_character": a(KIND.TEXT, 0xD800),
        "no_area": a(KIND.MOUSE_ABSOLUTE, x=1, y=1, surface=None),
        "no_gamepad": a(KIND.PAD_BUTTON, 1),
        "unknown_finger": a(KIND.TOUCH_UP, 9),
        "no_such_device": a(KIND.TOUCH_BUTTONS),
    }
    assert done(portal, injector, *events.values()) == []
    assert injector.counters == {"injected": 0, **{f"dropped_{reason}": 1 for reason in events}}


@pytest.mark.parametrize(
    ("missing", "event"),
    [
        (Devices.KEYBOARD, a(KIND.KEY_DOWN, 0x41)),
        (Devices.KEYBOARD, a(KIND.TEXT, 0x41)),
        (Devices.POINTER, a(KIND.MOUSE_MOVE, x=1)),
        (Devices.POINTER, a(KIND.MOUSE_ABSOLUTE, x=1)),
        (Devices.POINTER, a(KIND.BUTTON_DOWN, 1)),
        (Devices.POINTER, a(KIND.SCROLL, 0, 120)),
    ],
)
def test_a_device_that_was_not_granted_takes_nothing(
    portal: Portal, make: Make, missing: Devices, event: InputEvent
) -> None:
    injector = make(ALL_DEVICES & ~missing)
    assert done(portal, injector, event) == []
    assert injector.counters["dropped_no_such_device"] == 1


def test_fingers_have_slots_that_are_free_again_when_they_lift(portal: Portal, make: Make) -> None:
    injector = make(ALL_DEVICES)
    assert done(
        portal,
        injector,
        a(KIND.TOUCH_DOWN, 70, 320, 180), a(KIND.TOUCH_DOWN, 80, 0, 0), a(KIND.TOUCH_MOVE, 80, 640, 360),
        a(KIND.TOUCH_UP, 70), a(KIND.TOUCH_DOWN, 90, 0, 0), a(KIND.TOUCH_CANCEL_ALL),
    ) == [
        ("TouchDown", NODE, 0, 640.0, 360.0), ("TouchDown", NODE, 1, 0.0, 0.0), ("TouchMotion", NODE, 1, 1279.0, 719.0),
        ("TouchUp", 0), ("TouchDown", NODE, 0, 0.0, 0.0), ("TouchUp", 1), ("TouchUp", 0),
    ]  # fmt: skip
    for finger in range(MAX_FINGERS + 1):
        injector.inject(a(KIND.TOUCH_DOWN, finger, 1, 1))
    assert injector.counters["dropped_further_finger"] == 1


def test_without_touch_the_first_finger_and_a_pen_in_any_case_are_the_pointer(
    portal: Portal, make: Make
) -> None:
    injector = make(Devices.KEYBOARD | Devices.POINTER)
    press = [("PointerMotionAbsolute", NODE, 0.0, 0.0), ("PointerButton", 0x110, 1)]
    assert done(portal, injector, a(KIND.TOUCH_DOWN, 5), a(KIND.TOUCH_DOWN, 6), a(KIND.TOUCH_UP, 5)) == [
        *press,
        ("PointerButton", 0x110, 0),
    ]
    assert injector.counters["dropped_further_finger"] == 1
    pen = InputEvent(KIND.TOUCH_DOWN, 1, 0, 0, SURFACE, contact=Contact(Tool.PEN))
    assert done(portal, make(ALL_DEVICES), pen) == press


def test_all_that_is_down_is_let_go_of(portal: Portal, make: Make) -> None:
    injector = make(ALL_DEVICES)
    done(
        portal,
        injector,
        a(KIND.KEY_DOWN, 0x10),
        a(KIND.KEY_DOWN, 0x41),
        a(KIND.BUTTON_DOWN, 1),
        a(KIND.TOUCH_DOWN),
    )
    portal.calls.clear()
    injector.close()
    injector.close()
    assert portal.calls == [
        ("KeyboardKeycode", 30, 0), ("KeyboardKeycode", 42, 0), ("PointerButton", 0x110, 0), ("TouchUp", 0)
    ]  # fmt: skip


def test_a_slow_portal_holds_nobody_up_movements_become_one_and_releases_are_not_forgotten(
    portal: Portal, make: Make
) -> None:
    injector = make(ALL_DEVICES)
    portal.go_on.clear()
    injector.inject(a(KIND.MOUSE_MOVE, x=1))
    eventually(lambda: not injector._waiting, "the first call is under way")
    for _ in range(1000):
        injector.inject(a(KIND.MOUSE_MOVE, x=2, y=-1))
    assert len(injector._waiting) == 1
    for x in (1, 2, 320):
        injector.inject(a(KIND.MOUSE_ABSOLUTE, x=x, y=180))
    injector.inject(a(KIND.KEY_DOWN, 0x41))
    for _ in range(MAX_WAITING):
        injector.inject(a(KIND.SCROLL, 0, 120))
    assert len(injector._waiting) == MAX_WAITING
    assert not injector.inject(a(KIND.KEY_UP, 0x41))
    assert injector.counters["dropped_portal_busy"] == 4
    portal.go_on.set()
    injector._wait_until_told()
    assert portal.calls[:4] == [
        ("PointerMotion", 1.0, 0.0),
        ("PointerMotion", 2000.0, -1000.0),
        ("PointerMotionAbsolute", NODE, 640.0, 360.0),
        ("KeyboardKeycode", 30, 1),
    ]
    injector.close()
    assert portal.calls[-1] == ("KeyboardKeycode", 30, 0)


def test_one_event_that_is_refused_is_counted_and_the_next_goes_in(portal: Portal, make: Make) -> None:
    injector = make(ALL_DEVICES)
    portal.fails["NotifyPointerMotionAbsolute"] = BusError("Invalid position", name="org.example.Error")
    calls = done(portal, injector, a(KIND.MOUSE_ABSOLUTE, x=1), a(KIND.BUTTON_DOWN, 1))
    assert calls == [("PointerButton", 0x110, 1)]
    assert injector.counters["refused_by_portal"] == 1


def test_a_portal_that_has_gone_is_told_to_who_injects_next(portal: Portal, make: Make) -> None:
    injector = make(ALL_DEVICES)
    portal.fails["NotifyPointerMotion"] = DesktopError("the session bus has gone")
    done(portal, injector, a(KIND.MOUSE_MOVE, x=1))
    eventually(lambda: not injector._thread.is_alive(), "its thread ends")
    with pytest.raises(DesktopError, match="gone"):
        injector.inject(a(KIND.MOUSE_MOVE, x=1))
    injector.release_all()
    injector.close()


@pytest.mark.parametrize(
    ("character", "keysym"),
    [
        (0x08, 0xFF08), (0x0A, 0xFF0D), (0x7F, 0xFFFF), (0x20, 0x20), (0x7E, 0x7E), (0xA0, 0xA0), (0xFF, 0xFF),
        (0x100, 0x01000100), (0x10FFFF, 0x0110FFFF), (0x00, None), (0x1F, None), (0x80, None), (0x9F, None),
        (0xD800, None), (0xDFFF, None), (0xE000, 0x0100E000), (0x110000, None),
    ],
)  # fmt: skip
def test_a_character_is_the_symbol_that_x_has_for_it(character: int, keysym: int | None) -> None:
    assert keysym_of(character) == keysym
