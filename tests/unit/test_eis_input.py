"""Input events as an EIS server's devices are told them: places, fingers, keys, text, and what is down when."""

from __future__ import annotations

import pytest

from punktfunk.desktop.inject import Rect
from punktfunk.desktop.inject.eis_devices import MAX_DEVICES, EisEvent, Happening, LockedModifiers
from punktfunk.desktop.inject.eis_input import CONTACTS, EisInput
from punktfunk.desktop.inject.key_finder import KeyFinder
from punktfunk.desktop.inject.keymap import Keyboard
from punktfunk.input import Contact, InputEvent, InputKind, SurfaceSize, Tool
from tests.support import eis_device
from tests.support.eis_device import Device, Told, absolute, keyboard, pointer, region, touch

HD = SurfaceSize(1280, 720)
LEFT = 0x110
SHIFT, CONTROL, ALT_GR, NUM_LOCK = 42, 29, 100, 69
WHOLE = region(0, 0, 1280, 720, "one")
BESIDE = region(1280, 0, 800, 600, "two")


def with_devices(*devices: Device, notch: float | None = None) -> EisInput:
    """Return input whose devices are there and ready."""
    fed = EisInput(notch=notch)
    for device in devices:
        finder = None if device.keymap is None else KeyFinder(device.keymap)
        fed.happened(EisEvent(Happening.ADDED, device), finder)
        fed.happened(EisEvent(Happening.RESUMED, device))
    return fed


def at(kind: InputKind, x: int, y: int, code: int = 0, contact: Contact | None = None) -> InputEvent:
    return InputEvent(kind, code, x, y, HD, contact=contact)


def key(virtual_key: int, *, down: bool = True) -> InputEvent:
    return InputEvent(InputKind.KEY_DOWN if down else InputKind.KEY_UP, virtual_key)


def text(character: str) -> InputEvent:
    return InputEvent(InputKind.TEXT, ord(character))


def typed(told: list[Told]) -> list[tuple[int, bool]]:
    """Return the keys among what a device was told."""
    return [(int(one[1]), bool(one[2])) for one in told if one[0] == "key"]


def struck(*codes: int) -> list[tuple[int, bool]]:
    """Return keys pressed one after the other and released in reverse."""
    return [(code, True) for code in codes] + [(code, False) for code in reversed(codes)]


def test_a_position_lands_on_the_output_that_is_aimed_at_by_its_mapping_id() -> None:
    one, two = absolute(WHOLE), absolute(BESIDE)
    fed = with_devices(one, two)
    fed.aim("two", None)
    assert fed.apply(at(InputKind.MOUSE_ABSOLUTE, 640, 360)) is None
    assert two.take() == [("start",), ("to", 1680.0, 300.0)]
    assert one.take() == []


def test_a_position_lands_on_the_region_that_is_aimed_at_by_its_rectangle() -> None:
    # KWin gives one device of all outputs, without mapping ids.
    device = absolute(region(0, 0, 1280, 720), region(1280, 0, 800, 600))
    fed = with_devices(device)
    fed.aim(None, Rect(1280, 0, 800, 600))
    fed.apply(at(InputKind.MOUSE_ABSOLUTE, 0, 720))
    assert device.take()[1:] == [("to", 1280.0, 599.0)]


def test_a_rectangle_inside_a_larger_region_is_a_part_of_it() -> None:
    device = absolute(region(0, 0, 1 << 31, 1 << 31))  # as gamescope has
    fed = with_devices(device)
    fed.aim(None, Rect(0, 0, 640, 360))
    fed.apply(at(InputKind.MOUSE_ABSOLUTE, 1280, 360))
    assert device.take()[1:] == [("to", 639.0, 180.0)]


@pytest.mark.parametrize(("mapping_id", "area"), [("three", None), (None, Rect(9, 9, 1280, 720))])
def test_a_position_on_an_output_that_is_not_there_is_dropped(
    mapping_id: str | None, area: Rect | None
) -> None:
    device, screen = absolute(WHOLE), touch(WHOLE)
    fed = with_devices(device, screen)
    fed.aim(mapping_id, area)
    assert fed.apply(at(InputKind.MOUSE_ABSOLUTE, 5, 5)) == "no_output"
    assert fed.apply(at(InputKind.TOUCH_DOWN, 5, 5)) == "no_output"
    assert device.take() == screen.take() == []


def test_without_an_aim_the_first_region_is_meant() -> None:
    device = absolute(WHOLE, BESIDE)
    fed = with_devices(device)
    fed.apply(at(InputKind.MOUSE_ABSOLUTE, 100, 200))
    assert device.take()[1:] == [("to", 100.0, 200.0)]


def test_a_position_is_never_beyond_its_region() -> None:
    device = absolute(BESIDE)
    fed = with_devices(device)
    for x, y in ((-5, -5), (1 << 30, 1 << 30)):
        fed.apply(at(InputKind.MOUSE_ABSOLUTE, x, y))
    assert device.take()[1:] == [("to", 1280.0, 0.0), ("to", 2079.0, 599.0)]
    assert fed.apply(InputEvent(InputKind.MOUSE_ABSOLUTE, x=1, y=1, surface=SurfaceSize(0, 5))) == "no_area"


def test_buttons_and_wheel_are_those_of_the_pointer_that_moved_last() -> None:
    relative, positions = pointer(), absolute(WHOLE)
    fed = with_devices(relative, positions)
    fed.apply(at(InputKind.MOUSE_ABSOLUTE, 1, 1))
    fed.apply(InputEvent(InputKind.BUTTON_DOWN, 1))
    fed.apply(InputEvent(InputKind.MOUSE_MOVE, x=3, y=-4))
    fed.apply(InputEvent(InputKind.SCROLL, x=120))
    fed.apply(InputEvent(InputKind.BUTTON_UP, 1))
    assert positions.take()[2:] == [("button", LEFT, True), ("button", LEFT, False)]
    assert relative.take() == [("start",), ("by", 3, -4), ("scroll", 0, -120)]


def test_parts_of_a_notch_are_told_as_such_or_as_lengths() -> None:
    wheel = pointer()
    in_parts, in_lengths = with_devices(wheel), with_devices(wheel, notch=10.0)
    turn = InputEvent(InputKind.SCROLL, 1, x=30)
    in_parts.apply(turn)
    in_lengths.apply(turn)
    in_lengths.apply(InputEvent(InputKind.SCROLL, 0, x=-240))
    assert [one for one in wheel.take() if one != ("start",)] == [
        ("scroll", 30, 0),
        ("smooth", 2.5, 0),
        ("scroll", 0, 240),
    ]
    assert in_parts.apply(InputEvent(InputKind.SCROLL, 2, x=30)) == "unknown_axis"
    in_parts.apply(InputEvent(InputKind.SCROLL, x=1 << 30))
    assert wheel.take() == [("scroll", 0, -120_000)]


def test_ten_fingers_touch_and_an_eleventh_does_not() -> None:
    screen = touch(WHOLE)
    fed = with_devices(screen)
    assert fed.takes_touch
    for finger in range(CONTACTS):
        assert fed.apply(at(InputKind.TOUCH_DOWN, finger, 7, finger)) is None
    assert fed.apply(at(InputKind.TOUCH_DOWN, 1, 1, CONTACTS)) == "further_finger"
    assert fed.apply(at(InputKind.TOUCH_MOVE, 1, 1, CONTACTS)) == "not_down"
    assert screen.take()[1:] == [("down", finger, float(finger), 7.0) for finger in range(CONTACTS)]
    fed.apply(at(InputKind.TOUCH_MOVE, 50, 60, 3))
    fed.apply(InputEvent(InputKind.TOUCH_UP, 3))
    fed.apply(InputEvent(InputKind.TOUCH_CANCEL, 4))
    assert screen.take() == [("move", 3, 50.0, 60.0), ("up", 3), ("cancel", 4)]
    fed.apply(InputEvent(InputKind.TOUCH_CANCEL_ALL))
    assert screen.take() == [("cancel", finger) for finger in (0, 1, 2, 5, 6, 7, 8, 9)]
    assert fed.apply(InputEvent(InputKind.TOUCH_UP, 5)) == "not_down"


def test_a_finger_stays_on_the_screen_where_it_came_down() -> None:
    one, two = touch(WHOLE), touch(BESIDE)
    fed = with_devices(one, two)
    fed.aim("one", None)
    fed.apply(at(InputKind.TOUCH_DOWN, 5, 5, 3))
    fed.aim("two", None)
    assert fed.apply(at(InputKind.TOUCH_MOVE, 6, 6, 3)) == "no_output"
    fed.apply(InputEvent(InputKind.TOUCH_UP, 3))
    assert one.take()[1:] == [("down", 3, 5.0, 5.0), ("up", 3)]
    assert two.take() == []


def test_a_cancelled_gesture_lets_go_of_the_pointer_that_was_a_finger() -> None:
    positions = absolute(WHOLE)
    fed = with_devices(positions)
    fed.apply(at(InputKind.TOUCH_DOWN, 2, 2, code=4))
    fed.apply(InputEvent(InputKind.TOUCH_CANCEL_ALL))
    assert positions.take()[2:] == [("button", LEFT, True), ("button", LEFT, False)]


def test_a_movement_has_a_length_that_can_be() -> None:
    mouse = pointer()
    fed = with_devices(mouse)
    fed.apply(InputEvent(InputKind.MOUSE_MOVE, x=1 << 40, y=-(1 << 40)))
    assert mouse.take()[1:] == [("by", 1 << 20, -(1 << 20))]


def test_a_pen_is_the_pointer_and_so_is_a_finger_where_nothing_can_be_touched() -> None:
    screen, positions = touch(WHOLE), absolute(WHOLE)
    pen = Contact(Tool.PEN)
    fed = with_devices(screen, positions)
    fed.apply(at(InputKind.TOUCH_HOVER, 1, 1, contact=pen))
    fed.apply(at(InputKind.TOUCH_DOWN, 2, 2, contact=pen))
    fed.apply(at(InputKind.TOUCH_UP, 0, 0, contact=pen))
    assert screen.take() == []
    clicked = [("to", 2.0, 2.0), ("button", LEFT, True), ("button", LEFT, False)]
    assert positions.take() == [("start",), ("to", 1.0, 1.0), *clicked]
    fed.happened(EisEvent(Happening.REMOVED, screen))
    assert not fed.takes_touch
    fed.apply(at(InputKind.TOUCH_DOWN, 2, 2, code=4))
    assert fed.apply(at(InputKind.TOUCH_DOWN, 5, 5, code=5)) == "further_finger"
    fed.apply(InputEvent(InputKind.TOUCH_UP, 4))
    assert positions.take() == clicked


def test_all_that_is_down_is_let_go_and_emulation_ends_until_the_next_event() -> None:
    board, mouse, screen = keyboard(), pointer(), touch(WHOLE)
    fed = with_devices(board, mouse, screen)
    fed.apply(key(ord("A")))
    fed.apply(key(ord("A")))  # a repeat
    fed.apply(InputEvent(InputKind.BUTTON_DOWN, 2))
    fed.apply(at(InputKind.TOUCH_DOWN, 1, 1, 9))
    fed.release_all()
    assert board.take() == [("start",), ("key", 30, True), ("key", 30, False), ("stop",)]
    assert mouse.take() == [("start",), ("button", 0x112, True), ("button", 0x112, False), ("stop",)]
    assert screen.take() == [("start",), ("down", 9, 1.0, 1.0), ("cancel", 9), ("stop",)]
    fed.release_all()
    assert board.take() == []
    fed.apply(key(ord("B")))
    assert board.take() == [("start",), ("key", 48, True)]


@pytest.mark.parametrize("what", [Happening.PAUSED, Happening.REMOVED])
def test_a_device_that_the_server_takes_is_told_nothing_more(what: Happening) -> None:
    board, other = keyboard(), keyboard()
    fed = with_devices(board)
    fed.apply(key(ord("A")))
    fed.happened(EisEvent(what, board))
    board.take()
    assert fed.apply(key(ord("A"), down=False)) is None  # the server has let go of it
    assert fed.apply(key(ord("B"))) == "no_keyboard"
    fed.happened(EisEvent(Happening.ADDED, other))
    assert fed.apply(key(ord("B"))) == "no_keyboard"  # not ready yet
    fed.happened(EisEvent(Happening.RESUMED, other))
    fed.apply(key(ord("B")))
    fed.release_all()
    assert board.take() == []
    assert typed(other.take()) == struck(48)


def test_a_device_that_comes_back_is_started_anew() -> None:
    board = keyboard()
    fed = with_devices(board)
    fed.apply(key(ord("A")))
    fed.happened(EisEvent(Happening.PAUSED, board))
    fed.happened(EisEvent(Happening.RESUMED, board))
    board.take()
    fed.apply(key(ord("A")))
    assert board.take() == [("start",), ("key", 30, True)]


def test_a_server_with_too_many_devices_is_heard_no_further() -> None:
    fed = with_devices(*[pointer() for _ in range(MAX_DEVICES)])
    late = keyboard()
    fed.happened(EisEvent(Happening.ADDED, late))
    fed.happened(EisEvent(Happening.RESUMED, late))
    assert fed.apply(key(ord("A"))) == "no_keyboard"


def test_what_no_device_can_do_is_dropped_by_its_reason() -> None:
    fed = EisInput()
    reasons = {
        key(ord("A")): "no_keyboard",
        key(0x07): "unknown_key",
        text("a"): "no_keyboard",
        InputEvent(InputKind.TEXT, 0xD800): "no_character",
        InputEvent(InputKind.MOUSE_MOVE, x=1): "no_pointer",
        at(InputKind.MOUSE_ABSOLUTE, 1, 1): "no_output",
        InputEvent(InputKind.BUTTON_DOWN, 1): "no_pointer",
        InputEvent(InputKind.BUTTON_DOWN, 9): "unknown_button",
        InputEvent(InputKind.SCROLL, x=120): "no_pointer",
        InputEvent(InputKind.PAD_BUTTON, 1): "no_gamepad",
        InputEvent(InputKind.TOUCH_LEAVE): "no_such_device",
    }
    assert {event: fed.apply(event) for event in reasons} == reasons


@pytest.fixture(scope="module")
def german() -> bytes:
    return Keyboard("de").keymap_text


def test_text_is_typed_by_the_keys_of_the_servers_keymap(german: bytes) -> None:
    board = keyboard(german)
    fed = with_devices(board)
    expected = {
        "z": struck(21),  # where a US board has its Y
        "Z": struck(SHIFT, 21),
        "ä": struck(40),
        "€": struck(ALT_GR, 18),
        "@": struck(ALT_GR, 16),
        "^": struck(41) + struck(57),  # a dead key, and a space
        "é": struck(13) + struck(18),  # a dead key, and its letter
        "\n": struck(28),
    }
    for character, strokes in expected.items():
        assert fed.apply(text(character)) is None
        assert typed(board.take()) == strokes, character


def test_a_character_without_a_key_is_dropped_and_said(german: bytes) -> None:
    board = keyboard(german)
    fed = with_devices(board)
    assert fed.apply(text("語")) == "no_key_for_character"
    assert board.take() == []


def test_text_goes_to_a_device_that_takes_it_as_such(german: bytes) -> None:
    board, typist = keyboard(german), Device("text", eis_device.Capability.TEXT)
    fed = with_devices(board, typist)
    fed.apply(text("語"))
    fed.apply(text("\n"))
    assert typist.take() == [("start",), ("type", "語")]
    assert typed(board.take()) == struck(28)


def test_held_modifiers_make_no_command_of_text(german: bytes) -> None:
    board = keyboard(german)
    fed = with_devices(board)
    fed.apply(key(0x11))
    fed.apply(text("a"))
    assert typed(board.take()) == [(CONTROL, True), (CONTROL, False), *struck(30), (CONTROL, True)]
    fed.release_all()
    assert typed(board.take()) == [(CONTROL, False)]


def test_a_key_that_is_held_is_let_go_to_type_its_character(german: bytes) -> None:
    board = keyboard(german)
    fed = with_devices(board)
    fed.apply(key(ord("A")))
    fed.apply(text("a"))
    fed.apply(key(ord("A"), down=False))
    assert typed(board.take()) == [(30, True), (30, False), *struck(30)]


def test_caps_lock_and_the_layout_in_use_are_reckoned_with() -> None:
    board = keyboard(Keyboard("us,de").keymap_text)
    fed = with_devices(board)
    caps = 2
    fed.happened(EisEvent(Happening.MODIFIERS, board, LockedModifiers(caps, 0)))
    fed.apply(text("a"))
    assert typed(board.take()) == struck(SHIFT, 30)
    assert fed.apply(text("ä")) == "no_key_for_character"
    fed.happened(EisEvent(Happening.MODIFIERS, board, LockedModifiers(0, 1)))
    fed.apply(text("ä"))
    assert typed(board.take()) == struck(40)


def test_a_caps_lock_that_the_client_pressed_counts_where_the_server_does_not_tell(german: bytes) -> None:
    board = keyboard(german)
    fed = with_devices(board)
    for down in (True, False):
        fed.apply(key(0x14, down=down))
    board.take()
    fed.apply(text("a"))
    assert typed(board.take()) == struck(SHIFT, 30)


def test_num_lock_is_pressed_once_for_a_digit_of_the_keypad(german: bytes) -> None:
    board = keyboard(german)
    fed = with_devices(board)
    fed.apply(key(0x61))
    fed.apply(key(0x61, down=False))
    assert typed(board.take()) == struck(79)  # nothing is known of the locks
    fed.happened(EisEvent(Happening.MODIFIERS, board, LockedModifiers(0, 0)))
    for _ in range(2):
        fed.apply(key(0x61))
        fed.apply(key(0x61, down=False))
    assert typed(board.take()) == struck(NUM_LOCK) + struck(79) + struck(79)
    fed.happened(EisEvent(Happening.MODIFIERS, board, LockedModifiers(0x10, 0)))
    fed.apply(key(0x61))
    assert typed(board.take()) == [(79, True)]
