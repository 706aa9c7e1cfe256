"""Virtual keys, key codes and the keymap that turns them into letters."""

from __future__ import annotations

import ctypes.util
import string
from collections.abc import Callable

import pytest

from punktfunk.desktop.inject.keycodes import EVDEV_OF_BUTTON, EVDEV_OF_VIRTUAL_KEY
from punktfunk.desktop.inject.keymap import Keyboard
from punktfunk.errors import ConfigError

SHIFT, CAPS_LOCK, NUM_LOCK = 42, 58, 69
_SIDES = {0x10: 0xA0, 0x11: 0xA2, 0x12: 0xA4}
"""Virtual keys without a side, and the left ones that they stand for."""


@pytest.fixture
def keyboard(lack: Callable[[str], None]) -> Keyboard:
    if ctypes.util.find_library("xkbcommon") is None:
        lack("libxkbcommon.so.0 (apt-get install libxkbcommon0 xkb-data)")
    return Keyboard("us")


def test_letters_digits_and_function_keys_are_all_known() -> None:
    wanted = [ord(c) for c in string.ascii_uppercase + string.digits] + list(range(0x70, 0x88))
    assert [key for key in wanted if key not in EVDEV_OF_VIRTUAL_KEY] == []


def test_no_two_virtual_keys_share_a_key_except_the_sides() -> None:
    codes: dict[int, list[int]] = {}
    for virtual_key, code in EVDEV_OF_VIRTUAL_KEY.items():
        codes.setdefault(code, []).append(virtual_key)
    shared = {tuple(sorted(keys)) for keys in codes.values() if len(keys) > 1}
    assert shared == set(_SIDES.items())


def test_every_key_code_fits_an_x_keycode() -> None:
    assert max(EVDEV_OF_VIRTUAL_KEY.values()) + 8 <= 255
    assert min(EVDEV_OF_VIRTUAL_KEY.values()) >= 1


def test_the_five_buttons_are_those_of_the_specification() -> None:
    assert EVDEV_OF_BUTTON == {1: 0x110, 2: 0x112, 3: 0x111, 4: 0x113, 5: 0x114}


def test_the_keymap_is_text_that_names_its_layout(keyboard: Keyboard) -> None:
    assert keyboard.keymap_text.startswith(b"xkb_keymap {")
    assert b"English (US)" in keyboard.keymap_text


def test_num_lock_is_on_from_the_start(keyboard: Keyboard) -> None:
    assert keyboard.modifiers.locked != 0
    assert keyboard.modifiers.depressed == 0


def test_shift_is_depressed_while_it_is_held_and_caps_lock_stays(keyboard: Keyboard) -> None:
    before = keyboard.modifiers
    assert keyboard.press(SHIFT)
    assert keyboard.modifiers.depressed == 1
    assert keyboard.release(SHIFT)
    assert keyboard.modifiers == before
    keyboard.press(CAPS_LOCK)
    keyboard.release(CAPS_LOCK)
    assert keyboard.modifiers.locked == before.locked | 2
    assert not keyboard.press(30), "a letter changes no modifiers"


def test_an_unknown_layout_is_named_in_the_error(
    keyboard: Keyboard, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ConfigError, match=r"no keyboard layout 'klingon' \["):
        Keyboard("klingon")
    with pytest.raises(ConfigError, match=r"no keyboard layout 'de' with variant 'klingon' \["):
        Keyboard("de", "klingon")
    assert capfd.readouterr().err == "", "the error says it, the library prints nothing"
